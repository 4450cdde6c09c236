"""`python -m scripts.stop`: the same as `densenet stop`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("stop")
