"""Decoding in processes of its own, with hard limits: what a file costs and what it crashes ends there."""
