"""Classify many photos without a server: sources, the job in its output folder, and the workers that do it."""
