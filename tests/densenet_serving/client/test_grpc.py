from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from densenet_serving.client import grpc as module
from densenet_serving.client import patience
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.grpc import GrpcClient
from densenet_serving.client.protos.torchserve_pb2 import (
    ListModelsRequest,
    ManagementResponse,
    PredictionResponse,
    PredictionsRequest,
)
from densenet_serving.errors import ApiError, CommandError
from tests.densenet_serving.conftest import write_keys

Answer = Callable[[bytes, grpc.ServicerContext], bytes]


class FakeServer(grpc.GenericRpcHandler):
    """Answers each method, named as in the .proto, with a function of the request's bytes."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.tokens: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        self.tokens += [str(value) for key, value in handler_call_details.invocation_metadata if key == "authorization"]
        return grpc.unary_unary_rpc_method_handler(self.answers[handler_call_details.method.rpartition("/")[2]])


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


@pytest.fixture
def client(fake: FakeServer, tmp_path: Path) -> Iterator[GrpcClient]:
    server = grpc.server(ThreadPoolExecutor(2), handlers=[fake])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield GrpcClient(endpoint(tmp_path, port))
    server.stop(None).wait()


def endpoint(folder: Path, port: int) -> Endpoint:
    write_keys(folder)
    (folder / "config.properties").write_text(f"grpc_inference_port={port}\ngrpc_management_port={port}\n")
    return Endpoint("http://unused", "http://unused", "http://unused", folder)


def fails(code: grpc.StatusCode, details: str) -> Answer:
    def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, details)
        raise AssertionError("abort raises")

    return answer


def predicts(content: Any) -> Answer:
    return lambda *_: PredictionResponse(prediction=json.dumps(content).encode()).SerializeToString()


def test_the_image_goes_with_its_parameters_and_a_token(client: GrpcClient, fake: FakeServer) -> None:
    sent: list[PredictionsRequest] = []

    def answer(request: bytes, _: grpc.ServicerContext) -> bytes:
        sent.append(PredictionsRequest.FromString(request))
        return PredictionResponse(prediction=b'{"class_name": "tabby"}').SerializeToString()

    fake.answers["Predictions"] = answer
    assert client.predict("m", b"photo", {"top_k": 5, "min_probability": 0.5}, "2.0") == {"class_name": "tabby"}
    [request] = sent
    assert (request.model_name, request.model_version) == ("m", "2.0")
    assert dict(request.input) == {"data": b"photo", "top_k": b"5", "min_probability": b"0.5"}
    assert fake.tokens == ["Bearer inf"]


def test_a_token_that_somebody_renewed_is_read_again(client: GrpcClient, fake: FakeServer, tmp_path: Path) -> None:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        write_keys(tmp_path, "renewed")
        if ("authorization", "Bearer renewed") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Token Authorization failed")
        return predicts({})(request, context)

    fake.answers["Predictions"] = answer
    assert client.predict("m", b"photo") == {}
    assert fake.tokens == ["Bearer inf", "Bearer renewed"]


def test_a_refusal_in_the_body_is_an_error(client: GrpcClient, fake: FakeServer) -> None:
    refusal = {"code": 415, "type": "UnsupportedMediaTypeException", "message": "This is not an image."}
    fake.answers["Predictions"] = predicts(refusal)
    with pytest.raises(ApiError, match="not an image") as caught:
        client.predict("m", b"")
    assert caught.value.error == refusal


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("INTERNAL", "No m\norg.pytorch.ModelNotFoundException", (404, "ModelNotFoundException", "No m")),
        ("INTERNAL", "No 9\na.b.ModelVersionNotFoundException", (404, "ModelVersionNotFoundException", "No 9")),
        ("INTERNAL", "Worker died.\na.InternalServerException", (500, "InternalServerException", "Worker died.")),
        ("UNAVAILABLE", "Busy.\na.InternalServerException", (503, "InternalServerException", "Busy.")),
        (
            "INTERNAL",
            'Model "m" has no worker to serve inference request.\na.InternalServerException',
            (503, "ServiceUnavailableException", 'Model "m" has no worker to serve inference request.'),
        ),
        ("INTERNAL", "One\ntwo\na.b.OddException", (500, "OddException", "One\ntwo")),
    ],
)
def test_torchserves_refusals_are_those_of_http(
    client: GrpcClient,
    fake: FakeServer,
    code: str,
    details: str,
    expected: tuple[int, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "ATTEMPTS", 0)
    fake.answers["Predictions"] = fails(grpc.StatusCode[code], details)
    with pytest.raises(ApiError) as caught:
        client.predict("m", b"")
    assert tuple(caught.value.error[key] for key in ("code", "type", "message")) == expected


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow each other without a pause to speak of."""
    monkeypatch.setattr(patience, "FACTOR_SECONDS", 0.01)
    monkeypatch.setattr(patience, "JITTER_SECONDS", 0.01)


@pytest.mark.usefixtures("at_once")
def test_a_worker_without_time_for_the_image_is_asked_again(client: GrpcClient, fake: FakeServer) -> None:
    busy = predicts({"code": 503, "type": "ServiceUnavailableException", "message": "The server is busy."})
    answers = iter([busy, predicts({"class_name": "tabby"})])
    fake.answers["Predictions"] = lambda *call: next(answers)(*call)
    assert client.predict("m", b"photo") == {"class_name": "tabby"}


@pytest.mark.usefixtures("at_once")
def test_a_worker_that_died_is_waited_for(client: GrpcClient, fake: FakeServer) -> None:
    died = fails(grpc.StatusCode.INTERNAL, "Worker died.\na.InternalServerException")
    answers = iter([died, died, predicts({"class_name": "tabby"})])
    fake.answers["Predictions"] = lambda *call: next(answers)(*call)
    assert client.predict("m", b"photo") == {"class_name": "tabby"}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("PERMISSION_DENIED", "refused the token that was sent"),
        ("CANCELLED", "larger than the server's max_request_size"),
        ("UNKNOWN", r"answered UNKNOWN and no more \(no details\): its logs say why"),
    ],
)
def test_a_refusal_without_a_java_class(client: GrpcClient, fake: FakeServer, code: str, message: str) -> None:
    fake.answers["ListModels"] = fails(grpc.StatusCode[code], "")
    with pytest.raises(ApiError, match=message):
        client.models()


def test_models_come_from_every_page(client: GrpcClient, fake: FakeServer) -> None:
    pages = {
        0: {"models": [{"modelName": "a", "modelUrl": "a.mar"}], "nextPageToken": "1"},
        1: {"models": [{"modelName": "b", "modelUrl": "b.mar"}]},
    }

    def answer(request: bytes, _: grpc.ServicerContext) -> bytes:
        asked = ListModelsRequest.FromString(request)
        assert asked.limit > 0  # without one TorchServe gives empty pages for ever
        return ManagementResponse(msg=json.dumps(pages[asked.next_page_token])).SerializeToString()

    fake.answers["ListModels"] = answer
    assert client.models() == {"a": "a.mar", "b": "b.mar"}
    assert fake.tokens == ["Bearer man"] * 2


def test_no_server(nobody: str, tmp_path: Path) -> None:
    port = int(nobody.rpartition(":")[2])
    with pytest.raises(
        CommandError, match=f"No server answers at 127.0.0.1:{port}, or its .*: start one with densenet serve"
    ):
        GrpcClient(endpoint(tmp_path, port)).predict("m", b"")


def test_a_server_that_hangs(client: GrpcClient, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.GrpcClient._call, "__defaults__", (0.2,))
    gone = threading.Event()
    fake.answers["Predictions"] = lambda *_: bytes(gone.wait(10))
    with pytest.raises(CommandError, match="did not answer within 0 s: is its worker alive"):
        client.predict("m", b"")
    gone.set()
