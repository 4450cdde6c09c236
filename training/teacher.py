"""The teacher: EfficientNet-Lite0's feature maps, and the answers of Lite0 alone or with Lite2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import openvino
import torch
from torch import Tensor, nn
from torch.nn import functional

from densenet_serving.build import checkpoint
from densenet_serving.errors import CommandError
from training import networks

CUTS = (4, 10, 14)  # Lite0's blocks that end at stride 8, 16 and 32
CHANNELS = (40, 112, 192, 1280)  # of the maps after them, and of the pooled head
BOTH = "efficientnet_lite0,efficientnet_lite2"


@dataclass(frozen=True)
class Lesson:
    """What a teacher says of N views.

    `maps` are Lite0's three maps (N, channels, side / stride, side / stride) and its pooled head (N, 1280), each
    channel normalized to mean 0 and deviation 1; `answers` are log-probabilities (N, classes).
    """

    maps: list[Tensor]
    answers: Tensor


class Maps(nn.Module):
    """A network's logits for views of 0 to 1; for Lite0 its maps before them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        architecture, path = networks.find(name)
        backbone, self.head = checkpoint.load_network(path, architecture)
        self.network: Any = backbone.network
        self.mean, self.std = (value[0] for value in (architecture.preprocessing.mean, architecture.preprocessing.std))
        self.cuts = CUTS if name == networks.LITE0 else ()

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        net = self.network
        found: list[Tensor] = []
        x = net._swish(net._bn0(net._conv_stem((views - self.mean) / self.std)))
        for index, block in enumerate(cast(Iterable[Any], net._blocks)):
            x = block(x)
            if index in self.cuts:
                found.append(x)
        pooled = net._swish(net._bn1(net._conv_head(x))).mean((2, 3))
        return (*found, *([pooled] if self.cuts else []), self.head(pooled))


class Teacher:
    """Calls Maps in OpenVINO, eight times as fast as torch on two cores, or in torch on a GPU."""

    def __init__(self, described: str, device: torch.device, threads: int) -> None:
        names = [name.strip() for name in described.split(",")]
        if names[0] != networks.LITE0:
            raise CommandError(f"The first teacher must be {networks.LITE0}, whose maps the sections learn.")
        self.networks = [Maps(name).eval().requires_grad_(False).to(device) for name in names]
        if len({network.head.out_features for network in self.networks}) > 1:
            raise CommandError(f"The teachers {described} have different classes: choose some that agree.")
        self.classes = int(self.networks[0].head.out_features)
        self.device, self.threads = device, threads
        self.compiled: list[openvino.CompiledModel] = []
        self.mean = [torch.zeros(1)] * len(CHANNELS)
        self.deviation = [torch.ones(1)] * len(CHANNELS)

    def normalize_by(self, views: Tensor) -> None:
        """Take the mean and the deviation of each channel of the maps from these views."""
        for place, one in enumerate(self(views).maps):
            dims = (0, 2, 3) if one.ndim == 4 else (0,)
            self.mean[place] = one.mean(dims, keepdim=True)
            self.deviation[place] = one.std(dims, keepdim=True).clamp(min=1e-3)

    def __call__(self, views: Tensor) -> Lesson:
        outputs = [self._run(place, views) for place in range(len(self.networks))]
        answers = torch.stack([functional.log_softmax(one[-1], dim=1) for one in outputs])
        return Lesson(
            [(one - mean) / by for one, mean, by in zip(outputs[0][:-1], self.mean, self.deviation, strict=True)],
            functional.log_softmax(answers.logsumexp(dim=0), dim=1),
        )

    @torch.no_grad()
    def _run(self, place: int, views: Tensor) -> list[Tensor]:
        if self.device.type == "cuda":
            with torch.autocast("cuda", torch.bfloat16):
                return [one.float() for one in self.networks[place](views)]
        if len(self.compiled) <= place:
            self.compiled.append(self._compile(self.networks[place]))
        found = self.compiled[place](views.contiguous().numpy())
        return [torch.tensor(one) for one in found.to_tuple()]

    def _compile(self, network: nn.Module) -> openvino.CompiledModel:
        model = openvino.convert_model(network, example_input=torch.rand(2, 3, 64, 64))
        model.reshape([-1, 3, -1, -1])
        # Several processes train side by side, each on a core of its own: pinning would put them all on the first.
        config = {"INFERENCE_NUM_THREADS": self.threads, "ENABLE_CPU_PINNING": False, "PERFORMANCE_HINT": "LATENCY"}
        return openvino.Core().compile_model(model, "CPU", config)
