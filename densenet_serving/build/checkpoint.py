"""Read a checkpoint: what a training program saved -> one network's parameters, its classes and its task -> network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from densenet_serving.build.class_names import CLASS_KEYS
from densenet_serving.build.formats import identify, pickled
from densenet_serving.build.graph import StateDict, rename_layers
from densenet_serving.build.networks import Architecture
from densenet_serving.errors import WeightsError
from handler.card import Task

DEEPEST = 4  # levels of dictionaries: {"checkpoint": {"model": {"state_dict": {...}}}}
# Which of several sets of weights is taken unasked: the first of these keys that one of them lies under. The trained
# weights come before their average, which some programs save beside them (EMA, SWA).
PREFERRED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights", "student")
AVERAGED = re.compile(r"(?i)(^|[._])(ema|swa|avg|average[d]?|shadow|teacher|momentum)|(ema|swa|average[d]?)($|[._])")
# Counters that the profiler thop adds to every layer.
COUNTERS = re.compile(r"(^|\.)(total_ops|total_params)$")
# What training programs put the classes into, if not beside the state_dict.
CLASS_HOLDERS = ("hyper_parameters", "hparams", "args", "config", "meta")
# What shows the task: a module after the last layer, or BCEWithLogitsLoss with a weight for each class.
SIGMOID = re.compile(r"(?i)sigmoid|(^|\.)pos_weight$")
SOFTMAX = re.compile(r"(?i)softmax")


@dataclass(frozen=True)
class Parameters:
    """One network's tensors in a file, without the prefix of their keys, and the keys that lead to them.

    `modules` names the network's modules in order, those without parameters too, if the file says: a state_dict that
    was saved as it was lists them in `_metadata`. `beside` names the modules and tensors around the network, and
    `others` the keys of further sets of weights.
    """

    path: Path
    key: str
    tensors: StateDict
    modules: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def build(self, architecture: Architecture) -> tuple[torch.nn.Module, torch.nn.Linear]:
        """Build the network, in inference mode, as its feature extractor and its head.

        Raises WeightsError if the tensors, in float32 and under their present names, are not all that it has.
        """
        _check_size(self.path, self.tensors)
        tensors = {architecture.rename(key): _float(self.path, key, one) for key, one in self.tensors.items()}
        try:
            tensors = rename_layers(tensors, architecture.classifier_key)
            if architecture.classifier_key not in tensors:
                raise ValueError(f"it has no {architecture.classifier_key}")
            backbone, head = architecture.build(tensors)
        except ValueError as error:
            raise _not_served_as(self.path, architecture, str(error)) from error
        return backbone.eval(), head.eval()

    def task(self, architecture: Architecture, outputs: int) -> Task:
        """Return the task that the file shows, or single-label.

        Raises WeightsError where nobody can know and a guess would be wrong for some: one output, whose softmax is
        always 1, and a head that does not end in its linear layer.
        """
        name = architecture.classifier_key.removesuffix(".weight")
        own = [module for module in self.modules if module.startswith(f"{name}.") or "." not in module]
        sigmoid, softmax = (any(map(kind.search, (*own, *self.beside))) for kind in (SIGMOID, SOFTMAX))
        if outputs == 1 and (softmax or not sigmoid):
            raise WeightsError(
                f"{self.path} has one output, and what it means is not in the file: give --task single-label and two "
                "names (--labels), of which the second is that of a high output, or --task multi-label and one name."
            )
        if sigmoid == softmax and (after := self._after_last_layer(name)):
            raise WeightsError(
                f"{self.path} has a head that does not end in its linear layer ({after}), and what follows it is not "
                "in the file: give --task multi-label if each output is a class of its own (sigmoid), or --task "
                "single-label if one is (softmax)."
            )
        return "multi-label" if sigmoid and not softmax else "single-label"

    def _after_last_layer(self, head: str) -> str | None:
        """Name what follows the last linear layer of a Sequential, as far as the file shows it."""
        layers = [key.rpartition(".")[0] for key in self.tensors if key.startswith(f"{head}.")]
        inside = [module for module in self.modules if module.startswith(f"{head}.")]
        if inside:
            after = inside[inside.index(layers[-1]) + 1 :] if layers[-1] in inside else []
            return f"{after[0]} comes after {layers[-1]}" if after else None
        # Without the list of modules: a Sequential of its first layer alone has others without parameters after it.
        return f"{layers[0]} is the first of a Sequential" if set(layers) == {f"{head}.0"} else None


@dataclass(frozen=True)
class Content:
    """What is in a file; `not_loaded` names the classes of objects in it that were left out."""

    path: Path
    values: Mapping[Any, Any]
    not_loaded: list[str]

    @classmethod
    def read(cls, path: Path) -> Content:
        """Read a file without unpickling objects. Raises WeightsError if it is damaged or another format."""
        return cls(path, *identify(path).load(path))

    def parameters(self, architecture: Architecture, weights_key: str | None = None) -> Parameters:
        """Return the parameters of one network, at any depth and with any prefix of their keys.

        `weights_key` names those to take if there are several; otherwise they are the first by PREFERRED, not averaged.
        Raises WeightsError if there are none, or several that are alike.
        """
        found = list(self._sets(architecture.features_key))
        if not found and self.not_loaded:
            raise pickled(self.path, *self.not_loaded)
        if not found:
            top = ", ".join(str(key) for key in list(self.values)[:4])
            seen = (
                f"no key with {architecture.features_key}; at its top are {top}" if top else "no tensors; it is empty"
            )
            raise _not_served_as(self.path, architecture, f"it has {seen}")
        if weights_key is not None:
            wanted = weights_key.strip(".")
            taken = [one for one in found if one.key == wanted]
            taken = taken or [one for one in found if f"{one.key}.".startswith(f"{wanted}.")]
        else:
            best = min(_rank(one.key) for one in found)
            taken = [one for one in found if _rank(one.key) == best]
        if len(taken) != 1:
            names = ", ".join(one.key or "no prefix" for one in taken or found)
            raise WeightsError(f"{self.path} holds networks under {names}: choose one of them with --weights-key.")
        return replace(taken[0], others=tuple(one.key for one in found if one is not taken[0]))

    def classes(self) -> dict[Any, Any] | list[Any] | None:
        """Return what the file says of its classes, in any form that class_names.parse takes, or None."""
        held = (self.values.get(name) for name in CLASS_HOLDERS)
        for level in (
            self.values,
            *(one if isinstance(one, Mapping) else getattr(one, "__dict__", {}) for one in held),
        ):
            for key in CLASS_KEYS:
                said = _plain(level.get(key))
                if isinstance(said, dict | list):
                    return said
        return None

    def _sets(self, features_key: str) -> Iterator[Parameters]:
        """Yield every set of tensors that has keys which begin with `features_key`.

        The keys may have any prefix: `module.` of DataParallel, `_orig_mod.` of torch.compile, `model.` of Lightning.
        """
        pattern = re.compile(rf"(.*\.)?{re.escape(features_key)}")
        for path, tensors, modules in _levels(self.values, ()):
            matches = (pattern.match(key) for key in tensors)
            for prefix in sorted({match[1] or "" for match in matches if match}):
                own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
                inside = tuple(name.removeprefix(prefix) for name in modules if name.startswith(prefix))
                beside = tuple(name for name in (*modules, *tensors) if not name.startswith(prefix))
                yield Parameters(self.path, ".".join([*path, prefix]).strip("."), own, inside, beside)


def load_network(path: Path, architecture: Architecture) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """Build the network of a checkpoint, in inference mode, as its feature extractor and its head.

    Raises WeightsError.
    """
    return Content.read(path).parameters(architecture).build(architecture)


def _levels(
    content: Mapping[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], StateDict, tuple[str, ...]]]:
    """Yield the tensors of each dictionary in `content`, with the keys that lead to it and the modules it lists."""
    named = {str(key): value for key, value in content.items()}
    tensors = {key: one for key, one in named.items() if isinstance(one, torch.Tensor) and not COUNTERS.search(key)}
    if tensors:
        yield path, tensors, tuple(map(str, getattr(content, "_metadata", ())))
    if len(path) < DEEPEST:
        for key, value in named.items():
            if isinstance(value, Mapping):
                yield from _levels(value, (*path, key))


def _rank(key: str) -> tuple[bool, int]:
    """Rank a key by its parts, the outermost of which may be the same for all."""
    ranks = (PREFERRED.index(part) for part in key.split(".")[-2:] if part in PREFERRED)
    return bool(AVERAGED.search(key)), min(ranks, default=len(PREFERRED))


def _check_size(path: Path, tensors: StateDict) -> None:
    """Raise WeightsError if a tensor's numbers are not all in its file: one value can be expanded to billions."""
    odd = [key for key, tensor in tensors.items() if tensor.layout is not torch.strided or tensor.is_meta]
    if not odd and sum(tensor.numel() for tensor in tensors.values()) > path.stat().st_size:
        odd = [max(tensors, key=lambda key: tensors[key].numel())]
    if odd:
        raise WeightsError(
            f"{path} does not hold each number of its tensor {odd[0]}, which is sparse, on the device meta or expanded "
            "from fewer numbers: save dense tensors (tensor.clone())."
        )


def _float(path: Path, key: str, value: torch.Tensor) -> torch.Tensor:
    """Convert one tensor to float32; the counters of batch normalization are whole numbers. Raises WeightsError."""
    whole = value.is_quantized or not value.is_floating_point()
    if whole and not key.endswith("num_batches_tracked"):
        raise WeightsError(
            f"{path} holds quantized or whole-number weights ({key} is {str(value.dtype).removeprefix('torch.')}): "
            "give the floating-point checkpoint that it was made from; --precision int8 quantizes it here."
        )
    converted = value.float()
    if not bool(torch.isfinite(converted).all()):
        raise WeightsError(
            f"{path} holds weights that are NaN or infinite in float32, the first of them in {key}: give a checkpoint "
            "of an earlier epoch."
        )
    return converted


def _not_served_as(path: Path, architecture: Architecture, why: str) -> WeightsError:
    return WeightsError(
        f"{path} cannot be served as {architecture.title} ({why}): give a checkpoint of that network, or choose "
        "another with --architecture."
    )


def _plain(value: Any) -> Any:
    """Turn arrays, tensors and their numbers, in a list or a mapping too, into Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
