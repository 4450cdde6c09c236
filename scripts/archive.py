"""`python -m scripts.archive`: the same as `densenet archive`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("archive")
