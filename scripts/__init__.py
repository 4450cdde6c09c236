"""The commands as `python -m scripts.VERB`, for a checkout. `densenet VERB` is the same."""
