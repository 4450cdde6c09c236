"""The Open Inference Protocol v2 and KServe's v1 predict form, spoken to the real server by a client of Triton's."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server import torchserve
from handler.card import ModelCard, Preprocessing
from handler.preprocessing import preprocess
from tests.e2e.support import Inference, content_of
from tests.errors import check_error
from tests.pictures import FITTING, photo

pytestmark = pytest.mark.usefixtures("same_workers")

NAMES = ("chelsea", "coffee", "rocket")
V1 = f"/v1/models/{STAND_IN}:predict"
V2 = f"/v2/models/{STAND_IN}/infer"


class Triton:
    """tritonclient, with our server's address and token."""

    def __init__(self, client: InferenceServerClient, token: str) -> None:
        self.client, self._token = client, token

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}  # a new one each time: the client adds its own to it

    def __call__(self, tensor: InferInput, model: str = STAND_IN, **options: Any) -> InferResult:
        return self.client.infer(model, [tensor], headers=self.headers(), **options)


@pytest.fixture
def triton(running: torchserve.Server) -> Iterator[Triton]:
    address = running.endpoint.inference.removeprefix("http://")
    with InferenceServerClient(address, network_timeout=60) as client:
        yield Triton(client, running.endpoint.token("inference"))


def tensor_of(data: NDArray[Any], datatype: str, *, binary: bool) -> InferInput:
    return InferInput("image", list(data.shape), datatype).set_data_from_numpy(data, binary_data=binary)


def files(images: list[bytes], *, binary: bool = True) -> InferInput:
    """Raw bytes in binary; in JSON, which holds no bytes, base64."""
    elements = images if binary else [base64.b64encode(image) for image in images]
    return tensor_of(np.array(elements, dtype=object), "BYTES", binary=binary)


@pytest.fixture
def spec(stand_in_folder: Path) -> Preprocessing:
    return ModelCard.read(stand_in_folder).preprocessing


def pixels(names: tuple[str, ...], spec: Preprocessing, *, binary: bool = True) -> InferInput:
    return tensor_of(np.stack([preprocess(photo(name), spec) for name in names]), "UINT8", binary=binary)


def texts(result: InferResult, name: str) -> list[str]:
    """BYTES come out of tritonclient as bytes where the answer was binary, and as text where it was JSON."""
    values = result.as_numpy(name).ravel()
    return [value.decode() if isinstance(value, bytes) else value for value in values]


@pytest.mark.parametrize("names", [NAMES[:1], NAMES], ids=["one", "three"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("datatype", ["BYTES", "UINT8"])
def test_photos_get_their_names(
    triton: Triton,
    spec: Preprocessing,
    photos: dict[str, bytes],
    datatype: str,
    binary: bool,
    names: tuple[str, ...],
) -> None:
    images = [photos[name] for name in names]
    tensor = files(images, binary=binary) if datatype == "BYTES" else pixels(names, spec, binary=binary)
    wanted = [InferRequestedOutput(name, binary_data=binary) for name in ("class_name", "probability", "recognized")]

    result = triton(tensor, outputs=wanted, request_id="seven")

    assert [found in FITTING[name] for found, name in zip(texts(result, "class_name"), names, strict=True)] == [
        True
    ] * len(names)
    assert result.as_numpy("recognized").tolist() == [True] * len(names)
    assert result.as_numpy("probability").dtype == np.float32
    assert (result.as_numpy("probability") > 0.2).all()
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == (STAND_IN, "1.0", "seven")


def test_both_datatypes_and_predictions_agree(
    triton: Triton, spec: Preprocessing, inference: Inference, photos: dict[str, bytes]
) -> None:
    own = content_of(inference(photos["chelsea"], headers={"Top-K": "3"}))["predictions"]

    for tensor in (files([photos["chelsea"]]), pixels(("chelsea",), spec)):
        result = triton(tensor, parameters={"top_k": 3})
        assert result.as_numpy("class_id").shape == (1, 3)
        # The JPEG that one was sent as is not quite the picture that the other was cut from.
        tolerance = 1e-4 if tensor.datatype() == "BYTES" else 0.1
        found = dict(zip(texts(result, "class_id"), result.as_numpy("probability")[0], strict=True))
        assert found[own[0]["class_id"]] == pytest.approx(own[0]["probability"], abs=tolerance)


def test_densenet_takes_them_too(triton: Triton, photos: dict[str, bytes]) -> None:
    assert triton(files([photos["coffee"]]), model=MODEL).as_numpy("recognized").tolist() == [False]


BAD: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "text": (lambda: files([b"hello"]), {}, "415", "send JPEG"),
    "the second of two": (lambda: files([b"\xff\xd8", b"hello"]), {}, "400", "Image 0: "),
    "33 images": (lambda: files([b"x"] * 33), {}, "413", "the limit is 32"),
    "bad base64": (
        lambda: tensor_of(np.array([b"#"], dtype=object), "BYTES", binary=False),
        {},
        "400",
        "not valid base64",
    ),
    "pixels of another size": (
        lambda: tensor_of(np.zeros((1, 32, 32, 3), np.uint8), "UINT8", binary=True),
        {},
        "400",
        "UINT8 of shape [N, 224, 224, 3]",
    ),
    "another datatype": (
        lambda: tensor_of(np.zeros((1, 3, 224, 224), np.float32), "FP32", binary=True),
        {},
        "400",
        "datatype 'FP32'",
    ),
    "top_k of 0": (lambda: files([b"x"]), {"parameters": {"top_k": 0}}, "400", "top_k must be a whole number"),
    "a sequence": (lambda: files([b"x"]), {"sequence_id": 1}, "400", "Unknown parameter sequence_end"),
    "no photo in a compressed body": (lambda: files([b"x"]), {"request_compression_algorithm": "gzip"}, "415", "JPEG"),
    "an unknown output": (
        lambda: files([b"x"]),
        {"outputs": [InferRequestedOutput("logits")]},
        "400",
        "There is no output 'logits'",
    ),
}


@pytest.mark.parametrize(("make", "options", "status", "fragment"), BAD.values(), ids=BAD)
def test_bad_input_raises_the_clients_own_exception(
    triton: Triton, make: Any, options: dict[str, Any], status: str, fragment: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton(make(), **options)

    assert caught.value.status() == status
    assert fragment in caught.value.message()


def test_the_predict_form(inference: Inference, photos: dict[str, bytes]) -> None:
    instances = [{"b64": base64.b64encode(image).decode()} for image in (photos["chelsea"], b"hello", photos["coffee"])]

    cat, error, cup = content_of(inference(path=V1, json={"instances": instances}))["predictions"]

    assert cat == content_of(inference(photos["chelsea"]))
    assert cup["class_name"] in FITTING["coffee"]
    check_error(error["error"], 415, "send JPEG")


@pytest.mark.parametrize(
    ("path", "body", "status", "fragment"),
    [
        (V1, {"instances": [{"b64": "#"}]}, 400, "not valid base64"),
        (V1, {"instances": [], "parameters": {"top_k": 5}}, 400, "no image"),
        (V1, {}, 400, "neither instances nor inputs"),
        (V2, {"inputs": []}, 400, "not a list of one tensor"),
    ],
)
def test_errors_of_either_protocol(
    inference: Inference, path: str, body: dict[str, Any], status: int, fragment: str
) -> None:
    answer = inference(path=path, json=body)

    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert fragment in answer.json()["error"]


def test_protocols_share_batches(inference: Inference, photos: dict[str, bytes]) -> None:
    """Sixteen clients with five kinds of requests: what is answered to each is what is answered to it alone."""
    encoded = base64.b64encode(photos["chelsea"]).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    kinds: list[dict[str, Any]] = [
        {"body": photos["coffee"]},
        {"path": V1, "json": {"instances": [{"b64": encoded}]}},
        {"path": V2, "json": {"inputs": [tensor]}},
        {"path": V2, "json": {"inputs": [tensor | {"data": ["#"]}]}},
        {"body": b"hello"},
    ]

    def ask(kind: dict[str, Any]) -> requests.Response:
        return inference(**kind)

    alone = [ask(kind) for kind in kinds]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, kinds * 6))

    for i, answer in enumerate(answers):
        expected = alone[i % len(kinds)]
        assert answer.status_code == expected.status_code
        assert without_numbers(answer.json()) == without_numbers(expected.json())


def without_numbers(answer: Any) -> Any:
    """Drop the probabilities: bf16 sums in another order when a batch is larger."""
    if isinstance(answer, dict):
        kept = {name: without_numbers(value) for name, value in answer.items() if name != "probability"}
        return kept | {"data": None} if answer.get("datatype") == "FP32" else kept
    return [without_numbers(item) for item in answer] if isinstance(answer, list) else answer


def test_what_torchserve_does_not_answer(triton: Triton) -> None:
    """docs/protocols.md says so; where a later TorchServe does, it should say that."""
    headers = triton.headers()
    assert triton.client.is_server_ready(headers=headers) is False
    assert triton.client.is_server_live(headers=headers) is False
    assert triton.client.is_model_ready(STAND_IN, headers=headers) is False
    with pytest.raises(InferenceServerException) as caught:
        triton.client.get_model_metadata(STAND_IN, headers=headers)
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException) as caught:
        triton(files([b"x"]), model_version="1.0")
    assert caught.value.status() == "404"


def test_a_request_without_a_token_is_refused(triton: Triton) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.client.infer(STAND_IN, [files([b"x"])])
    assert caught.value.status() == "400"
