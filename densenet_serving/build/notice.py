"""What is said of a model's weights: those that this project trained are not the official ones, a person's own have
settings that no checkpoint tells."""

from __future__ import annotations

from typing import Any

from handler.card import ModelCard, Preprocessing, Weights


def of_weights(weights: Weights) -> str | None:
    """Return one sentence for weights that this project trained: their accuracy and how to get the official ones."""
    if weights.accuracy is None:
        return None
    accuracy = weights.accuracy
    return (
        f"The weights are {weights.source}: {100 * accuracy.top1:.1f} % top-1 and {100 * accuracy.top5:.1f} % top-5 on "
        f"{accuracy.evaluated_on}; densenet archive --weights official --overwrite, densenet stop and densenet serve "
        "bring torchvision's official ones if there is a network."
    )


def of_description(description: dict[str, Any]) -> str | None:
    """Return the same for a model as the management API describes it. Other people's models have no such card."""
    card = description.get("customizedMetadata")
    weights = card.get("weights") if isinstance(card, dict) else None
    if not isinstance(weights, dict) or not weights.get("accuracy"):
        return None
    return of_weights(Weights.from_dict(weights))


def of_task(card: ModelCard, assumed: bool) -> str:
    """Say how the outputs of a person's own checkpoint become answers, and if that is `assumed`, how to change it."""
    if card.task == "multi-label":
        said = "Its task is multi-label: a photo gets every class whose own probability (sigmoid) reaches the threshold"
        other = "a photo has one class only, build with --task single-label"
    else:
        said = f"Its task is single-label: a photo gets one of {card.classes} classes (softmax)"
        other = "a photo may have several (the head was trained with a sigmoid), build with --task multi-label"
    return f"{said}; if {other}." if assumed else f"{said}."


def of_preprocessing(spec: Preprocessing) -> str:
    """Say how photos are prepared for a person's own checkpoint, which does not tell how it was trained."""
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return (
        f"Photos are prepared with --resize {spec.resize} --crop {spec.crop} --interpolation {spec.interpolation} "
        f"--mean {mean} --std {std}: if it was trained with others (PyTorch's transfer-learning tutorial resizes to "
        "256), build with those."
    )
