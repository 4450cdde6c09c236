"""From weights to a graph."""
