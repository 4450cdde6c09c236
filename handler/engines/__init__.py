"""What computes: a batch in, logits and features out."""
