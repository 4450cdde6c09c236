from __future__ import annotations

import pytest

from densenet_serving.cli.token import token
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.errors import CommandError
from tests.densenet_serving.conftest import write_settings


@pytest.mark.parametrize(
    ("scope", "header", "printed"),
    [("inference", False, "inf\n"), ("management", False, "man\n"), ("inference", True, "Authorization: Bearer inf\n")],
)
def test_a_token_alone_goes_to_standard_output(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], scope: str, header: bool, printed: str
) -> None:
    write_settings(endpoint)
    token(scope, endpoint.folder, header)
    assert capsys.readouterr().out == printed


def test_an_unknown_scope() -> None:
    with pytest.raises(CommandError, match=r"admin.*inference or management"):
        token("admin")
