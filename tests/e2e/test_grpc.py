"""TorchServe's gRPC gives the answers and the errors of its HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from densenet_serving import paths
from densenet_serving.client import patience
from densenet_serving.client.grpc import GrpcClient
from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError
from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server import torchserve
from tests.e2e.support import Inference, as_version, command_here, rewrite
from tests.pictures import SAMPLE_NAME

Ask = Callable[[Client | GrpcClient], Any]


@pytest.fixture
def over_grpc(running: torchserve.Server) -> GrpcClient:
    return GrpcClient(running.endpoint)


def error_of(client: Client | GrpcClient, ask: Ask) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        ask(client)
    return caught.value.error


@pytest.mark.parametrize("model", [STAND_IN, MODEL])
@pytest.mark.parametrize("parameters", [None, {"top_k": 3, "min_probability": 0.9}])
def test_the_same_bytes_get_the_same_answer(
    client: Client, over_grpc: GrpcClient, photos: dict[str, bytes], model: str, parameters: dict[str, Any] | None
) -> None:
    for photo in photos.values():
        answer = over_grpc.predict(model, photo, parameters)
        assert answer == client.predict(model, photo, parameters)
        assert ("predictions" in answer) == (parameters is not None)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda c: c.predict(STAND_IN, b"no photo"), 415),
        (lambda c: c.predict(STAND_IN, b""), 400),
        (lambda c: c.predict(STAND_IN, paths.SAMPLE_PHOTO.read_bytes(), {"top_k": 0}), 400),
        (lambda c: c.predict(STAND_IN, bytes(20_000_001)), 413),
        (lambda c: c.predict(STAND_IN, bytes(34_000_000)), 413),  # TorchServe's own refusal: max_request_size
        (lambda c: c.predict("nobody", b""), 404),
        (lambda c: c.predict(STAND_IN, b"", version="9.9"), 404),
    ],
)
@pytest.mark.usefixtures("same_workers")
def test_the_same_mistake_gets_the_same_error(client: Client, over_grpc: GrpcClient, ask: Ask, code: int) -> None:
    error = error_of(over_grpc, ask)

    assert error == error_of(client, ask)
    assert error["code"] == code


def test_models_are_listed(client: Client, over_grpc: GrpcClient) -> None:
    assert over_grpc.models() == client.models()


@pytest.fixture
def guest(model_store: Path) -> Iterator[str]:
    """A second version of the stand-in in the model store."""
    path = rewrite(model_store / f"{STAND_IN}.mar", model_store / "guest.mar", as_version("2.0"))
    yield path.name
    path.unlink()


def test_a_version_is_asked_by_its_number_while_it_has_workers(
    client: Client,
    over_grpc: GrpcClient,
    inference: Inference,
    guest: str,
    cat: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "ATTEMPTS", 0)
    client.register(guest)
    try:
        first = client.predict(STAND_IN, cat, version="1.0")
        renamed = {"class_name": f"second {first['class_name']}"}
        assert over_grpc.predict(STAND_IN, cat, version="2.0") == first | renamed
        client.scale(STAND_IN, 0, "2.0")
        refused = inference(cat, path=f"/predictions/{STAND_IN}/2.0").json()
        assert refused["code"] == 503
        assert error_of(over_grpc, lambda c: c.predict(STAND_IN, cat, version="2.0")) == refused
    finally:
        client.unregister(STAND_IN, "2.0")
    assert [version["modelVersion"] for version in client.versions(STAND_IN)] == ["1.0"]


def test_each_token_opens_its_own_door_only(running: torchserve.Server, cat: bytes) -> None:
    may_infer, may_manage = (
        GrpcClient(running.endpoint, running.endpoint.token(scope)) for scope in ("inference", "management")
    )

    assert may_infer.predict(STAND_IN, cat)["recognized"] is True
    assert STAND_IN in may_manage.models()
    for client, ask in (
        (may_manage, lambda c: c.predict(STAND_IN, cat)),
        (may_infer, lambda c: c.models()),
        (GrpcClient(running.endpoint, "wrong"), lambda c: c.predict(STAND_IN, cat)),
        (GrpcClient(running.endpoint, "wrong"), lambda c: c.models()),
    ):
        assert "refused the token" in error_of(client, ask)["message"]


def test_classify_prints_the_same_over_both(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    arguments = (paths.SAMPLE_PHOTO, tmp_path / "bad.jpg", "--top-k", "2", "--model", STAND_IN, "--run-dir", run_dir)

    done = command_here("classify", *arguments, "--grpc")
    assert done.returncode == 1
    good, bad = map(json.loads, done.stdout.splitlines())
    assert good["class_name"] == SAMPLE_NAME
    assert bad["error"]["code"] == 415
    assert done.stdout == command_here("classify", *arguments).stdout
