"""`python -m scripts.token`: the same as `densenet token`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("token")
