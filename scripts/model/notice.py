"""A notice about models whose weights this project trained: they are not the official ones."""

from __future__ import annotations

from typing import Any

from handler.card import Weights


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
