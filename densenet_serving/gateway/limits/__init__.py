"""The limits: how much one client, and all of them together, may have at a time."""
