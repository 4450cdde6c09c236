"""The way to TorchServe: photos go up, answers come down."""
