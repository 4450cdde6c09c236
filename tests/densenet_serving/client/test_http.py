from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from densenet_serving.client import http as module
from densenet_serving.client import patience
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError, CommandError
from tests.densenet_serving.conftest import write_keys
from tests.local_server import Asked, LocalServer, Reply, as_json


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FACTOR_SECONDS", 0.0)
    monkeypatch.setattr(patience, "JITTER_SECONDS", 0.0)


@pytest.fixture
def client(endpoint: Endpoint) -> Client:
    return Client(endpoint)


def test_predict_sends_the_image_and_its_parameters(client: Client, local: LocalServer) -> None:
    local.on("POST /predictions/densenet121", as_json({"class_name": "tabby"}))
    answer = client.predict("densenet121", b"photo", {"top_k": 5, "min_probability": 0.5})
    [asked] = local.asked
    assert answer == {"class_name": "tabby"}
    assert asked.body == b"photo"
    assert asked.headers["Authorization"] == "Bearer inf"
    assert (asked.headers["top-k"], asked.headers["min-probability"]) == ("5", "0.5")
    assert asked.headers["Content-Type"] == "application/octet-stream"


def test_a_token_given_by_hand_is_used(endpoint: Endpoint, local: LocalServer) -> None:
    endpoint.key_file.unlink()
    local.on("POST /predictions/m", as_json({}))
    Client(endpoint, "given").predict("m", b"")
    assert local.asked[0].headers["Authorization"] == "Bearer given"


def test_models_come_from_every_page(client: Client, local: LocalServer) -> None:
    def page(asked: Asked) -> Reply:
        if asked.query == "next_page_token=1":
            return as_json({"models": [{"modelName": "b", "modelUrl": "b.mar"}]})
        return as_json({"models": [{"modelName": "a", "modelUrl": "a.mar"}], "nextPageToken": "1"})

    local.on("GET /models", page)
    assert client.models() == {"a": "a.mar", "b": "b.mar"}
    assert [asked.headers["Authorization"] for asked in local.asked] == ["Bearer man"] * 2


CALLS: list[tuple[Callable[[Client], Any], str, dict[str, list[str]]]] = [
    (lambda c: c.register("a.mar"), "POST /models", {"url": ["a.mar"], "synchronous": ["true"]}),
    (
        lambda c: c.scale("a", 2, "1.0"),
        "PUT /models/a/1.0",
        {"min_worker": ["2"], "max_worker": ["2"], "synchronous": ["true"]},
    ),
    (lambda c: c.set_default("a", "1.0"), "PUT /models/a/1.0/set-default", {}),
    (lambda c: c.unregister("a"), "DELETE /models/a", {}),
    (lambda c: c.unregister("a", "1.0"), "DELETE /models/a/1.0", {}),
]


@pytest.mark.parametrize(("call", "route", "query"), CALLS)
def test_management(
    client: Client, local: LocalServer, call: Callable[[Client], Any], route: str, query: dict[str, list[str]]
) -> None:
    local.on(route, as_json({"status": "done"}))
    assert call(client) == {"status": "done"}
    assert parse_qs(local.asked[0].query) == query


def test_describe(client: Client, local: LocalServer) -> None:
    local.on("GET /models/a", as_json([{"modelName": "a"}]))
    assert client.describe("a") == {"modelName": "a"}
    assert local.asked[0].query == "customized=true"


READY = {"modelName": "a", "workers": [{"status": "READY"}, {"status": "LOADING"}]}
NO_PHOTO = {"code": 400, "type": "BadRequestException", "message": "There is no photo."}
FAILED = {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (as_json([READY | {"customizedMetadata": NO_PHOTO}], 400), "400: There is no photo."),
        (as_json([READY | {"customizedMetadata": "No photo"}], 418), "418: No photo"),
        (as_json([READY], 500), "500: {base} answered 500."),
        (as_json(FAILED, 503), "503: Prediction failed"),
    ],
)
def test_a_worker_without_a_card_is_told_from_a_model_that_is_not_loaded(
    client: Client, endpoint: Endpoint, local: LocalServer, reply: Reply, words: str
) -> None:
    local.on("GET /models/a", lambda asked: reply if asked.query == "customized=true" else as_json([READY]))
    with pytest.raises(ApiError) as caught:
        client.describe("a")
    assert str(caught.value) == (
        "a is loaded and 1 of 2 workers are ready, but one gave no model card "
        f"({words.format(base=endpoint.management)}): {endpoint.folder}/logs/model_log.log tells more."
    )
    assert caught.value.error["code"] == reply.status


def test_the_card_of_a_model_that_is_not_loaded(client: Client, local: LocalServer) -> None:
    local.on("GET /models/a", as_json({"code": 404, "type": "X", "message": "Model not found: a"}, 404))
    with pytest.raises(ApiError, match="Model not found: a"):
        client.describe("a")


def test_versions(client: Client, local: LocalServer) -> None:
    local.on("GET /models/a/all", as_json([{"modelVersion": "1.0"}]))
    local.on("GET /models/broken/all", as_json({"code": 500, "type": "X", "message": "Why."}, 500))
    assert client.versions("a") == [{"modelVersion": "1.0"}]
    assert client.versions("unknown") == []
    with pytest.raises(ApiError, match="Why"):
        client.versions("broken")


def error_of(client: Client) -> ApiError:
    with pytest.raises(ApiError) as caught:
        client.predict("m", b"photo")
    return caught.value


def test_a_refusal_keeps_the_servers_own_words(client: Client, local: LocalServer) -> None:
    refusal = {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: m"}
    local.on("POST /predictions/m", as_json(refusal, 404))
    error = error_of(client)
    assert (str(error), error.error) == ("Model not found: m", refusal)


REFUSED_TOKEN = {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed"}


def test_a_refused_token_says_how_to_get_another(client: Client, local: LocalServer) -> None:
    local.on("POST /predictions/m", as_json(REFUSED_TOKEN, 400))
    assert "refused the token that was sent" in str(error_of(client))
    assert len(local.asked) == 2


def test_a_token_that_somebody_renewed_is_read_again(client: Client, endpoint: Endpoint, local: LocalServer) -> None:
    def reply(asked: Asked) -> Reply:
        fresh = asked.headers["Authorization"] == "Bearer renewed"
        return as_json({}) if fresh else as_json(REFUSED_TOKEN, 400)

    local.on("POST /predictions/m", as_json({}))
    assert client.predict("m", b"photo") == {}
    write_keys(endpoint.folder, "renewed")
    local.on("POST /predictions/m", reply)
    assert client.predict("m", b"photo") == {}
    assert [asked.headers["Authorization"] for asked in local.asked] == ["Bearer inf"] * 2 + ["Bearer renewed"]


def test_a_token_given_by_hand_is_sent_once(endpoint: Endpoint, local: LocalServer) -> None:
    local.on("POST /predictions/m", as_json(REFUSED_TOKEN, 400))
    assert "refused the token" in str(error_of(Client(endpoint, "given")))
    assert len(local.asked) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(413), "larger than the server's max_request_size"),
        (Reply(200, b"<html>", headers={"Content-Type": "text/html"}), "answered 200 without JSON: is it a TorchServe"),
        (Reply(502), "answered 502 without JSON"),
        (as_json(["odd"], 500), "answered 500."),
        (as_json({}, 500), "answered 500."),
    ],
)
def test_strange_answers(client: Client, local: LocalServer, reply: Reply, message: str) -> None:
    local.on("POST /predictions/m", reply)
    error = error_of(client)
    assert message in str(error)
    assert error.error["code"] == reply.status
    assert error.error["message"] == str(error)


def busy(*statuses: int) -> Callable[[Asked], Reply]:
    """Answer with one status after another, and well from then on."""
    left = iter(statuses)

    def reply(_: Asked) -> Reply:
        status = next(left, 200)
        return as_json({} if status == 200 else {"code": status, "type": "X", "message": "Passing."}, status)

    return reply


def test_a_prediction_is_tried_again_while_the_server_is_busy_or_has_lost_a_worker(
    client: Client, local: LocalServer
) -> None:
    local.on("POST /predictions/m", busy(503, 500, 507))
    assert client.predict("m", b"photo") == {}
    assert [asked.body for asked in local.asked] == [b"photo"] * 4


def test_a_server_that_stays_busy_is_believed(client: Client, local: LocalServer) -> None:
    local.on("POST /predictions/m", busy(*[503] * 99))
    assert error_of(client).error["code"] == 503
    assert len(local.asked) == 1 + patience.ATTEMPTS


@pytest.mark.parametrize("status", [400, 404, 413, 415])
def test_a_bad_request_is_sent_once(client: Client, local: LocalServer, status: int) -> None:
    local.on("POST /predictions/m", busy(status))
    assert error_of(client).error["code"] == status
    assert len(local.asked) == 1


def test_a_management_call_is_sent_once(client: Client, local: LocalServer) -> None:
    local.on("POST /models", busy(500))
    with pytest.raises(ApiError, match="Passing"):
        client.register("a.mar")
    assert len(local.asked) == 1


def test_no_server(endpoint: Endpoint, nobody: str) -> None:
    with pytest.raises(CommandError, match=f"No server answers at {nobody}: start one with densenet serve"):
        Client(Endpoint(nobody, nobody, nobody, endpoint.folder)).predict("m", b"")


def test_a_server_that_hangs(client: Client, local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Client._call, "__defaults__", (0.2,))
    local.on("POST /predictions/m", Reply(hangs=True))
    with pytest.raises(CommandError, match="did not answer within 0 s: is its worker alive"):
        client.predict("m", b"")
    assert len(local.asked) == 1  # it may still wait in the queue


def test_models_that_are_fixed(client: Client, local: LocalServer) -> None:
    refusal = {"code": 405, "type": "MethodNotAllowedException", "message": "Requested method is not allowed."}
    local.on("POST /models", as_json(refusal, 405))
    with pytest.raises(ApiError, match=r"models are fixed .*: densenet stop, then densenet serve without that"):
        client.register("a.mar")
