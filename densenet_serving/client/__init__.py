"""Call a running TorchServe."""
