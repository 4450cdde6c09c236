from __future__ import annotations

import base64
import gc
import itertools
import json
import logging
import os
import weakref
from collections.abc import Callable, Mapping
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
from tests.pictures import FITTING, encode, noise, photo
from tests.worker import FakeContext, FakeMetrics, Headers, settings_in


def instances(*images: bytes, **parameters: Any) -> dict[str, Any]:
    encoded = [{"b64": base64.b64encode(image).decode()} for image in images]
    return {"body": {"instances": encoded, "parameters": parameters}}


Row = Mapping[str, Any]
Ask = Callable[..., tuple[list[Any], FakeContext]]


@pytest.fixture
def ask(handler: ImageClassifier, folder: Path) -> Ask:
    def ask(rows: list[dict[str, Any]], headers: list[Headers] | None = None) -> tuple[list[Any], FakeContext]:
        context = FakeContext(folder, headers)
        items = handler.handle(list(rows), context)
        assert len(items) == len(rows)
        assert set(context.statuses) == set(context.content_types) == set(range(len(rows)))
        assert set(context.content_types.values()) == {"application/json"}
        return [json.loads(item) for item in items], context

    return ask


def names(answer: Any) -> Any:
    if isinstance(answer, list):
        return [names(item) for item in answer]
    return answer["error"]["code"] if "error" in answer else answer.get("class_name", answer.get("code"))


def test_one_image(ask: Ask) -> None:
    [answer], context = ask([{"body": RED}])
    assert answer["class_id"] == "n0"
    assert answer["class_name"] == "red"
    assert answer["recognized"] is True
    assert answer["probability"] == pytest.approx(1, abs=1e-3)
    assert (context.statuses, context.phrases) == ({0: 200}, {0: "OK"})


def test_good_and_bad_rows_keep_their_order(ask: Ask, engine: ColourEngine) -> None:
    rows = [{"body": RED}, {"body": BAD}, {"file": GREEN}, {}, {"body": b"text"}, {"data": BLUE}]
    answers, context = ask(rows)
    assert [names(answer) for answer in answers] == ["red", 400, "green", 400, 415, "blue"]
    assert list(context.statuses.values()) == [200, 400, 200, 400, 415, 200]
    assert context.phrases[4] == "Unsupported Media Type"
    assert engine.shapes == [(3, 224, 224, 3)]


def test_a_row_that_takes_too_much_memory_to_read_is_refused_alone(
    ask: Ask, handler: ImageClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(row: Row, *given: Any) -> Any:
        if "large" in row:
            raise MemoryError
        return real(row, *given)

    real = torchserve.parse
    monkeypatch.setattr(torchserve, "parse", parse)
    answers, _ = ask([{"body": RED}, {"large": BLUE}, {"body": GREEN}])
    assert [names(answer) for answer in answers] == ["red", 413, "green"]
    assert answers[1]["message"].startswith("Reading the request takes more memory")


def test_a_form_of_too_many_fields_is_refused_before_they_are_looked_at(ask: Ask) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    rows: list[dict[str, Any]] = [{str(i): b"" for i in range(fields)} | {"file": RED} for fields in (999, 1_000)]
    headers = [form | {name: {"content-type": "image/png" * (name == "file")} for name in row} for row in rows]
    answers, _ = ask(rows, headers)
    assert [names(answer) for answer in answers] == ["red", 413]
    assert answers[1]["message"].startswith("The form has 1,001 fields and the limit is 1,000")


def test_requests_of_several_images_in_one_batch(ask: Ask, engine: ColourEngine) -> None:
    rows = [instances(RED, BAD, BLUE), {"body": GREEN}, instances(BAD, b"text"), {"a": BLUE, "b": GREEN, "c": RED}]
    answers, context = ask(rows)
    assert [names(a) for a in answers] == [["red", 400, "blue"], "green", [400, 415], ["blue", "green", "red"]]
    assert list(context.statuses.values()) == [200, 200, 400, 200]
    assert engine.shapes == [(6, 224, 224, 3)]


def test_the_engine_rests_where_no_image_is_good(ask: Ask, engine: ColourEngine) -> None:
    answers, _ = ask([{"body": BAD}, {}])
    assert [answer["code"] for answer in answers] == [400, 400]
    assert engine.shapes == []


def test_an_instance_that_is_no_base64(ask: Ask) -> None:
    broken = instances(RED, GREEN)
    broken["body"]["instances"][0] = {"b64": "!"}
    answers, context = ask([broken, {"body": BLUE}])
    assert [names(answer) for answer in answers] == [[400, "green"], "blue"]
    assert list(context.statuses.values()) == [200, 200]


def test_parameters_belong_to_their_row(ask: Ask) -> None:
    rows = [{"body": RED}, {"body": RED, "top_k": b"2"}, {"body": RED}, instances(RED, top_k=3), {"body": RED}]
    answers, _ = ask(rows, [{}, {}, {"Top-K": "3"}, {}, {"Top-K": "0"}])
    assert [len(answer.get("predictions", [])) for answer in answers] == [0, 2, 3, 3, 0]
    assert "at least 1" in answers[4]["message"]


def test_a_grey_picture_is_not_recognized(ask: Ask) -> None:
    [answer], _ = ask([{"body": picture("grey"), "min_probability": "0.5"}])
    assert (answer["recognized"], answer["class_name"]) == (False, None)
    assert answer["probability"] == pytest.approx(1 / 3)


def test_a_guess_among_three_classes_is_not_recognized(ask: Ask) -> None:
    """A third is chance here, and over the threshold of 0.2 that suits ImageNet's 1000 classes."""
    [answer], _ = ask([{"body": picture("grey")}])
    assert (answer["recognized"], answer["class_name"]) == (False, None)


def test_nothing_is_kept_between_calls(handler: ImageClassifier, ask: Ask) -> None:
    before = dict(vars(handler))
    first, _ = ask([{"body": RED, "top_k": b"3", "min_probability": b"1"}])
    ask([{"body": BAD}])
    assert vars(handler) == before
    assert ask([{"body": RED, "top_k": b"3", "min_probability": b"1"}])[0] == first
    assert "predictions" not in ask([{"body": RED}])[0][0]


def test_describe_answers_the_card_and_the_engine(handler: ImageClassifier, folder: Path) -> None:
    [card] = handler.handle([{}], FakeContext(folder, [{"describe": "True"}]))
    limits = {"max_images": 32, "max_image_bytes": 20_000_000}
    assert card == THREE_CLASSES.to_dict() | {"running": {"engine": "fake"}, "limits": limits}
    json.dumps(card)


@pytest.mark.parametrize("row", [{"body": RED}, {}])
def test_an_empty_row_without_the_header_is_no_question_for_the_card(ask: Ask, row: dict[str, Any]) -> None:
    [answer], _ = ask([row], [{} if not row else {"describe": "True"}])
    assert "running" not in answer


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
    context = FakeContext(folder)
    built.handle([instances(RED, RED), {"body": RED}], context)
    assert list(context.statuses.values()) == [413, 200]


def test_labels_that_do_not_fit_the_card(folder: Path, engine: ColourEngine) -> None:
    (folder / LABELS_FILE).write_text('{"0": ["n0", "red"]}')
    with pytest.raises(ArchiveError, match=r"has 1 classes and the model 3: rebuild the archive"):
        ImageClassifier().initialize(FakeContext(folder))


@pytest.fixture
def metrics(handler: ImageClassifier, folder: Path) -> FakeMetrics:
    fake = FakeMetrics()
    handler.metrics = Metrics(fake, handler.card)
    return fake


def test_a_batch_is_measured_once(ask: Ask, metrics: FakeMetrics) -> None:
    ask([instances(RED, BAD, BLUE), {"body": GREEN}, {"body": b"text"}, {}, {"body": GREEN, "min_probability": "1"}])

    images = {(labels["outcome"], labels["reason"]): n for n, labels in metrics.added("counter", IMAGES) if n}
    assert images == {
        ("recognized", "none"): 3,
        ("unrecognized", "none"): 1,
        ("rejected", "BadRequest"): 2,
        ("rejected", "UnsupportedMediaType"): 1,
    }
    assert [n for n, _ in metrics.added("histogram", BATCH)] == [4]
    for name in (DECODE, INFERENCE):
        [(seconds, _)] = metrics.added("histogram", name)
        assert seconds > 0


def test_a_batch_without_images_decodes_and_infers_nothing(ask: Ask, metrics: FakeMetrics) -> None:
    ask([{}, {"top_k": b"0", "body": RED}])
    assert [n for n, _ in metrics.added("counter", IMAGES) if n] == [2]
    assert [metrics.added("histogram", name) for name in (DECODE, INFERENCE, BATCH)] == [[], [], []]


def test_a_refused_request_is_logged_by_its_id_and_nothing_of_its_own(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "handler"):
        ask([{"body": RED}, {"body": b"secret"}, {"body": RED, "top_k": b"secret"}], [{"Authorization": "secret"}] * 3)
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
    rows: list[Row] = [{"body": encode(photo(name), "JPEG", quality=95), "top_k": b"5"} for name in FITTING]
    answers = [json.loads(item) for item in stand_in.handle(rows, FakeContext(stand_in_folder))]
    for (name, fitting), answer in zip(FITTING.items(), answers, strict=True):
        assert fitting & {candidate["class_name"] for candidate in answer["predictions"]}, name
    best = {name: answer["predictions"][0]["class_name"] for name, answer in zip(FITTING, answers, strict=True)}
    right = [name for name, fitting in FITTING.items() if best[name] in fitting]
    assert len(right) >= 6, best


def test_noise_is_not_recognized(stand_in: ImageClassifier, stand_in_folder: Path) -> None:
    [item] = stand_in.handle(
        [{"body": encode(noise(300, 300), "PNG"), "min_probability": b"0.9"}], FakeContext(stand_in_folder)
    )
    assert json.loads(item)["recognized"] is False


def test_the_images_of_a_request_share_a_budget_of_pixels(ask: Ask) -> None:
    """32 PNGs of 50 megapixels are less than a MB: two of them are decoded, and those of others beside them."""
    large = png_of_zeros(8_000, 6_250)
    answers, context = ask([instances(*[large] * 32), instances(RED, BAD, large), {"body": BLUE}])
    black = answers[0][0]["class_name"]
    assert names(answers) == [[black] * 2 + [413] * 30, ["red", 400, black], "blue"]
    assert answers[0][2]["error"]["message"].startswith(
        "The request has more than 100,000,000 pixels with this image of"
    )
    assert list(context.statuses.values()) == [200, 200, 200]


def test_each_row_says_what_its_images_took_to_decode(ask: Ask) -> None:
    _, context = ask([instances(RED, GREEN), {"body": b"text"}, {}])
    seconds = [float(context.response_headers[i]["X-Decode-Seconds"]) for i in range(3)]
    assert seconds[0] >= 0
    assert seconds[2] == 0


def test_an_image_for_which_no_time_is_left_is_refused_in_its_place(
    ask: Ask, handler: ImageClassifier, metrics: FakeMetrics
) -> None:
    """All examined images are late by this clock: the first look sets the deadline, and each next one is past it."""
    clock = itertools.count(step=BATCH_SECONDS)
    handler.decoder = Decoder(handler.settings, handler.card.preprocessing, threads=1, clock=lambda: next(clock))
    answers, context = ask([{"body": RED}, instances(GREEN, b"text"), {"body": b"text"}])
    assert [names(answer) for answer in answers] == [503, [503, 415], 415]
    assert answers[0]["message"] == "The server is busy with large pictures: send this one again."
    assert list(context.statuses.values()) == [503, 503, 415]
    rejected = {labels["reason"]: n for n, labels in metrics.added("counter", IMAGES) if n}
    assert rejected == {"UnsupportedMediaType": 2, "ServiceUnavailable": 2}


class Body(bytearray):
    """A body that says when it is gone."""


@pytest.mark.parametrize("content", [RED, BAD, b"text", b"{", b'{"instances": [{"b64": "!"}]}', b'{"instances": [1]}'])
def test_a_body_is_gone_once_it_is_answered(ask: Ask, content: bytes) -> None:
    """Bodies that wait for Python to look for cycles made a worker grow by all of them."""
    rows: list[dict[str, Any]] = [{"body": Body(content)}]
    body = weakref.ref(rows[0]["body"])
    gc.disable()
    try:
        ask(rows)
        rows.clear()
        assert body() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("engine")
def test_torchserve_is_asked_to_hand_on_json_undecoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "true")  # as TorchServe starts a worker
    ImageClassifier().initialize(FakeContext(folder))
    assert os.environ["TS_DECODE_INPUT_REQUEST"] == "false"
