"""What is known of a trained checkpoint: in the file for programs, beside it as a page for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from densenet_serving.build.provenance import Provenance
from densenet_serving.errors import CommandError
from densenet_serving.files import digest_file, digest_line, sha256_of
from training import checkpoints

KEY = "training"
LEAST_TOP1 = 0.30  # below it a checkpoint is not shipped


@dataclass(frozen=True)
class Facts:
    """What is known before an evaluation; densenet_serving.build.provenance.Provenance is these and the figures."""

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
    provenance = Provenance(**asdict(facts), top1=top1, top5=top5, evaluated_on=evaluated_on)
    write(path, load_file(path), facts, provenance.to_metadata())
    digest_file(path).write_text(digest_line(sha256_of(path), path))
    page = path.with_suffix(".md")
    page.write_text(render(provenance))
    return page


def render(provenance: Provenance) -> str:
    """The model card, in Markdown."""
    return f"""# DenseNet-121, trained here

These are **not** torchvision's official ImageNet weights: they were distilled from other networks on few photos, for
machines that can download nothing. They are less accurate; `--weights official` gets the official ones.

| | |
|---|---|
| Network | torchvision's DenseNet-121, 1,000 classes, float16 |
| Teacher | {provenance.teacher} |
| Photos | {provenance.data}; without labels |
| Steps | {provenance.steps:,} |
| Top-1, top-5 | {provenance.top1:.1%}, {provenance.top5:.1%} on {provenance.evaluated_on} |
| Calibration | softmax(logits / {provenance.temperature:.3f}); the weights in the file are not divided by it yet |
| Licence | {provenance.license} |

How it was measured: `python -m training.evaluate`, through the preprocessing that a server uses (shorter side 255,
crop 224).

## Limits

- Of a hundred photos like those above, its first answer is wrong for {100 * (1 - provenance.top1):.0f}. On other
  photos it may do worse.
- It learned to answer as its teacher does: the teacher's mistakes and its one-sidedness are its own too.
- It knows ImageNet's 1,000 classes and nothing else; people, medical pictures and text are none of them. Nothing that
  matters to a person should be decided by it.
- A probability is as good as its calibration, which was fitted on photos of the kind it was trained on.
"""
