"""The gateway: what people and the tutorial's clients meet, in front of TorchServe."""
