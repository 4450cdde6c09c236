"""Build model archives, and check them before they are served."""
