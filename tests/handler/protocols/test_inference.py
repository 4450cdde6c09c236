"""Requests are written and answers read by tritonclient, as a client that nobody here wrote."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from tests.colours import BAD, BLUE, GREEN, RED, ColourEngine
from tests.handler.inference_requests import ADDRESS, OWN_ADDRESS, SIDE, Asker, b64, infer, predict, ready
from tests.pictures import encode, photo
from tests.worker import Headers


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


def test_infer_with_several_images(ask: Asker) -> None:
    answer = ask(infer(BLUE, RED, parameters={"top_k": 2, "min_probability": 1}))
    assert "id" not in answer
    found = outputs(answer)
    assert (found["class_name"][0], found["class_name"][1][::2]) == ([2, 2], ["blue", "red"])
    assert found["probability"][0] == [2, 2]
    assert found["recognized"] == ([2], [False, False])
    unsure = infer(
        RED, GREEN, parameters={"min_probability": 1}, outputs=[{"name": "recognized"}, {"name": "class_id"}]
    )
    assert outputs(ask(unsure)) == {"recognized": ([2], [False, False]), "class_id": ([2], ["", ""])}


def test_parameters_come_in_headers_too(ask: Asker) -> None:
    assert outputs(ask(infer(RED), {"Top-K": "3"}))["class_id"][0] == [1, 3]
    assert outputs(ask(infer(RED, parameters={"top_k": 2}), {"Top-K": "3"}))["class_id"][0] == [1, 2]
    assert len(ask(predict(RED), {"Top-K": "3"})["predictions"][0]["predictions"]) == 3


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
    sized = {i for i, headers in ask.context.response_headers.items() if "Inference-Header-Content-Length" in headers}
    assert sized == {4}
    assert engine.shapes == [(7, SIDE, SIDE, 3)]


def test_ready_pixels_and_a_photo_of_them_are_answered_alike(ask: Asker) -> None:
    image = photo("chelsea").resize((255, 255))
    pixels = np.asarray(image)[16:240, 16:240]  # (255 - 224) / 2 = 15.5 rounds to even
    tensor = {"name": "p", "shape": [1, SIDE, SIDE, 3], "datatype": "UINT8", "data": pixels.ravel().tolist()}
    assert outputs(ask({"inputs": [tensor]})) == outputs(ask(infer(encode(image, "PNG"))))
