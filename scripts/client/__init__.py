"""Talk to a TorchServe that runs."""
