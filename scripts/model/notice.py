"""What a person should know of a model whose weights this project trained: they are not the official ones."""

from __future__ import annotations

from typing import Any

from handler.card import Weights


def of_weights(weights: Weights) -> str | None:
    """Say in one sentence which weights these are, how good, and what brings the official ones; None for all others."""
    if weights.accuracy is None:
        return None
    accuracy = weights.accuracy
    return (
        f"The weights are {weights.source}: {100 * accuracy.top1:.1f} % top-1 and {100 * accuracy.top5:.1f} % top-5 on "
        f"{accuracy.evaluated_on}; densenet archive --weights official, densenet stop and densenet serve bring "
        "torchvision's official ones where there is a network."
    )


def of_description(description: dict[str, Any]) -> str | None:
    """The same of a model as the management API describes it; other people's models have no such card."""
    card = description.get("customizedMetadata")
    weights = card.get("weights") if isinstance(card, dict) else None
    if not isinstance(weights, dict) or not weights.get("accuracy"):
        return None
    return of_weights(Weights.from_dict(weights))
