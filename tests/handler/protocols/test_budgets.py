"""JSON of millions of values: it is counted before anything is built of it."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from handler.card import ModelCard
from handler.encodings import read_json
from handler.errors import BadRequest, PayloadTooLarge
from handler.protocols.inference import JSON_LENGTH, InferenceProtocols
from handler.settings import Settings
from tests.colours import RED, write_folder
from tests.handler.inference_requests import infer, predict
from tests.handler.protocols.reading import JSON_HEADERS, PREDICT, read

MANY = 3_000_000
LIMIT = "lists and objects and the limit is 2,000,000"


def document(item: str, before: str, after: str = "]}", items: int = MANY) -> bytes:
    return f"{before}{item}{f',{item}' * (items - 1)}{after}".encode()


@pytest.fixture(scope="module")
def protocols(tmp_path_factory: pytest.TempPathFactory) -> InferenceProtocols:
    card = ModelCard.read(write_folder(tmp_path_factory.mktemp("colours")))
    return InferenceProtocols(card, PREDICT)


@contextmanager
def little_memory(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


@pytest.mark.parametrize(
    ("item", "facts"),
    [
        *((item, LIMIT) for item in ("[]", "{}", '{"b64":[]}', "[[]]", '{"b64":"AA=="}')),
        ("-9,-9", "5,999,999 commas and the limit is 5,000,000"),
        ('"ab"', "6,000,002 quotation marks and the limit is 20,000"),
    ],
)
def test_what_json_is_made_of_is_counted_before_it_is_built(item: str, facts: str) -> None:
    body = document(item, '{"instances":[')
    part = {"file": {"content-type": "application/json"}}
    for row, headers in (({"body": body}, JSON_HEADERS), ({"file": body}, part)):
        with little_memory(1_000_000), pytest.raises(PayloadTooLarge, match=facts):
            read(row, headers)


@pytest.mark.parametrize("place", ["x", "parameters"])
def test_names_are_counted_too(place: str) -> None:
    names = ",".join(f'"{i}":1' for i in range(10_001))
    with pytest.raises(PayloadTooLarge, match="quotation marks and the limit is 20,000"):
        read({"body": f'{{"instances":[{{"b64":"AA=="}}],"{place}":{{{names}}}}}'.encode()}, JSON_HEADERS)


@pytest.mark.parametrize("before", ['{"instances":[', '{"inputs":[', '{"inputs":[{}],"outputs":['])
@pytest.mark.parametrize("binary", [b"", b"x"])
def test_they_are_counted_in_both_inference_protocols(
    protocols: InferenceProtocols, before: str, binary: bytes
) -> None:
    body = document("[]", before)
    headers = {"explain": "False", **JSON_HEADERS} | ({JSON_LENGTH: str(len(body))} if binary else {})
    with little_memory(3 * len(body)), pytest.raises(PayloadTooLarge, match=LIMIT):
        protocols.read({"body": body + binary}, headers)


@pytest.mark.parametrize("item", [[], {}, {"b64": "eA=="}, None])
def test_instances_that_are_too_many_are_not_looked_at(item: Any) -> None:
    """TorchServe may have decoded the JSON already."""
    body = {"instances": [item] * 1_000_000}
    with little_memory(100_000), pytest.raises(PayloadTooLarge, match="1000000 images and the limit is 3"):
        read({"body": body}, JSON_HEADERS)


def test_the_parts_of_a_form_are_counted_together() -> None:
    part = json.dumps(predict(b"x", b"x")).encode()
    types = {name: {"content-type": "application/json"} for name in ("one", "two")}
    with pytest.raises(PayloadTooLarge, match="4 images and the limit is 3"):
        read({"one": part, "two": part}, types)


def test_many_outputs_are_not_looked_at(protocols: InferenceProtocols) -> None:
    body = infer(RED, outputs=[{"name": "class_id"}] * 1_000_000)
    with little_memory(100_000), pytest.raises(BadRequest, match="1,000,000 outputs and there are 4"):
        protocols.read({"body": body}, {"explain": "False"})


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Python's collector would look through all that these tests imported again and again, for seconds."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_the_largest_tensor_is_read() -> None:
    """As many images as a request may have, as pixels in nested lists."""
    side = 224
    row = "[" + ",".join(["[1,2,3]"] * side) + "]"
    image = "[" + ",".join([row] * side) + "]"
    text = '{"inputs": [{"data": [' + ",".join([image] * Settings().max_images) + "]}]}"
    assert len(read_json(text, "x")["inputs"][0]["data"]) == Settings().max_images
