"""TorchServe's stock image_classifier, unchanged.

Only the import of torchvision goes through `scripts.model.vision` first: the stock handler imports torchvision by
itself, which dies if torch is a CPU build and torchvision a CUDA build.
"""

from scripts.model import vision  # noqa: F401, I001 - before the stock handler

from ts.torch_handler.image_classifier import ImageClassifier


class StockImageClassifier(ImageClassifier):
    pass
