"""Requests and answers of the inference protocols besides TorchServe's own."""
