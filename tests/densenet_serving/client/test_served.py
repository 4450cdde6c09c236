from __future__ import annotations

import pytest

from densenet_serving.client.served import default_model
from densenet_serving.errors import CommandError


class Served(dict[str, str]):
    """The models of a server and their files."""

    def models(self) -> dict[str, str]:
        return self


@pytest.mark.parametrize(
    ("served", "model"),
    [
        ({"densenet121": "", "efficientnet_lite0": ""}, "densenet121"),
        ({"efficientnet_lite0": ""}, "efficientnet_lite0"),
    ],
)
def test_the_model_that_is_asked(served: dict[str, str], model: str) -> None:
    assert default_model(Served(served), has_management=True) == model


@pytest.mark.parametrize(("served", "said"), [({}, "no model"), ({"a": "", "b": ""}, "a, b")])
def test_no_obvious_model(served: dict[str, str], said: str) -> None:
    with pytest.raises(CommandError, match=f"The server has {said}: choose one with --model"):
        default_model(Served(served), has_management=True)


def test_an_inference_token_may_not_list_models() -> None:
    assert default_model(Served({}), has_management=False) == "densenet121"
