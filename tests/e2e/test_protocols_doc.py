"""docs/protocols.md: its commands and its program, run as they stand there."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from tritonclient.http import InferResult

from densenet_serving import paths
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from tests.documents import blocks
from tests.e2e.support import Inference, content_of

pytestmark = pytest.mark.usefixtures("same_workers")

PAGE = "docs/protocols.md"


def test_the_pages_commands(running: torchserve.Server, inference: Inference) -> None:
    own = content_of(inference(paths.SAMPLE_PHOTO.read_bytes(), path=f"/predictions/{STAND_IN}"))

    predict, infer = (
        json.loads(
            subprocess.check_output(
                ["bash", "-c", block.replace("http://127.0.0.1:8080", running.endpoint.inference)],
                cwd=paths.ROOT,
                env=os.environ | {"TOKEN": running.endpoint.token("inference")},
                timeout=60,
            )
        )
        for block in blocks(PAGE, "bash")
    )

    assert predict == {"predictions": [own]}
    assert f'"class_name":"{own["class_name"]}"' in (paths.ROOT / PAGE).read_text()
    assert [output["name"] for output in infer["outputs"]] == ["class_id", "class_name", "probability", "recognized"]
    assert infer["outputs"][2]["data"] == [own["probability"]]


def test_the_pages_program(running: torchserve.Server) -> None:
    [program] = blocks(PAGE, "python")
    given: dict[str, Any] = {"token": running.endpoint.token("inference")}
    address = running.endpoint.inference.removeprefix("http://")

    exec(program.replace("127.0.0.1:8080", address).replace("docs/coffee.jpg", str(paths.SAMPLE_PHOTO)), given)  # noqa: S102

    result = given["result"]
    assert isinstance(result, InferResult)
    assert result.as_numpy("class_name").shape == (1, 5)
