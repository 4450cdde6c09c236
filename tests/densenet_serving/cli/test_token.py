from __future__ import annotations

import pytest

from densenet_serving.cli.token import token
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.errors import CommandError


@pytest.mark.parametrize(("scope", "expected"), [("inference", "inf\n"), ("management", "man\n")])
def test_a_token_alone_goes_to_standard_output(
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scope: str,
    expected: str,
) -> None:
    monkeypatch.setattr(Endpoint, "find", lambda _: endpoint)
    token(scope, endpoint.folder)
    assert capsys.readouterr().out == expected


def test_a_token_as_a_header(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Endpoint, "find", lambda _: endpoint)
    token("inference", endpoint.folder, header=True)
    assert capsys.readouterr().out == "Authorization: Bearer inf\n"


def test_an_unknown_scope() -> None:
    with pytest.raises(CommandError, match="There is no admin token: choose inference or management"):
        token("admin")
