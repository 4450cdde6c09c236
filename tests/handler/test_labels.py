from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.answers import Prediction
from handler.errors import ArchiveError
from handler.labels import Labels, softmax

LABELS = Labels([("a", "crane"), ("b", "tench"), ("c", "crane")])


def write(folder: Path, content: Any) -> Path:
    path = folder / "index_to_name.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_labels_are_read_in_the_order_of_their_index(tmp_path: Path) -> None:
    labels = Labels.read(write(tmp_path, {str(i): [f"n{i}", f"Häher {i}"] for i in reversed(range(12))}))
    assert len(labels) == 12
    assert labels[10] == ("n10", "Häher 10")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "3",
        '["tench", "goldfish"]',
        {"1": ["a", "b"]},
        {"0": ["a", "b"], "2": ["c", "d"]},
        {"0": "tench"},
        {"0": "ox"},
        {"0": ["a"]},
        {"0": ["a", "b", "c"]},
        {"0": 3},
        {"0": {"id": "a", "name": "b"}},
    ],
)
def test_malformed_labels(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ArchiveError, match=r"index_to_name\.json"):
        Labels.read(write(tmp_path, content))


def test_ranking_is_best_first_and_keeps_equal_names_apart() -> None:
    assert LABELS.top_k(np.array([0.3, 0.1, 0.6]), 2) == [Prediction("c", "crane", 0.6), Prediction("a", "crane", 0.3)]
    tie = LABELS.top_k(np.array([0.25, 0.5, 0.25]), 3)
    assert [one.class_id for one in tie] == ["b", "a", "c"], "the lower index comes first"


def test_softmax() -> None:
    logits = np.array([[0, np.log(3)], [1000, 1000]], np.float32)
    np.testing.assert_allclose(softmax(logits), [[0.25, 0.75], [0.5, 0.5]], atol=1e-6)
    rows = softmax(np.random.default_rng(0).normal(0, 50, (4, 1000)).astype(np.float32))
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
