from __future__ import annotations

import pytest

from densenet_serving.errors import ApiError
from densenet_serving.server import report
from densenet_serving.server.torchserve import Server
from tests.densenet_serving.fake_client import ANSWER, FakeClient, as_client


@pytest.mark.parametrize(
    ("models", "asked"), [(["efficientnet_lite0", "densenet121"], "densenet121"), (["b", "a"], "b")]
)
def test_the_model_that_proves_the_road(models: list[str], asked: str) -> None:
    assert report.classify_sample(as_client(dict.fromkeys(models, ""))) == (asked, ANSWER)


@pytest.mark.parametrize(("model", "said"), [("densenet121", True), ("mine", False)])
def test_serve_says_how_good_weights_are_that_are_not_the_official_ones(
    answering: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str, said: bool
) -> None:
    monkeypatch.setattr(report, "Client", lambda _: as_client({model: "m.mar"}))
    report.report(answering, model, ANSWER)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note ")]
    assert len(notes) == said
    assert all("The weights are a student: 40.0 % top-1 and 60.0 % top-5 on eval.tar" in line for line in notes)


def test_a_model_without_a_card_is_served_and_says_so(
    answering: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ApiError("m is loaded, but has no card.", {"code": 400})

    monkeypatch.setattr(FakeClient, "describe", refuse)
    report.report(answering, "m", ANSWER)
    assert "m is loaded, but has no card." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ANSWER, "p.jpg is tabby (88%)"),
        (ANSWER | {"class_name": None}, "p.jpg is not recognized (88%)"),
        ({"tabby": 0.6, "tiger_cat": 0.3}, 'p.jpg: {"tabby": 0.6, "tiger_cat": 0.3}'),
        (["tabby"], 'p.jpg: ["tabby"]'),
        ({"class_name": "tabby"}, 'p.jpg: {"class_name": "tabby"}'),
        ([0.1] * 1000, "p.jpg: " + "[" + "0.1, " * 38 + "[...]"),
    ],
)
def test_the_answers_of_any_handler_are_told(answer: object, said: str) -> None:
    assert report.in_words("p.jpg", answer) == said
