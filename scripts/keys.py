"""`python -m scripts.keys`: the same as `densenet keys`."""

from densenet_serving.command import main

if __name__ == "__main__":
    main("keys")
