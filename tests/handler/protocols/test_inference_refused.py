"""What v1 and v2 refuse, each in its protocol's own form."""

from __future__ import annotations

from typing import Any

import pytest

from tests.colours import BAD, BLUE, RED
from tests.handler.inference_requests import ADDRESS, OWN_ADDRESS, Asker, infer, predict


def test_a_bad_instance_stands_in_its_place(ask: Asker) -> None:
    good, bad = ask(predict(RED, BAD))["predictions"]
    assert good["class_name"] == "red"
    assert bad["error"]["code"] == 400
    assert ask.context.statuses == {0: 200}
    assert "could not be decoded" in ask.refusal(predict(BAD, b"text"), 400)
    assert "accepted format" in ask.refusal(predict(b"text"), 415)


def test_a_bad_image_refuses_a_tensor_and_is_named(ask: Asker) -> None:
    assert ask.refusal(infer(RED, b"text", BAD), 415).startswith("Image 1: This is not an image")
    assert ask.refusal(infer(b"text"), 415).startswith("This is not an image")
    broken = infer(RED, BLUE)
    broken["inputs"][0]["data"][0] = "!"
    assert ask.refusal(broken, 400).startswith("Image 0: The element 0 of the input is not valid base64")


TENSOR = infer(RED)["inputs"]
REFUSED: dict[str, tuple[Any, int, str]] = {
    "nothing": (b"", 400, "not valid JSON"),
    "a photo": (RED, 400, "not valid JSON"),
    "JSON cut short": (b'{"inputs": [', 400, "not valid JSON"),
    "JSON nested without end": (b"[" * 100_000, 400, "not valid JSON"),
    "a list": ([1], 400, "no JSON object"),
    "neither": ({"image": ""}, 400, "neither instances nor inputs"),
    "no list of inputs": ({"inputs": {}}, 400, "not a list of one tensor"),
    "no inputs": ({"inputs": []}, 400, "not a list of one tensor"),
    "two inputs": ({"inputs": TENSOR * 2}, 400, "not a list of one tensor"),
    "an input of text": ({"inputs": ["cat"]}, 400, "not an object"),
    "33 images": (infer(*[RED] * 33), 413, "the limit is 32"),
    "an id of a number": (infer(RED, id=7), 400, "The id is not a text; it is 7"),
    "an id of megabytes": (
        infer(RED, id="x" * 6_600_000),
        413,
        "The id has 6,600,000 characters and the limit is 1,000",
    ),
    "parameters of a list": (infer(RED, parameters=[1]), 400, "The parameters are not an object"),
    "an unknown parameter": (infer(RED, parameters={"k": 1}), 400, "Unknown parameter k"),
    "a class to explain": (infer(RED, parameters={"class_id": "n0"}), 400, "Unknown parameter class_id"),
    "an overlay in v1": (predict(RED, parameters={"overlay": 1}), 400, "Unknown parameter overlay"),
    "top_k of -1": (infer(RED, parameters={"top_k": -1}), 400, "at least 1"),
    "top_k of 0 in v1": (predict(RED, parameters={"top_k": 0}), 400, "at least 1"),
    "binary output of 1": (infer(RED, parameters={"binary_data_output": 1}), 400, "must be true or false"),
    "outputs of text": (infer(RED, outputs="class_id"), 400, "not a list of objects"),
    "an unknown output": (infer(RED, outputs=[{"name": "x" * 999}]), 400, "There is no output 'xxx"),
    "an output without a name": (infer(RED, outputs=[{}]), 400, "There is no output None"),
    "Triton's classification": (
        infer(RED, outputs=[{"name": "class_id", "parameters": {"classification": 3}}]),
        400,
        "top_k",
    ),
    "no list of instances": ({"instances": 5}, 400, "no list named instances"),
    "no instances": ({"instances": []}, 400, "no image"),
}


@pytest.mark.parametrize(("body", "status", "fragment"), REFUSED.values(), ids=REFUSED)
def test_errors_have_the_protocols_form(ask: Asker, body: Any, status: int, fragment: str) -> None:
    assert fragment in ask.refusal(body, status)


@pytest.mark.parametrize("length", ["", "-1", "x", "٣", "1_0", "9" * 5000, "100"])
def test_a_wrong_length_of_the_json(ask: Asker, length: str) -> None:
    assert "Inference-Header-Content-Length" in ask.refusal(b"{}", 400, {"Inference-Header-Content-Length": length})


@pytest.mark.parametrize("row", [{}, {"file": RED}, {'{"inputs": []}': ""}])
def test_a_form_is_not_json_and_own_addresses_take_no_tensors(ask: Asker, row: dict[str, Any]) -> None:
    answer, own = ask.own([row, {"body": infer(RED)}], [ADDRESS, OWN_ADDRESS])
    assert "JSON object" in answer["error"]
    assert "instances" in own["message"]
    assert ask.statuses == [400, 400]
