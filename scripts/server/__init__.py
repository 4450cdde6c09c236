"""One TorchServe: started, watched, upgraded, stopped."""
