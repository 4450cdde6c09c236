"""`python -m scripts.bulk`: the same as `densenet bulk`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("bulk")
