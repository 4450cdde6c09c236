"""Start, watch, upgrade and stop one TorchServe."""
