from __future__ import annotations

import pytest

from densenet_serving.client.served import default_model
from densenet_serving.errors import CommandError


@pytest.mark.parametrize(
    ("served", "model"),
    [(["efficientnet_lite0", "densenet121"], "densenet121"), (["a"], "a"), ([], None), (["a", "b"], None)],
)
def test_the_model_that_is_asked(served: list[str], model: str | None) -> None:
    if model:
        assert default_model(served) == model
        return
    with pytest.raises(CommandError, match=f"has {', '.join(served) or 'no model'}.*--model"):
        default_model(served)
