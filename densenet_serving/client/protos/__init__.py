"""TorchServe's gRPC messages: torchserve.proto, and the Python that `make protos` makes of it."""
