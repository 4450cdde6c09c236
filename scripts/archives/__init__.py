"""From a graph to a checked archive in the model store."""
