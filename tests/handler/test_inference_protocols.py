"""Requests are written and answers read by tritonclient, as a client that nobody here wrote."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from handler.classifier import ImageClassifier
from handler.inference_protocols import InferenceProtocols
from tests.colours import BAD, BLUE, GREEN, RED, ColourEngine
from tests.pictures import encode, photo
from tests.worker import FakeContext, Headers

# What TorchServe 0.12 adds to the headers of /v1 and /v2.
ADDRESS = {"explain": "False"}
OWN_ADDRESS = {"explain": "False", "url_path": ""}
SIDE = 224


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def infer(*images: bytes, **fields: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [len(images)], "datatype": "BYTES", "data": [b64(image) for image in images]}
    return {"inputs": [tensor]} | fields


def predict(*images: bytes, **fields: Any) -> dict[str, Any]:
    return {"instances": [{"b64": b64(image)} for image in images]} | fields


def ready(*colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.stack([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in colours])


class Asker:
    """One handler, asked whole batches; keeps the context of the last."""

    def __init__(self, handler: ImageClassifier, folder: Path) -> None:
        self.handler, self.folder = handler, folder

    def batch(self, rows: list[dict[str, Any]], headers: list[Headers]) -> list[bytes]:
        self.context = FakeContext(self.folder, headers)
        return self.handler.handle(list(rows), self.context)

    def __call__(self, body: Any, headers: Headers | None = None) -> Any:
        [answer] = self.batch([{"body": body}], [ADDRESS | (headers or {})])
        assert self.context.content_types == {0: "application/json"}
        return json.loads(answer)

    def refusal(self, body: Any, status: int, headers: Headers | None = None) -> str:
        answer = self(body, headers)
        assert self.context.statuses == {0: status}
        assert set(answer) == {"error"}
        message: str = answer["error"]
        assert message.endswith(".")
        return message


@pytest.fixture
def ask(handler: ImageClassifier, folder: Path) -> Asker:
    return Asker(handler, folder)


@pytest.mark.parametrize(
    ("headers", "spoken"),
    [
        (ADDRESS, True),
        ({"explain": "True"}, True),
        (OWN_ADDRESS, False),
        ({"Explain": "False", "URL_Path": ""}, False),
        ({}, False),  # /models/NAME/invoke, and gRPC
    ],
)
def test_an_address_is_known_by_its_headers(headers: Headers, spoken: bool) -> None:
    assert InferenceProtocols.are_spoken(headers) is spoken


@pytest.mark.parametrize("write", [lambda d: d, lambda d: json.dumps(d).encode(), json.dumps])
def test_infer_with_one_image(ask: Asker, write: Any) -> None:
    assert ask(write(infer(RED, id="seven"))) == {
        "model_name": "densenet121",
        "model_version": "1.0",
        "id": "seven",
        "outputs": [
            {"name": "class_id", "datatype": "BYTES", "shape": [1], "data": ["n0"]},
            {"name": "class_name", "datatype": "BYTES", "shape": [1], "data": ["red"]},
            {"name": "probability", "datatype": "FP32", "shape": [1], "data": [pytest.approx(1, abs=1e-3)]},
            {"name": "recognized", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
    }
    assert ask.context.statuses == {0: 200}


def outputs(answer: dict[str, Any]) -> dict[str, tuple[list[int], list[Any]]]:
    return {output["name"]: (output["shape"], output["data"]) for output in answer["outputs"]}


def test_infer_with_several_images_and_predictions(ask: Asker) -> None:
    answer = ask(infer(BLUE, RED, parameters={"top_k": 2, "min_probability": 1}))
    found = outputs(answer)
    assert found["class_name"][0] == [2, 2]
    assert found["class_name"][1][::2] == ["blue", "red"]
    assert found["probability"][0] == [2, 2]
    assert found["recognized"] == ([2], [False, False])
    assert "id" not in answer


def test_an_image_that_is_not_recognized_has_an_empty_class(ask: Asker) -> None:
    found = outputs(ask(infer(RED, GREEN, parameters={"min_probability": 1})))
    assert (found["class_id"], found["class_name"]) == (([2], ["", ""]), ([2], ["", ""]))
    assert found["recognized"][1] == [False, False]


def test_parameters_come_in_headers_too(ask: Asker) -> None:
    assert outputs(ask(infer(RED), {"Top-K": "3"}))["class_id"][0] == [1, 3]
    assert outputs(ask(infer(RED, parameters={"top_k": 2}), {"Top-K": "3"}))["class_id"][0] == [1, 2]
    assert len(ask(predict(RED), {"Top-K": "3"})["predictions"][0]["predictions"]) == 3


def test_only_the_outputs_asked_for(ask: Asker) -> None:
    answer = ask(infer(RED, outputs=[{"name": "recognized"}, {"name": "class_name"}]))
    assert list(outputs(answer)) == ["recognized", "class_name"]


def test_ready_pixels_reach_the_model_unchanged(ask: Asker, engine: ColourEngine) -> None:
    pixels = ready((250, 0, 0), (0, 0, 250))
    tensor = {"name": "pixels", "shape": list(pixels.shape), "datatype": "UINT8", "data": pixels.tolist()}
    assert outputs(ask({"inputs": [tensor]}))["class_name"] == ([2], ["red", "blue"])
    assert engine.shapes == [(2, SIDE, SIDE, 3)]


def triton_input(data: NDArray[Any], datatype: str, *, binary: bool) -> InferInput:
    tensor = InferInput("image", list(data.shape), datatype)
    return tensor.set_data_from_numpy(data, binary_data=binary)


FILES = np.array([RED, BLUE], dtype=object)
TEXTS = np.array([b64(RED).encode(), b64(BLUE).encode()], dtype=object)


@pytest.mark.parametrize(
    "tensor",
    [
        triton_input(FILES, "BYTES", binary=True),
        triton_input(TEXTS, "BYTES", binary=False),
        triton_input(FILES.reshape(2, 1), "BYTES", binary=True),
        triton_input(ready((250, 0, 0), (0, 0, 250)), "UINT8", binary=True),
        triton_input(ready((250, 0, 0), (0, 0, 250)), "UINT8", binary=False),
    ],
    ids=["files", "base64", "files in rows", "pixels", "pixels in JSON"],
)
@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("wanted", [None, "binary", "json", "mixed"])
def test_what_tritonclient_writes_and_reads(ask: Asker, tensor: InferInput, top_k: int, wanted: str | None) -> None:
    names = ("class_name", "probability", "recognized")
    asked = [
        InferRequestedOutput(name, binary_data=wanted == "binary" or (wanted == "mixed" and name != "probability"))
        for name in names
    ]
    body, json_size = InferenceServerClient.generate_request_body(
        [tensor], asked if wanted else None, parameters={"top_k": top_k}
    )
    headers = ADDRESS | ({} if json_size is None else {"inference-header-content-length": str(json_size)})

    [answer] = ask.batch([{"body": bytearray(body)}], [headers])

    assert ask.context.statuses == {0: 200}, answer
    length = ask.context.response_headers.get(0, {}).get("Inference-Header-Content-Length")
    assert ask.context.content_types[0] == ("application/json" if length is None else "application/octet-stream")
    result = InferResult.from_response_body(answer, header_length=length)
    shape = (2,) if top_k == 1 else (2, 2)
    assert result.as_numpy("class_name").shape == result.as_numpy("probability").shape == shape
    best = result.as_numpy("class_name").reshape(2, -1)[:, 0]
    assert [name if isinstance(name, str) else name.decode() for name in best] == ["red", "blue"]
    assert result.as_numpy("probability").reshape(2, -1)[:, 0] == pytest.approx([1, 1], abs=1e-3)
    assert result.as_numpy("recognized").tolist() == [True, True]
    assert (result.as_numpy("class_id") is None) == bool(wanted)


def test_predict_answers_as_predictions_does(ask: Asker) -> None:
    document = predict(RED, BLUE, parameters={"top_k": 2})
    [own] = ask.batch([{"body": document}], [OWN_ADDRESS])
    assert ask(document) == {"predictions": json.loads(own)}
    [one] = ask(predict(GREEN))["predictions"]
    assert one["class_name"] == "green"


def test_a_bad_instance_stands_in_its_place(ask: Asker) -> None:
    good, bad = ask(predict(RED, BAD))["predictions"]
    assert good["class_name"] == "red"
    assert bad["error"]["code"] == 400
    assert ask.context.statuses == {0: 200}
    assert "damaged" in ask.refusal(predict(BAD, b"text"), 400)
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
    "parameters of a list": (infer(RED, parameters=[1]), 400, "The parameters are not an object"),
    "an unknown parameter": (infer(RED, parameters={"k": 1}), 400, "Unknown parameter k"),
    "a class to explain": (infer(RED, parameters={"class_id": "n0"}), 400, "Unknown parameter class_id"),
    "an overlay in v1": (predict(RED, parameters={"overlay": 1}), 400, "Unknown parameter overlay"),
    "top_k of 4": (infer(RED, parameters={"top_k": 4}), 400, "from 1 to 3"),
    "top_k of 0 in v1": (predict(RED, parameters={"top_k": 0}), 400, "from 1 to 3"),
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
def test_a_form_is_no_json(ask: Asker, row: dict[str, Any]) -> None:
    [answer] = ask.batch([row], [ADDRESS])
    assert "no JSON object as its body" in json.loads(answer)["error"]
    assert ask.context.statuses == {0: 400}


def test_own_addresses_know_no_tensors(ask: Asker) -> None:
    [answer] = ask.batch([{"body": infer(RED)}], [OWN_ADDRESS])
    assert "no list named instances" in json.loads(answer)["message"]


def test_protocols_share_a_batch(ask: Asker, engine: ColourEngine) -> None:
    pixels = ready((0, 250, 0))
    tensor = triton_input(pixels, "UINT8", binary=True)
    body, json_size = InferenceServerClient.generate_request_body([tensor])
    length = {"Inference-Header-Content-Length": str(json_size)}
    rows: list[tuple[dict[str, Any], Headers]] = [
        ({"body": RED}, OWN_ADDRESS),
        ({"body": infer(BLUE, GREEN)}, ADDRESS),
        ({"body": infer(BAD, GREEN)}, ADDRESS),
        ({"body": predict(GREEN, BAD)}, ADDRESS),
        ({"body": body}, ADDRESS | length),
        ({"body": b"text"}, ADDRESS),
        ({"body": b"text"}, OWN_ADDRESS),
        ({"file": BLUE}, {}),
    ]
    alone = [ask.batch([row], [headers])[0] for row, headers in rows]
    engine.shapes.clear()

    together = ask.batch([row for row, _ in rows], [headers for _, headers in rows])

    assert together == alone
    assert list(ask.context.statuses.values()) == [200, 200, 400, 200, 200, 400, 415, 200]
    assert set(ask.context.response_headers) == {4}
    assert engine.shapes == [(7, SIDE, SIDE, 3)]


def test_ready_pixels_and_a_photo_of_them_are_answered_alike(ask: Asker) -> None:
    image = photo("chelsea").resize((255, 255))
    pixels = np.asarray(image)[16:240, 16:240]  # (255 - 224) / 2 = 15.5 rounds to even
    tensor = {"name": "p", "shape": [1, SIDE, SIDE, 3], "datatype": "UINT8", "data": pixels.ravel().tolist()}
    assert outputs(ask({"inputs": [tensor]})) == outputs(ask(infer(encode(image, "PNG"))))
