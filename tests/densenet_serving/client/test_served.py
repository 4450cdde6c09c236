from __future__ import annotations

import pytest

from densenet_serving.client.served import default_model
from densenet_serving.errors import CommandError


@pytest.mark.parametrize(
    ("served", "model"),
    [(["efficientnet_lite0", "densenet121"], "densenet121"), (["efficientnet_lite0"], "efficientnet_lite0")],
)
def test_the_model_that_is_asked(served: list[str], model: str) -> None:
    assert default_model(served) == model


@pytest.mark.parametrize(("served", "said"), [([], "no model"), (["a", "b"], "a, b")])
def test_no_obvious_model(served: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=f"has {said}: .*--model"):
        default_model(served)
