from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def restored_threads() -> Iterator[None]:
    """The engines in PyTorch set the number for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
