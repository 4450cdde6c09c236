"""What the client for threads sends and what it makes of answers, without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest

from densenet_client import PAUSES, pause_after
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError, CommandError
from tests.densenet_serving.conftest import write_keys

Reply = httpx.Response | Exception
BASE = "http://torchserve"


@dataclass
class TorchServe:
    """Answers with one of `replies` after another, and with an empty object from then on."""

    replies: list[Reply] = field(default_factory=list)
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        reply = self.replies.pop(0) if self.replies else httpx.Response(200, json={})
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def tokens(self) -> list[str]:
        return [asked.headers["Authorization"].removeprefix("Bearer ") for asked in self.asked]


@pytest.fixture
def torchserve() -> TorchServe:
    return TorchServe()


@pytest.fixture
def endpoint(endpoint: Endpoint) -> Endpoint:
    return Endpoint(BASE, BASE, BASE, endpoint.folder)


Make = Callable[..., Client]


@pytest.fixture
def make(endpoint: Endpoint, torchserve: TorchServe) -> Make:
    hasty = partial(pause_after, pauses=(0.0,) * len(PAUSES))
    return partial(Client, endpoint, retry=hasty, transport=httpx.MockTransport(torchserve))


@pytest.fixture
def client(make: Make) -> Client:
    return make()


def error(status: int, kind: str = "X", message: str = "Why.") -> httpx.Response:
    return httpx.Response(status, json={"code": status, "type": kind, "message": message})


REFUSED_TOKEN = partial(error, 400, "InvalidKeyException")


def test_predict_sends_the_image_and_its_parameters(client: Client, torchserve: TorchServe) -> None:
    torchserve.replies = [httpx.Response(200, json={"class_name": "tabby"})]
    assert client.predict("m", b"photo", {"top_k": 5, "class_id": "猫"}, "2.0") == {"class_name": "tabby"}
    [asked] = torchserve.asked
    assert (asked.method, str(asked.url), asked.content) == ("POST", f"{BASE}/predictions/m/2.0", b"photo")
    assert (asked.headers["top-k"], asked.headers["class-id"]) == ("5", "%E7%8C%AB")
    assert asked.headers["Content-Type"] == "application/octet-stream"
    assert torchserve.tokens == ["inf"]
    torchserve.replies = [httpx.Response(200, content=b"tabby")]  # of another project's handler
    assert client.predict("m", b"photo") == "tabby"


def test_models_come_from_every_page(client: Client, torchserve: TorchServe) -> None:
    pages: list[tuple[str, dict[str, str]]] = [("a", {"nextPageToken": "1"}), ("b", {})]
    torchserve.replies = [
        httpx.Response(200, json={"models": [{"modelName": name, "modelUrl": f"{name}.mar"}], **more})
        for name, more in pages
    ]
    assert client.models() == {"a": "a.mar", "b": "b.mar"}
    assert [str(asked.url) for asked in torchserve.asked] == [f"{BASE}/models", f"{BASE}/models?next_page_token=1"]
    assert torchserve.tokens == ["man"] * 2


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (lambda c: c.register("a.mar"), "POST /models?url=a.mar&synchronous=true"),
        (lambda c: c.scale("a", 2, "1.0"), "PUT /models/a/1.0?min_worker=2&max_worker=2&synchronous=true"),
        (lambda c: c.set_default("a", "1.0"), "PUT /models/a/1.0/set-default"),
        (lambda c: c.unregister("a"), "DELETE /models/a"),
        (lambda c: c.unregister("a", "1.0"), "DELETE /models/a/1.0"),
        (lambda c: c.unregister("a/b\n?"), "DELETE /models/a%2Fb%0A%3F"),
        (lambda c: c.ask("explanations", b"", {"overlay": None}, "a"), "POST /explanations/a"),
    ],
)
def test_calls(client: Client, torchserve: TorchServe, call: Callable[[Client], Any], asked: str) -> None:
    assert call(client) == {}
    assert [f"{one.method} {str(one.url).removeprefix(BASE)}" for one in torchserve.asked] == [asked]


READY = {"modelName": "a", "workers": [{"status": "READY"}, {"status": "LOADING"}]}
NO_PHOTO = {"code": 400, "type": "BadRequestException", "message": "There is no photo."}


def test_describe(client: Client, torchserve: TorchServe) -> None:
    torchserve.replies = [httpx.Response(200, json=[READY])]
    assert client.describe("a") == READY
    assert str(torchserve.asked[0].url) == f"{BASE}/models/a?customized=true"
    torchserve.replies = [error(404, message="Model not found: a")] * 2
    with pytest.raises(ApiError, match=r"^Model not found: a$"):
        client.describe("a")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (httpx.Response(400, json=[READY | {"customizedMetadata": NO_PHOTO}]), "400: There is no photo."),
        (httpx.Response(418, json=[READY | {"customizedMetadata": "No photo"}]), "418: No photo"),
        (httpx.Response(500, json=[READY]), "500: "),
        (error(503, message="Prediction failed"), "503: Prediction failed"),
    ],
)
def test_a_worker_without_a_card_is_told_from_a_model_that_is_not_loaded(
    client: Client, endpoint: Endpoint, torchserve: TorchServe, reply: httpx.Response, words: str
) -> None:
    torchserve.replies = [reply, httpx.Response(200, json=[READY])]
    with pytest.raises(ApiError) as caught:
        client.describe("a")
    for fact in ("a is loaded and 1 of 2 workers are ready", words, f"{endpoint.folder}/logs/model_log.log"):
        assert fact in str(caught.value)
    assert caught.value.error["code"] == reply.status_code


def test_a_model_that_is_not_registered_has_no_versions(client: Client, torchserve: TorchServe) -> None:
    torchserve.replies = [httpx.Response(200, json=[{"modelVersion": "1.0"}]), error(404), error(500)]
    assert client.versions("a") == [{"modelVersion": "1.0"}]
    assert client.versions("unknown") == []
    assert error_of(partial(client.versions, "broken"))["code"] == 500


def error_of(ask: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        ask()
    assert caught.value.error["message"] == str(caught.value)
    return caught.value.error


@pytest.mark.parametrize(
    ("reply", "kind", "fact"),
    [
        (error(404, "ModelNotFoundException", "Model not found: m"), "ModelNotFoundException", "Model not found: m"),
        (httpx.Response(413), "Request Entity Too Large", "max_request_size"),
        (httpx.Response(200, html="<html>"), "OK", "200 without JSON"),
        (httpx.Response(404), "Not Found", "404 without JSON"),
        (httpx.Response(404, json=["odd"]), "Error", "answered 404."),
        (httpx.Response(404, json={}), "Error", "answered 404."),
        (error(405, "MethodNotAllowedException"), "MethodNotAllowedException", "--fixed-models"),
    ],
)
def test_a_refusal_keeps_status_type_and_words(
    client: Client, torchserve: TorchServe, reply: httpx.Response, kind: str, fact: str
) -> None:
    torchserve.replies = [reply]
    refused = error_of(lambda: client.predict("m", b"photo"))
    assert (refused["code"], refused["type"]) == (reply.status_code, kind)
    assert fact in refused["message"]
    assert len(torchserve.asked) == 1


def test_a_refused_token_says_how_to_get_another(client: Client, torchserve: TorchServe) -> None:
    torchserve.replies = [REFUSED_TOKEN()] * 2
    assert "densenet token" in error_of(lambda: client.predict("m", b"photo"))["message"]
    assert len(torchserve.asked) == 2


def test_a_token_that_another_program_renewed_is_read_again(
    client: Client, endpoint: Endpoint, torchserve: TorchServe
) -> None:
    client.predict("m", b"photo")
    write_keys(endpoint.folder, "renewed")
    torchserve.replies = [REFUSED_TOKEN()]
    assert client.predict("m", b"photo") == {}
    assert torchserve.tokens == ["inf", "inf", "renewed"]


def test_a_token_given_by_hand_is_sent_once(make: Make, endpoint: Endpoint, torchserve: TorchServe) -> None:
    endpoint.key_file.unlink()
    torchserve.replies = [REFUSED_TOKEN()]
    error_of(lambda: make("given").predict("m", b"photo"))
    assert torchserve.tokens == ["given"]


def test_an_image_is_sent_again_after_what_passes_and_as_often_as_there_are_pauses(
    client: Client, torchserve: TorchServe
) -> None:
    passing: list[Reply] = [error(503), error(500), error(507), httpx.ReadError("reset"), error(429)]
    torchserve.replies = passing.copy()
    assert client.predict("m", b"photo") == {}
    assert [asked.content for asked in torchserve.asked] == [b"photo"] * 6
    torchserve.replies = [*passing, error(503, message="Still."), error(500)]
    assert error_of(lambda: client.predict("m", b"photo"))["message"] == "Still."


def test_a_management_call_is_sent_once(client: Client, torchserve: TorchServe) -> None:
    torchserve.replies = [error(500)]
    assert error_of(lambda: client.register("a.mar"))["code"] == 500
    assert len(torchserve.asked) == 1


@pytest.mark.parametrize(
    ("failure", "fact"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "densenet serve"),
        (httpx.ReadTimeout(""), "within 7 s"),  # the request may still wait in the queue
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), "certificate"),
    ],
)
def test_a_server_that_does_not_answer_is_asked_once(
    make: Make, torchserve: TorchServe, failure: Exception, fact: str
) -> None:
    torchserve.replies = [failure]
    with pytest.raises(CommandError) as caught:
        make(timeout=7).predict("m", b"")
    assert BASE in str(caught.value)
    assert fact in str(caught.value)
    assert len(torchserve.asked) == 1
