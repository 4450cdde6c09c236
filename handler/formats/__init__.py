"""What a file of each format is made of, checked before Pillow reads it."""
