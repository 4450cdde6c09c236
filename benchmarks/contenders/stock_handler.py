"""TorchServe's stock image_classifier, unchanged.

Only the import of torchvision goes through `build.vision` first: the stock handler imports torchvision by
itself, which dies if torch is a CPU build and torchvision a CUDA build.
"""

from ts.torch_handler.image_classifier import ImageClassifier


class StockImageClassifier(ImageClassifier):
    pass
