"""`python -m scripts.explain`: the same as `densenet explain`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("explain")
