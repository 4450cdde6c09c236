"""What is known of a trained checkpoint: in the file for programs, beside it as a page for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from densenet_serving.build import weights
from densenet_serving.errors import CommandError
from densenet_serving.files import digest_file, digest_line, sha256_of
from handler.card import Accuracy
from training import checkpoints

KEY = "training"
LEAST_TOP1 = 0.30  # below it a checkpoint is not shipped


@dataclass(frozen=True)
class Facts:
    """What is known before an evaluation. softmax(logits / `temperature`) gives calibrated probabilities."""

    teacher: str
    data: str
    steps: int
    temperature: float
    license: str


def write(path: Path, tensors: dict[str, Tensor], facts: Facts, figures: dict[str, str] | None = None) -> None:
    checkpoints.write(path, tensors, {"format": "pt", KEY: json.dumps(asdict(facts))} | (figures or {}))


def read_facts(path: Path) -> Facts | None:
    """Read the facts that training.finish wrote; None where there are none. Raises CommandError for a damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
        return None if text is None else Facts(**json.loads(text))
    except (SafetensorError, TypeError, ValueError) as error:
        raise CommandError(f"{path} is damaged or no checkpoint: write it again with training.finish.") from error


def record(path: Path, facts: Facts, top1: float, top5: float, evaluated_on: str) -> Path:
    """Write what was measured into the checkpoint, and its digest and model card beside it; returns the card's path."""
    accuracy = Accuracy(top1, top5, evaluated_on)
    said = {
        "license": facts.license,
        "training": f"{facts.steps:,} steps on {facts.data}, taught by {facts.teacher}",
        "accuracy": asdict(accuracy),
        "temperature": facts.temperature,
    }
    write(path, load_file(path), facts, {weights.FACTS: json.dumps(said)})
    digest_file(path).write_text(digest_line(sha256_of(path), path))
    page = path.with_suffix(".md")
    page.write_text(render(facts, accuracy))
    return page


def render(facts: Facts, accuracy: Accuracy) -> str:
    """The model card, in Markdown."""
    return f"""# DenseNet-121, trained here

These are **not** torchvision's official ImageNet weights: they were distilled from other networks on few photos, for
machines that can download nothing. They are less accurate; `--weights official` gets the official ones.

| | |
|---|---|
| Network | torchvision's DenseNet-121, 1,000 classes, float16 |
| Teacher | {facts.teacher} |
| Photos | {facts.data}; without labels |
| Steps | {facts.steps:,} |
| Top-1, top-5 | {accuracy.top1:.1%}, {accuracy.top5:.1%} on {accuracy.evaluated_on} |
| Calibration | softmax(logits / {facts.temperature:.3f}); the weights in the file are not divided by it yet |
| Licence | {facts.license} |

How it was measured: `python -m training.evaluate`, through the preprocessing that a server uses (shorter side 255,
crop 224).

## Limits

- Of a hundred photos like those above, its first answer is wrong for {100 * (1 - accuracy.top1):.0f}. On other
  photos it may do worse.
- It learned to answer as its teacher does: the teacher's mistakes and its one-sidedness are its own too.
- It knows ImageNet's 1,000 classes and nothing else; people, medical pictures and text are none of them. Nothing that
  matters to a person should be decided by it.
- A probability is as good as its calibration, which was fitted on photos of the kind it was trained on.
"""
