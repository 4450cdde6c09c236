"""How requests are read and answered at each of TorchServe's addresses."""
