"""A module for each format: it checks a file's structure before Pillow reads the file."""
