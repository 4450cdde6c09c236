"""`python -m scripts.models`: the same as `densenet models`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("models")
