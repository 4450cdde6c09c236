"""densenet_client.py, which people import, against servers that answer what a test tells them to."""

from __future__ import annotations

import ast
import base64
import dataclasses
import gzip
import inspect
import re
import ssl
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest

import densenet_client
from densenet_client import PAUSES, Answer, ClientError, Explanation, Prediction, Refused, Unreachable, pause_after
from densenet_serving import paths
from densenet_serving.client.served import Ask, find_server
from densenet_serving.errors import ApiError, CommandError
from handler import answers
from handler.parameters import EXPLANATION, PREDICTION
from tests import certificates
from tests.local_server import LocalServer, Reply, as_json, serve

CAT = {"class_id": "n1", "class_name": "tabby", "probability": 0.75}
FULL = {**CAT, "recognized": True}
OVERLAY = {"overlay": base64.b64encode(b"png").decode()}
REFUSAL = {"code": 415, "type": "UnsupportedMediaTypeException", "message": "This is not an image."}

Client = partial(densenet_client.Client, retry=partial(pause_after, pauses=(0.0,) * len(PAUSES)))


def test_it_needs_httpx_and_nothing_else_of_the_project() -> None:
    """So that a person can copy the file to another machine. certifi comes with httpx."""
    assert Path(densenet_client.__file__).parent == paths.ROOT
    tree = ast.parse(Path(densenet_client.__file__).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == {"httpx", "certifi"}


def test_its_answers_and_parameters_are_those_of_the_handler() -> None:
    def names(record: type) -> list[str]:
        return [field.name for field in dataclasses.fields(record)]

    assert names(Prediction) == names(answers.Prediction)
    assert names(Answer) == names(answers.Answer)
    assert set(names(Explanation)) < set(names(answers.Explanation))
    for method, known in ((densenet_client.Client.classify, PREDICTION), (densenet_client.Client.explain, EXPLANATION)):
        assert set(inspect.signature(method).parameters) - {"self", "photo"} <= set(known)


def test_the_gateway_classifies_a_photo(local: LocalServer, tmp_path: Path) -> None:
    local.on("POST /predict", as_json(FULL))
    (tmp_path / "cat.jpg").write_bytes(b"photo")
    for photo in (b"photo", tmp_path / "cat.jpg", str(tmp_path / "cat.jpg")):
        assert Client(f"{local.url}/").classify(photo) == Answer("n1", "tabby", 0.75, True)
    asked = local.asked[-1]
    assert asked.query == "top_k=1"  # without a parameter the gateway leaves out the probability
    assert b"photo" in asked.body
    assert "Authorization" not in asked.headers


def test_candidates_have_types(local: LocalServer) -> None:
    local.on("POST /predict", as_json({**FULL, "predictions": [CAT, {**CAT, "class_name": "lynx"}]}))
    answer = Client(local.url, key="secret").classify(b"photo", top_k=2, min_probability=0.5)
    assert answer.predictions == (Prediction("n1", "tabby", 0.75), Prediction("n1", "lynx", 0.75))
    assert local.asked[0].query == "top_k=2&min_probability=0.5"
    assert local.asked[0].headers["Authorization"] == "Bearer secret"


def test_torchserve_takes_a_token_and_a_model(local: LocalServer) -> None:
    unknown = {"class_id": None, "class_name": None, "probability": 0.1, "recognized": False}
    local.on("POST /predictions/flowers", as_json(unknown))
    answer = Client(local.url, token="secret", model="flowers").classify(b"photo", min_probability=0.5)
    assert answer == Answer(None, None, 0.1, False)
    asked = local.asked[0]
    assert (asked.body, asked.headers["Authorization"]) == (b"photo", "Bearer secret")
    assert (asked.headers["top-k"], asked.headers["min-probability"]) == ("1", "0.5")


@pytest.mark.parametrize(("token", "path"), [(None, "/explain"), ("secret", "/explanations/densenet121")])
def test_an_explanation_is_a_picture(local: LocalServer, token: str | None, path: str) -> None:
    local.on(f"POST {path}", as_json({**FULL, **OVERLAY}))
    explanation = Client(local.url, token=token).explain(b"photo", class_id="猫", overlay=0.5)
    assert explanation == Explanation("n1", "tabby", 0.75, b"png")


def test_a_field_that_a_newer_server_adds_is_left_out(local: LocalServer) -> None:
    new = {**FULL, "model": "densenet121", "predictions": [{**CAT, "rank": 1}]}
    local.on("POST /predict", as_json(new))
    local.on("POST /explain", as_json({**new, **OVERLAY}))
    assert Client(local.url).classify(b"photo") == Answer("n1", "tabby", 0.75, True, (Prediction("n1", "tabby", 0.75),))
    assert Client(local.url).explain(b"photo") == Explanation("n1", "tabby", 0.75, b"png")
    assert Client(local.url).ask("predictions", b"photo", {}) == new


def command_asks(local: LocalServer) -> Ask:
    ask, model = find_server(local.url, None, None, None, Path("no run folder"))
    assert model == "the model"
    return ask


@pytest.mark.parametrize(
    ("reply", "content"),
    [(as_json({"tabby": 0.7}), {"tabby": 0.7}), (as_json([FULL]), [FULL]), (Reply(200, b"tabby"), "tabby")],
)
def test_the_answer_of_another_projects_archive(local: LocalServer, reply: Reply, content: object) -> None:
    local.on("POST /predict", reply)
    local.on("POST /explain", reply)
    assert Client(local.url).ask("predictions", b"photo", {}) == content
    assert command_asks(local)("predictions", b"photo", {}) == content
    with pytest.raises(ClientError, match=r"class_id.*Client\.ask"):
        Client(local.url).classify(b"photo")
    with pytest.raises(ClientError, match="overlay"):
        Client(local.url).explain(b"photo")


@pytest.mark.parametrize(
    ("reply", "code", "fact"),
    [
        (as_json(REFUSAL, 415), 415, "This is not an image."),
        (Reply(413), 413, "413 Request Entity Too Large"),
        (Reply(200, b"<html>", headers={"Content-Type": "text/html"}), 200, "200 OK"),
        (Reply(301, location="https://photos.example"), 301, "https://photos.example"),
    ],
)
def test_a_refusal_says_why(local: LocalServer, reply: Reply, code: int, fact: str) -> None:
    local.on("POST /predict", reply)
    with pytest.raises(Refused, match=re.escape(fact)) as caught:
        Client(local.url).classify(b"photo")
    assert caught.value.code == code
    with pytest.raises(ApiError, match=re.escape(fact)) as raised:
        command_asks(local)("predictions", b"photo", {})
    assert raised.value.error["code"] == code


@pytest.mark.parametrize(
    ("reply", "fact"),
    [
        (Reply(body=gzip.compress(bytes(100)), headers={"Content-Encoding": "gzip"}), "compressed"),
        (Reply(body=bytes(16_000_001)), "16,000,000 bytes"),
    ],
)
def test_an_answer_that_would_fill_the_memory_is_not_read(local: LocalServer, reply: Reply, fact: str) -> None:
    local.on("POST /predict", reply)
    with pytest.raises(ClientError, match=fact):
        Client(local.url).classify(b"photo")
    assert local.asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("failure", [as_json({"message": "busy"}, 503), Reply(declared=10, body=b"lost")])
def test_a_busy_server_is_asked_again(local: LocalServer, failure: Reply) -> None:
    replies = iter([failure, as_json(FULL)])
    local.on("POST /predict", lambda _: next(replies))
    assert Client(local.url).classify(b"photo").recognized


@pytest.mark.parametrize(
    ("attempt", "outcome", "least"),
    [
        *((attempt, httpx.Response(503), float(pause)) for attempt, pause in enumerate([0, 1, 2, 4, 8])),
        (5, httpx.Response(503), None),
        (0, httpx.Response(429, headers={"Retry-After": "7"}), 7.0),
        (0, httpx.Response(503, headers={"Retry-After": "100000"}), 60.0),
        (0, httpx.Response(503, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 0.0),
        (1, httpx.ReadError("reset"), 1.0),
        *((0, httpx.Response(status), None) for status in (200, 400, 404, 413, 415, 502)),
        *((0, error(""), None) for error in (httpx.ConnectError, httpx.ReadTimeout, httpx.ConnectTimeout)),
    ],
)
def test_pauses_grow_and_end_and_differ_between_clients(
    attempt: int, outcome: densenet_client.Outcome, least: float | None
) -> None:
    pauses = {pause_after(attempt, outcome) for _ in range(10)}
    assert len(pauses) > 1 if least else pauses == {least}
    assert all(pause is None or (least is not None and least <= pause <= least + 1) for pause in pauses)


def test_a_server_that_does_not_answer(local: LocalServer, nobody: str) -> None:
    local.on("POST /predict", Reply(hangs=True))
    with pytest.raises(Unreachable, match=rf"{local.url} .*within 0 s"):
        Client(local.url, timeout=0.2).classify(b"photo")
    assert len(local.asked) == 1  # it may still be at work on the first
    with pytest.raises(Unreachable, match=nobody):
        Client(nobody).classify(b"photo")
    with pytest.raises(Unreachable, match=r"TLS.*https://.*http"):
        Client(local.url.replace("http", "https")).classify(b"photo")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_environment_names_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A certificate that its own file vouches for is trusted, one that none does is not."""
    pair = certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with serve(context) as local:
        local.on("POST /predict", as_json(FULL))
        with pytest.raises(Unreachable, match="SSL_CERT_FILE"):
            Client(local.url).classify(b"photo")
        monkeypatch.setenv(variable, str(pair.certificate))
        assert Client(local.url).classify(b"photo").recognized
    monkeypatch.setenv(variable, str(tmp_path / "none.pem"))
    with pytest.raises(Unreachable, match=r"none\.pem"):
        Client(local.url)


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    for url in ("photos", "https://", "http://photos:x", "http://["):
        with pytest.raises(ClientError, match=f"^{re.escape(url)} is not the address"):
            Client(url)
    with pytest.raises(ClientError, match="ASCII"):
        Client("http://photos", key="ключ")
    with pytest.raises(ClientError, match=r"key.*token"):
        Client("http://photos", key="one", token="other")
    with pytest.raises(CommandError, match=r"--model.*--token"):
        find_server("http://photos", None, None, "flowers", tmp_path)
    with pytest.raises(CommandError, match="photos"):
        find_server("photos", None, None, None, tmp_path)
    with pytest.raises(FileNotFoundError):
        Client("http://photos").classify(tmp_path / "none.jpg")
