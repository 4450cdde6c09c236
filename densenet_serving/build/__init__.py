"""Turn weights into a graph that workers run."""
