"""Find a network's tensors in whatever a training program saved around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from densenet_serving.build.heads import StateDict

DEEPEST = 4  # levels of dictionaries: {"checkpoint": {"model": {"state_dict": {...}}}}
# Which of several sets of weights is taken unasked: the first of these keys that one of them lies under. The trained
# weights come before their average, which some programs save beside them (EMA, SWA).
PREFERRED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights", "student")
AVERAGED = re.compile(r"(?i)(^|[._])(ema|swa|avg|average[d]?|shadow|teacher|momentum)|(ema|swa|average[d]?)($|[._])")
# Counters that the profiler thop adds to every layer.
COUNTERS = re.compile(r"(^|\.)(total_ops|total_params)$")


@dataclass(frozen=True)
class Found:
    """One network's weights in a file: the keys that lead to it, and its tensors and modules without their prefix.

    `modules` names the network's modules in order, those without parameters too, and `wrapper_modules` those beside
    it, as `state_dict` lists them in `_metadata`; both are empty if the file does not say. `has_positive_weight` is
    true beside a BCEWithLogitsLoss with a weight for each class.
    """

    key: str
    tensors: StateDict
    modules: tuple[str, ...] = ()
    wrapper_modules: tuple[str, ...] = ()
    has_positive_weight: bool = False


class NotOne(Exception):
    """No network's weights, or several of which none comes first; `keys` are theirs."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__(keys)
        self.keys = keys


def find(content: Mapping[Any, Any], features_key: str) -> list[Found]:
    """Return every set of tensors in `content`, at any depth, that has keys which begin with `features_key`.

    The keys may have any prefix: `module.` of DataParallel, `_orig_mod.` of torch.compile, `model.` of Lightning.
    """
    pattern = re.compile(rf"(.*\.)?{re.escape(features_key)}")
    found = []
    for path, tensors, modules in _levels(content, ()):
        matches = (pattern.match(key) for key in tensors)
        for prefix in sorted({match[1] or "" for match in matches if match}):
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            inside = tuple(name.removeprefix(prefix) for name in modules if name.startswith(prefix))
            beside = tuple(name for name in modules if not name.startswith(prefix))
            key = ".".join([*path, prefix]).strip(".")
            found.append(Found(key, own, inside, beside, any(name.endswith("pos_weight") for name in tensors)))
    return found


def choose(found: list[Found], weights_key: str | None) -> Found:
    """Choose one set: that of `weights_key`, or the only one, or the one that is preferred. Raises NotOne."""
    if weights_key is not None:
        wanted = weights_key.strip(".")
        at = [one for one in found if one.key == wanted]
        below = at or [one for one in found if f"{one.key}.".startswith(f"{wanted}.")]
    else:
        below = [one for one in found if not AVERAGED.search(one.key)] or found
    if len(below) > 1 and weights_key is None:
        ranks = {one.key: _rank(one.key) for one in below}
        best = min(ranks.values())
        below = [one for one in below if ranks[one.key] == best] if best < len(PREFERRED) else below
    if len(below) != 1:
        raise NotOne([one.key for one in below or found])
    return below[0]


def _rank(key: str) -> int:
    """Rank a key by its parts, the outermost of which may be the same for all."""
    return min((PREFERRED.index(part) for part in key.split(".")[-2:] if part in PREFERRED), default=len(PREFERRED))


def _levels(
    content: Mapping[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], StateDict, tuple[str, ...]]]:
    """Yield the tensors of each dictionary in `content`, with the keys that lead to it and the modules it lists."""
    tensors = {
        str(key): value
        for key, value in content.items()
        if isinstance(value, torch.Tensor) and not COUNTERS.search(str(key))
    }
    if tensors:
        metadata = getattr(content, "_metadata", None)
        yield path, tensors, tuple(map(str, metadata)) if isinstance(metadata, Mapping) else ()
    if len(path) < DEEPEST:
        for key, value in content.items():
            if isinstance(value, Mapping):
                yield from _levels(value, (*path, str(key)))
