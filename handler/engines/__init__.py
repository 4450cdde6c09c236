"""The engines that run the model: a batch in, logits and features out."""
