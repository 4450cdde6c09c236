"""Ask the gateway that `make web` starts what a photo shows: python examples/client.py cat.jpg"""

from __future__ import annotations

import sys
from typing import Any

import requests


def classify(photo: str, gateway: str = "http://127.0.0.1:8000") -> list[dict[str, Any]]:
    """Return the five best classes of one photo. Raises requests.HTTPError if the gateway refuses it."""
    with open(photo, "rb") as file:  # noqa: PTH123 - a path as a stranger has it
        answer = requests.post(f"{gateway}/predict", files={"file": file}, params={"top_k": 5}, timeout=60)
    answer.raise_for_status()
    best: list[dict[str, Any]] = answer.json()["predictions"]
    return best


if __name__ == "__main__":
    for candidate in classify(sys.argv[1]):
        print(f"{candidate['probability']:6.1%}  {candidate['class_name']}")
