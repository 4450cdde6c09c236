"""The page's own logic; what it looks like and how it is used, tests/browser tries in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests import pictures
from tests.web.fake_upstream import FakeUpstream, application
from web import page, wording


@pytest.mark.parametrize("route", ["run/predict", "queue/join"])
def test_no_file_of_this_machine_can_be_asked_for(tmp_path: Path, route: str) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(pictures.encode(pictures.noise()))
    upstream = FakeUpstream()
    with TestClient(application(upstream), raise_server_exceptions=False) as client:
        events = client.get("/config").json()["dependencies"]
        classify = next(event["id"] for event in events if [target[1] for target in event["targets"]] == ["change"])
        file = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
        body = {"fn_index": classify, "session_hash": "session", "data": [file]}

        answer = client.post(f"/gradio_api/{route}", json=body)
        if route == "queue/join":
            answer = client.get("/gradio_api/queue/data", params={"session_hash": "session"})

    assert '"Egyptian cat' not in answer.text
    assert "was not uploaded by a user" in answer.text
    assert upstream.explained == []


def test_every_example_has_a_name_and_is_small() -> None:
    script = (page.FOLDER / "page.js").read_text()
    names = script.split("EXAMPLES = [")[1].split("]")[0].split(",")

    assert len(names) == len(page.EXAMPLES)
    assert all(path.stat().st_size < 80_000 for path in page.EXAMPLES)
    assert wording.NOT_SURE not in names
