"""The model file of TorchServe's stock archive: its example's `ImageClassifier(DenseNet)`, for DenseNet-121.

https://github.com/pytorch/serve/tree/master/examples/image_classifier/densenet_161
"""

from densenet_serving.build.vision import torchvision


class ImageClassifier(torchvision.models.DenseNet):
    def __init__(self) -> None:
        super().__init__(growth_rate=32, block_config=(6, 12, 24, 16), num_init_features=64)
