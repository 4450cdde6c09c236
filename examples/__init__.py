"""Short programs to start from: a client, and a handler for another network. See README.md."""
