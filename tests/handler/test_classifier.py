from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handler.classifier import ImageClassifier
from handler.decoding import BATCH_SECONDS, Decoder
from handler.engines import Outputs
from handler.errors import ArchiveError
from handler.labels import LABELS_FILE
from handler.metrics import BATCH, DECODE, IMAGES, INFERENCE, Metrics
from handler.protocols import torchserve
from handler.settings import Settings
from tests.colours import BAD, BLUE, GREEN, RED, THREE_CLASSES, ColourEngine, picture
from tests.handler.hostile import png_of_zeros
from tests.handler.inference_requests import Asker, names, predict
from tests.pictures import FITTING, encode, noise, photo
from tests.worker import FakeContext, FakeMetrics, settings_in

Row = Mapping[str, Any]


def test_good_and_bad_rows_keep_their_order(ask: Asker, engine: ColourEngine) -> None:
    rows = [{"body": RED}, {"body": BAD}, {"file": GREEN}, {}, {"body": b"text"}, {"data": BLUE}]
    answers = ask.own(rows)
    assert names(answers) == ["red", 400, "green", 400, 415, "blue"]
    assert ask.statuses == [200, 400, 200, 400, 415, 200]
    assert (ask.context.phrases[0], ask.context.phrases[4]) == ("OK", "Unsupported Media Type")
    assert engine.shapes == [(3, 224, 224, 3)]
    assert answers[0] == {
        "class_id": "n0",
        "class_name": "red",
        "probability": pytest.approx(1, abs=1e-3),
        "recognized": True,
    }


def test_a_row_that_takes_too_much_memory_to_read_is_refused_alone(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(row: Row, *given: Any) -> Any:
        if "large" in row:
            raise MemoryError
        return real(row, *given)

    real = torchserve.parse
    monkeypatch.setattr(torchserve, "parse", parse)
    answers = ask.own([{"body": RED}, {"large": BLUE}, {"body": GREEN}])
    assert names(answers) == ["red", 413, "green"]
    assert "memory" in answers[1]["message"]


def test_a_form_of_too_many_fields_is_refused_before_they_are_looked_at(ask: Asker) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    rows: list[dict[str, Any]] = [{str(i): b"" for i in range(fields)} | {"file": RED} for fields in (999, 1_000)]
    headers = [form | {name: {"content-type": "image/png" * (name == "file")} for name in row} for row in rows]
    answers = ask.own(rows, headers)
    assert names(answers) == ["red", 413]
    assert "1,001 fields and the limit is 1,000" in answers[1]["message"]


def test_requests_of_several_images_in_one_batch(ask: Asker, engine: ColourEngine) -> None:
    broken = predict(RED, GREEN)
    broken["instances"][0] = {"b64": "!"}
    rows: list[dict[str, Any]] = [
        {"body": predict(RED, BAD, BLUE)},
        {"body": GREEN},
        {"body": predict(BAD, b"text")},
        {"a": BLUE, "b": GREEN, "c": RED},
        {"body": broken},
    ]
    assert names(ask.own(rows)) == [
        ["red", 400, "blue"],
        "green",
        [400, 415],
        ["blue", "green", "red"],
        [400, "green"],
    ]
    assert ask.statuses == [200, 200, 400, 200, 200]
    assert engine.shapes == [(7, 224, 224, 3)]


def test_without_a_good_image_the_engine_is_not_asked(ask: Asker, engine: ColourEngine) -> None:
    assert names(ask.own([{"body": BAD}, {}])) == [400, 400]
    assert engine.shapes == []


def test_parameters_belong_to_their_row(ask: Asker) -> None:
    json_of_three = {"body": predict(RED, parameters={"top_k": 3})}
    rows: list[Any] = [{"body": RED}, {"body": RED, "top_k": b"2"}, {"body": RED}, json_of_three, {"body": RED}]
    answers = ask.own(rows, [{}, {}, {"Top-K": "3"}, {}, {"Top-K": "0"}])
    assert [len(answer.get("predictions", [])) for answer in answers] == [0, 2, 3, 3, 0]
    assert "top_k" in answers[4]["message"]


@pytest.mark.parametrize("parameters", [{}, {"min_probability": "0.5"}])
def test_a_guess_among_three_classes_is_not_recognized(ask: Asker, parameters: dict[str, str]) -> None:
    """A third is chance here, and over the threshold of 0.2 that suits ImageNet's 1000 classes."""
    [answer] = ask.own([{"body": picture("grey")} | parameters])
    assert (answer["recognized"], answer["class_name"]) == (False, None)
    assert answer["probability"] == pytest.approx(1 / 3)


def test_nothing_is_kept_between_calls(handler: ImageClassifier, ask: Asker) -> None:
    before = dict(vars(handler))
    asked = {"body": RED, "top_k": b"3", "min_probability": b"1"}
    first = ask.own([asked])
    ask.own([{"body": BAD}])
    assert vars(handler) == before
    assert ask.own([asked]) == first
    assert "predictions" not in ask.own([{"body": RED}])[0]


def test_describe_answers_the_card_and_the_engine(handler: ImageClassifier, folder: Path) -> None:
    [card] = handler.handle([{}], FakeContext(folder, [{"describe": "True"}]))
    limits = {"max_images": 32, "max_image_bytes": 20_000_000}
    assert card == THREE_CLASSES.to_dict() | {"running": {"engine": "fake"}, "limits": limits}
    json.dumps(card)


@pytest.mark.parametrize(("batch_size", "shapes"), [(4, [1, 4]), (1, [1]), (None, [1]), ("8", [1, 8])])
def test_warm_up_has_the_shapes_to_come(folder: Path, engine: ColourEngine, batch_size: Any, shapes: list[int]) -> None:
    ImageClassifier().initialize(FakeContext(folder, batch_size=batch_size))
    assert sorted(engine.shapes) == [(rows, 224, 224, 3) for rows in shapes]


def test_a_bug_is_not_an_answer(handler: ImageClassifier, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Outputs:
        raise ZeroDivisionError

    monkeypatch.setattr(handler.engine, "infer", broken)
    with pytest.raises(ZeroDivisionError):
        handler.handle([{"body": RED}], FakeContext(folder))


def test_settings_come_from_the_archive(folder: Path, engine: ColourEngine) -> None:
    built = ImageClassifier()
    built.initialize(FakeContext(folder, config={"handler": {"top_k": 2, "max_images": 1}}))
    assert built.settings == Settings(top_k=2, max_images=1)
    assert names(Asker(built, folder).own([{"body": predict(RED, RED)}, {"body": RED}])) == [413, "red"]


def test_labels_that_do_not_fit_the_card(folder: Path, engine: ColourEngine) -> None:
    (folder / LABELS_FILE).write_text('{"0": ["n0", "red"]}')
    with pytest.raises(ArchiveError, match=r"1 classes and the model 3"):
        ImageClassifier().initialize(FakeContext(folder))


@pytest.fixture
def metrics(handler: ImageClassifier, folder: Path) -> FakeMetrics:
    fake = FakeMetrics()
    handler.metrics = Metrics(fake, handler.card)
    return fake


def counted(metrics: FakeMetrics) -> dict[str, float]:
    """Return the images by outcome, or by reason if they were rejected."""
    added = [(n, labels) for n, labels in metrics.added("counter", IMAGES) if n]
    return {labels["outcome"] if labels["reason"] == "none" else labels["reason"]: n for n, labels in added}


def test_a_batch_is_measured_once(ask: Asker, metrics: FakeMetrics) -> None:
    unsure = {"body": GREEN, "min_probability": "1"}
    ask.own([{"body": predict(RED, BAD, BLUE)}, {"body": GREEN}, {"body": b"text"}, {}, unsure])

    assert counted(metrics) == {"recognized": 3, "unrecognized": 1, "BadRequest": 2, "UnsupportedMediaType": 1}
    assert [n for n, _ in metrics.added("histogram", BATCH)] == [4]
    for name in (DECODE, INFERENCE):
        [(seconds, _)] = metrics.added("histogram", name)
        assert seconds > 0


def test_a_batch_without_images_decodes_and_infers_nothing(ask: Asker, metrics: FakeMetrics) -> None:
    ask.own([{}, {"top_k": b"0", "body": RED}])
    assert counted(metrics) == {"BadRequest": 2}
    assert [metrics.added("histogram", name) for name in (DECODE, INFERENCE, BATCH)] == [[], [], []]


def test_a_refused_request_is_logged_by_its_id_and_nothing_of_its_own(
    ask: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"body": RED}, {"body": b"secret"}, {"body": RED, "top_k": b"secret"}]
    with caplog.at_level(logging.INFO, "handler"):
        ask.own(rows, [{"Authorization": "secret"}] * 3)
    assert [record.getMessage() for record in caplog.records] == [
        "request_id=id-1 status=415",
        "request_id=id-2 status=400",
    ]


def test_the_worker_keeps_its_metrics_and_loses_its_line_a_batch(handler: ImageClassifier) -> None:
    """Metrics leave a worker through the loggers of ts.metrics; the line for each batch is the root logger's."""
    assert logging.getLogger("ts.metrics.caching_metric").isEnabledFor(logging.INFO)
    assert not logging.getLogger().isEnabledFor(logging.INFO)


@pytest.fixture(scope="module")
def stand_in(stand_in_folder: Path) -> ImageClassifier:
    built = ImageClassifier()
    built.initialize(FakeContext(stand_in_folder, config=settings_in(stand_in_folder), batch_size=8))
    return built


def test_real_photographs_get_their_true_names(stand_in: ImageClassifier, stand_in_folder: Path) -> None:
    rows: list[dict[str, Any]] = [{"body": encode(photo(name), quality=95), "top_k": b"5"} for name in FITTING]
    rows.append({"body": encode(noise(300, 300), "PNG"), "min_probability": b"0.9"})
    *answers, unknown = Asker(stand_in, stand_in_folder).own(rows)
    best = {name: answer["predictions"][0]["class_name"] for name, answer in zip(FITTING, answers, strict=True)}
    for (name, fitting), answer in zip(FITTING.items(), answers, strict=True):
        assert fitting & {candidate["class_name"] for candidate in answer["predictions"]}, name
    assert sum(best[name] in fitting for name, fitting in FITTING.items()) >= 6, best
    assert unknown["recognized"] is False


def test_the_images_of_a_request_share_a_budget_of_pixels(ask: Asker) -> None:
    """32 PNGs of 50 megapixels are less than a MB: two of them are decoded, and smaller or other requests' ones."""
    large = png_of_zeros(8_000, 6_250)
    rows = [{"body": predict(*images)} for images in ([large] * 32, [RED, BAD, large, large, BLUE], [BLUE])]
    answers = ask.own(rows)
    black = answers[0][0]["class_name"]
    assert names(answers) == [[black] * 2 + [413] * 30, ["red", 400, black, 413, "blue"], "blue"]
    assert "100,000,000 pixels" in answers[0][2]["error"]["message"]
    assert ask.statuses == [200, 200, 200]


def test_each_row_says_what_its_images_took_to_decode(ask: Asker) -> None:
    ask.own([{"body": predict(RED, GREEN)}, {"body": b"text"}, {}])
    seconds = [float(ask.context.response_headers[i]["X-Decode-Seconds"]) for i in range(3)]
    assert seconds[0] >= 0
    assert seconds[2] == 0


def test_an_image_for_which_no_time_is_left_is_refused_in_its_place(
    ask: Asker, handler: ImageClassifier, metrics: FakeMetrics
) -> None:
    """All examined images are late by this clock: the first look sets the deadline, and each next one is past it."""
    clock = itertools.count(step=BATCH_SECONDS)
    handler.decoder = Decoder(handler.settings, handler.card.preprocessing, threads=1, clock=lambda: next(clock))
    answers = ask.own([{"body": RED}, {"body": predict(GREEN, b"text")}, {"body": b"text"}])
    assert names(answers) == [503, [503, 415], 415]
    assert ask.statuses == [503, 503, 415]
    assert counted(metrics) == {"UnsupportedMediaType": 2, "ServiceUnavailable": 2}


class Body(bytearray):
    """A body that says when it is gone."""


@pytest.mark.parametrize("content", [RED, BAD, b"text", b"{", b'{"instances": [{"b64": "!"}]}', b'{"instances": [1]}'])
def test_a_body_is_gone_once_it_is_answered(ask: Asker, content: bytes) -> None:
    """Bodies that wait for Python to look for cycles made a worker grow by all of them."""
    rows: list[dict[str, Any]] = [{"body": Body(content)}]
    body = weakref.ref(rows[0]["body"])
    gc.disable()
    try:
        ask.own(rows)
        rows.clear()
        assert body() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("engine")
def test_torchserve_is_asked_to_hand_on_json_undecoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "true")  # as TorchServe starts a worker
    ImageClassifier().initialize(FakeContext(folder))
    assert os.environ["TS_DECODE_INPUT_REQUEST"] == "false"
