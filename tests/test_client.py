"""densenet_client.py, which people import, against servers that answer what a test tells them to."""

from __future__ import annotations

import ast
import base64
import dataclasses
import gzip
import inspect
import re
import sys
import tracemalloc
from pathlib import Path

import pytest

import densenet_client
from densenet_client import Answer, Client, ClientError, Explanation, Prediction, Refused, Unreachable
from densenet_serving import paths
from densenet_serving.client.remote import RemoteClient
from densenet_serving.errors import ApiError, CommandError
from handler import answers
from handler.parameters import EXPLANATION, PREDICTION
from tests.local_server import LocalServer, Reply, as_json

CAT = {"class_id": "n1", "class_name": "tabby", "probability": 0.75}
FULL = {**CAT, "recognized": True}
REFUSAL = {"code": 415, "type": "UnsupportedMediaTypeException", "message": "This is not an image."}


def test_it_needs_requests_and_nothing_else_of_the_project() -> None:
    """So that a person can copy the file to another machine. urllib3 comes with requests."""
    tree = ast.parse(Path(densenet_client.__file__).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == {"requests", "urllib3"}


def test_its_answers_and_parameters_are_those_of_the_handler() -> None:
    def names(record: type) -> list[str]:
        return [field.name for field in dataclasses.fields(record)]

    assert names(Prediction) == names(answers.Prediction)
    assert names(Answer) == names(answers.Answer)
    assert set(names(Explanation)) < set(names(answers.Explanation))
    for method, known in ((Client.classify, PREDICTION), (Client.explain, EXPLANATION)):
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
    local.on(
        "POST /predictions/flowers",
        as_json({"class_id": None, "class_name": None, "probability": 0.1, "recognized": False}),
    )
    answer = Client(local.url, token="secret", model="flowers").classify(b"photo", min_probability=0.5)
    assert answer == Answer(None, None, 0.1, False)
    asked = local.asked[0]
    assert (asked.body, asked.headers["Authorization"]) == (b"photo", "Bearer secret")
    assert (asked.headers["top-k"], asked.headers["min-probability"]) == ("1", "0.5")


@pytest.mark.parametrize(("token", "path"), [(None, "/explain"), ("secret", "/explanations/densenet121")])
def test_an_explanation_is_a_picture(local: LocalServer, token: str | None, path: str) -> None:
    local.on(f"POST {path}", as_json({**FULL, "overlay": base64.b64encode(b"png").decode()}))
    explanation = Client(local.url, token=token).explain(b"photo", overlay=0.5)
    assert explanation == Explanation("n1", "tabby", 0.75, b"png")


def test_a_field_that_a_newer_server_adds_is_left_out(local: LocalServer) -> None:
    new = {**FULL, "model": "densenet121", "predictions": [{**CAT, "rank": 1}]}
    local.on("POST /predict", as_json(new))
    local.on("POST /explain", as_json({**new, "overlay": base64.b64encode(b"png").decode()}))
    assert Client(local.url).classify(b"photo") == Answer("n1", "tabby", 0.75, True, (Prediction("n1", "tabby", 0.75),))
    assert Client(local.url).explain(b"photo") == Explanation("n1", "tabby", 0.75, b"png")
    assert Client(local.url).ask("predictions", b"photo", {}) == new


@pytest.mark.parametrize(
    ("reply", "content"),
    [(as_json({"tabby": 0.7}), {"tabby": 0.7}), (as_json([FULL]), [FULL]), (Reply(200, b"tabby"), "tabby")],
)
def test_the_answer_of_another_projects_archive(local: LocalServer, reply: Reply, content: object) -> None:
    local.on("POST /predict", reply)
    assert Client(local.url).ask("predictions", b"photo", {}) == content
    assert RemoteClient(local.url, None, None, None).predict("the model", b"photo", {}) == content
    with pytest.raises(ClientError, match=r"The answer has no class_id: if .* Client\.ask returns what it answers"):
        Client(local.url).classify(b"photo")


def test_a_port_without_tls(local: LocalServer) -> None:
    with pytest.raises(
        Unreachable, match=r"No TLS connection to https://.* \(.*\): check whether the address is one of"
    ):
        Client(local.url.replace("http", "https")).classify(b"photo")


def test_an_archive_that_cannot_explain(local: LocalServer) -> None:
    local.on("POST /explain", as_json(FULL))
    with pytest.raises(ClientError, match="has no overlay: archives of other projects, and early"):
        Client(local.url).explain(b"photo")


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (as_json(REFUSAL, 415), 415, "This is not an image."),
        (Reply(413), 413, "answered 413 Request Entity Too Large and no more"),
        (Reply(200, b"<html>", headers={"Content-Type": "text/html"}), 200, "is it the gateway or TorchServe?"),
        (Reply(301, location="https://photos.example"), 301, "is redirected to https://photos.example: give that"),
    ],
)
def test_a_refusal_says_why(local: LocalServer, reply: Reply, code: int, words: str) -> None:
    local.on("POST /predict", reply)
    with pytest.raises(Refused, match=re.escape(words)) as caught:
        Client(local.url).classify(b"photo")
    assert caught.value.code == code
    with pytest.raises(ApiError, match=re.escape(words)) as raised:
        RemoteClient(local.url, None, None, None).predict("the model", b"photo", {})
    assert raised.value.error["code"] == code


def test_an_answer_without_end_is_not_read(local: LocalServer) -> None:
    bomb = gzip.compress(b"[" + bytes(100_000_000))
    local.on("POST /predict", Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    with pytest.raises(ClientError, match="answers with more than 16,000,000 bytes"):
        Client(local.url).classify(b"photo")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80_000_000


def test_a_busy_server_is_asked_again(local: LocalServer) -> None:
    replies = iter([as_json({"message": "busy"}, 503), as_json(FULL)])
    local.on("POST /predict", lambda _: next(replies))
    assert Client(local.url).classify(b"photo").recognized


def test_a_server_that_does_not_answer(local: LocalServer, nobody: str) -> None:
    local.on("POST /predict", Reply(hangs=True))
    with pytest.raises(Unreachable, match="did not answer within 0 s: try again later"):
        Client(local.url, timeout=0.2).classify(b"photo")
    assert len(local.asked) == 1  # it may still be at work on the first
    with pytest.raises(Unreachable, match=r"No server answers at .*: check the address"):
        Client(nobody).classify(b"photo")


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="photos is not the address of a server"):
        Client("photos")
    with pytest.raises(ClientError, match="A key is for the gateway and a token for TorchServe"):
        Client("http://photos", key="one", token="other")
    with pytest.raises(CommandError, match="The gateway chooses the model itself"):
        RemoteClient("http://photos", None, None, "flowers")
    with pytest.raises(CommandError, match="photos is not the address"):
        RemoteClient("photos", None, None, None)
    with pytest.raises(FileNotFoundError):
        Client("http://photos").classify(tmp_path / "none.jpg")


def test_the_file_is_beside_the_packages() -> None:
    assert Path(densenet_client.__file__).parent == paths.ROOT
