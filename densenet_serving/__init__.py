"""Everything on this side of TorchServe: build and serve archives, call the server, and the gateway in front of it."""
