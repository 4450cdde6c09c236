"""`python -m scripts.classify`: the same as `densenet classify`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("classify")
