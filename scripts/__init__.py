"""The commands a person runs: `densenet VERB`, or `python -m scripts.VERB`."""
