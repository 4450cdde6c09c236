"""The Open Inference Protocol v2 and KServe's v1 predict form, spoken to the real server by a client of Triton's."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


def tensor_of(data: NDArray[Any], datatype: str, *, binary: bool = True) -> InferInput:
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

    for found, name in zip(texts(result, "class_name"), names, strict=True):
        assert found in FITTING[name]
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


# The input, tritonclient's other arguments, the status, and what the message names.
BAD: dict[str, tuple[InferInput, dict[str, Any], str, str]] = {
    "text": (files([b"hello"]), {}, "415", "JPEG"),
    "the second of two": (files([b"\xff\xd8", b"hello"]), {}, "400", "Image 0"),
    "33 images": (files([b"x"] * 33), {}, "413", "32"),
    "bad base64": (tensor_of(np.array([b"#"], dtype=object), "BYTES", binary=False), {}, "400", "base64"),
    "pixels of another size": (tensor_of(np.zeros((1, 32, 32, 3), np.uint8), "UINT8"), {}, "400", "[N, 224, 224, 3]"),
    "another datatype": (tensor_of(np.zeros((1, 3, 224, 224), np.float32), "FP32"), {}, "400", "FP32"),
    "top_k of 0": (files([b"x"]), {"parameters": {"top_k": 0}}, "400", "top_k"),
    "a sequence": (files([b"x"]), {"sequence_id": 1}, "400", "sequence_end"),
    "no photo in a compressed body": (files([b"x"]), {"request_compression_algorithm": "gzip"}, "415", "JPEG"),
    "an unknown output": (files([b"x"]), {"outputs": [InferRequestedOutput("logits")]}, "400", "logits"),
}


@pytest.mark.parametrize(("tensor", "options", "status", "named"), BAD.values(), ids=BAD)
def test_bad_input_raises_the_clients_own_exception(
    triton: Triton, tensor: InferInput, options: dict[str, Any], status: str, named: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton(tensor, **options)
    assert caught.value.status() == status
    assert named in caught.value.message()


def test_the_predict_form(inference: Inference, photos: dict[str, bytes]) -> None:
    instances = [{"b64": base64.b64encode(image).decode()} for image in (photos["chelsea"], b"hello", photos["coffee"])]
    cat, error, cup = content_of(inference(path=V1, json={"instances": instances}))["predictions"]
    assert cat == content_of(inference(photos["chelsea"]))
    assert cup["class_name"] in FITTING["coffee"]
    check_error(error["error"], 415)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (V1, {"instances": [{"b64": "#"}]}),
        (V1, {"instances": [], "parameters": {"top_k": 5}}),
        (V1, {}),
        (V2, {"inputs": []}),
    ],
)
def test_errors_of_either_protocol(inference: Inference, path: str, body: dict[str, Any]) -> None:
    answer = inference(path=path, json=body)
    assert (answer.status_code, set(answer.json())) == (400, {"error"})


def test_what_torchserve_does_not_answer(triton: Triton) -> None:
    """docs/protocols.md says so; where a later TorchServe does, it should say that."""
    headers = triton.headers()
    assert triton.client.is_server_ready(headers=headers) is False
    assert triton.client.is_server_live(headers=headers) is False
    assert triton.client.is_model_ready(STAND_IN, headers=headers) is False
    asked: dict[str, tuple[Callable[[], Any], str]] = {
        "metadata": (lambda: triton.client.get_model_metadata(STAND_IN, headers=headers), "404"),
        "a version": (lambda: triton(files([b"x"]), model_version="1.0"), "404"),
        "without a token": (lambda: triton.client.infer(STAND_IN, [files([b"x"])]), "400"),
    }
    for ask, status in asked.values():
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.status() == status
