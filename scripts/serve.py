"""`python -m scripts.serve`: the same as `densenet serve`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("serve")
