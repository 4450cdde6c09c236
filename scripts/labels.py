"""`python -m scripts.labels`: the same as `densenet labels`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("labels")
