"""`python -m scripts.web`: the same as `densenet web`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("web")
