from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.server import capacity, drain
from densenet_serving.server import upgrade as module
from densenet_serving.server.upgrade import UPGRADES_FILE, Upgrade, rollback, upgrade, without_replaced
from tests.densenet_serving.build.archive_files import write_archive

ONE, TWO = "m.mar", "m-2.0.mar"


class FakeServer:
    """The versions of one model, behind a client's methods; the one named in `breaks` fails."""

    def __init__(self) -> None:
        self.files = {"1.0": ONE}
        self.workers = {"1.0": 2}
        self.default = "1.0"
        self.queued = {"1.0": 0}
        self.done: list[str] = []
        self.breaks: dict[str, BaseException] = {}

    def _do(self, call: str) -> None:
        self.done.append(call)
        if error := self.breaks.pop(call, None):
            raise error

    def _described(self, version: str) -> dict[str, Any]:
        return {
            "modelName": "m",
            "modelVersion": version,
            "modelUrl": self.files[version],
            "minWorkers": self.workers[version],
            "workers": [],
            "jobQueueStatus": {"pendingRequests": self.queued.get(version, 0)},
        }

    def models(self) -> dict[str, str]:
        return {"m": ONE}

    def versions(self, model: str) -> list[dict[str, Any]]:
        return [self._described(version) for version in self.files] if model == "m" else []

    def describe(self, _model: str, card: bool) -> dict[str, Any]:
        assert not card  # a worker would have to answer, and the old version's may be what is wrong
        return self._described(self.default)

    def register(self, file_name: str) -> None:
        version = "1.0" if file_name == ONE else "2.0"
        self.files[version] = file_name
        self.workers[version] = 1
        self._do(f"register {version}")

    def scale(self, _model: str, workers: int, version: str) -> None:
        self._do(f"scale {version}")
        self.workers[version] = workers

    def predict(self, _model: str, image: bytes, version: str) -> dict[str, Any]:
        assert image.startswith(b"\xff\xd8")
        self._do(f"predict {version}")
        return {"class_name": None}

    def set_default(self, _model: str, version: str) -> None:
        self._do(f"default {version}")
        self.default = version

    def unregister(self, _model: str, version: str) -> None:
        assert version != self.default
        assert not self.queued.get(version)
        self._do(f"unregister {version}")
        del self.files[version]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setattr(module, "Client", lambda _: fake)
    monkeypatch.setattr(drain, "REST_SECONDS", 0)
    monkeypatch.setattr(drain, "POLL_SECONDS", 0.01)
    return fake


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    """A run folder whose model store holds both versions."""
    (tmp_path / "config.properties").write_text(f"model_store={tmp_path}\n")
    for name, version in ((ONE, "1.0"), (TWO, "2.0")):
        write_archive(tmp_path / name, version)
    return Endpoint("", "", "", tmp_path)


def test_the_steps(server: FakeServer, endpoint: Endpoint) -> None:
    said: list[str] = []
    assert upgrade(endpoint, TWO, 1, said.append) is True
    steps = ["register 2.0", "scale 2.0", "predict 2.0", "default 2.0", "unregister 1.0"]
    assert server.done == steps
    assert (server.default, server.files) == ("2.0", {"2.0": TWO})
    assert server.workers["2.0"] == 2  # as many as the old version had
    assert len(said) == 4
    assert Upgrade.read_all(endpoint.folder) == {"m": Upgrade(serving=TWO, replaced=ONE)}
    assert [path.name for path in endpoint.folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("step", ["register 2.0", "scale 2.0", "predict 2.0", "default 2.0"])
@pytest.mark.parametrize("error", [CommandError("Why."), KeyboardInterrupt()])
def test_whatever_fails_the_old_version_stays(
    server: FakeServer, endpoint: Endpoint, step: str, error: BaseException
) -> None:
    server.breaks[step] = error

    with pytest.raises(type(error)):
        upgrade(endpoint, TWO, 1, lambda _: None)

    assert (server.default, server.files) == ("1.0", {"1.0": ONE})
    assert not (endpoint.folder / UPGRADES_FILE).exists()


def test_a_failure_while_the_old_version_drains(
    server: FakeServer, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_client: FakeServer, _models: list[str], _seconds: float, version: str) -> bool:
        if version == "1.0":
            raise CommandError("Why.")
        return True

    monkeypatch.setattr(module, "wait_until_idle", fail)
    with pytest.raises(CommandError, match="Why"):
        upgrade(endpoint, TWO, 1, lambda _: None)
    assert (server.default, server.files) == ("1.0", {"1.0": ONE})


def test_what_went_wrong_first_is_what_is_raised(server: FakeServer, endpoint: Endpoint) -> None:
    server.breaks["predict 2.0"] = ApiError("No engine.", {"code": 500})
    server.breaks["default 1.0"] = CommandError("No server.")
    said: list[str] = []
    with pytest.raises(ApiError, match="No engine"):
        upgrade(endpoint, TWO, 1, said.append)
    assert said[-1] == "m could not be put back to 1.0: No server."


def test_a_version_that_still_has_requests_is_not_taken_away(server: FakeServer, endpoint: Endpoint) -> None:
    server.queued["1.0"] = 3

    assert upgrade(endpoint, TWO, 0.05, lambda _: None) is False

    assert (server.default, set(server.files)) == ("2.0", {"1.0", "2.0"})
    assert Upgrade.read_all(endpoint.folder)["m"].replaced == ONE
    server.done.clear()
    rollback(endpoint, None, 1, lambda _: None)  # it need not be registered again
    assert server.done == ["predict 1.0", "default 1.0", "unregister 2.0"]


def test_back_and_forth(server: FakeServer, endpoint: Endpoint) -> None:
    upgrade(endpoint, TWO, 1, lambda _: None)

    assert rollback(endpoint, None, 1, lambda _: None) is True
    assert (server.default, server.files) == ("1.0", {"1.0": ONE})
    with pytest.raises(CommandError, match=f"{TWO} .*{ONE}.*densenet models upgrade {TWO}"):
        rollback(endpoint, "m", 1, lambda _: None)
    assert (server.default, server.files) == ("1.0", {"1.0": ONE})
    assert upgrade(endpoint, TWO, 1, lambda _: None) is True
    assert rollback(endpoint, "m", 1, lambda _: None) is True
    assert server.default == "1.0"


def test_an_upgrade_that_the_memory_has_no_room_for_registers_nothing(
    server: FakeServer, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "memory", lambda: 1_000_000_000)
    with pytest.raises(CommandError, match=r"4 workers .*1820 MB"):
        upgrade(endpoint, TWO, 1, lambda _: None)
    assert server.done == []


def test_an_archive_that_is_gone_is_no_way_back(server: FakeServer, endpoint: Endpoint) -> None:
    upgrade(endpoint, TWO, 1, lambda _: None)
    (endpoint.folder / ONE).unlink()
    with pytest.raises(CommandError, match=r"m\.mar"):
        rollback(endpoint, None, 1, lambda _: None)
    assert (server.default, server.files) == ("2.0", {"2.0": TWO})


@pytest.mark.parametrize(
    ("upgraded", "model", "named"),
    [([], None, "no upgrade"), ([], "m", "of m"), (["a", "b"], None, "a, b"), (["a"], "m", "of m")],
)
def test_no_way_back(
    server: FakeServer, endpoint: Endpoint, upgraded: list[str], model: str | None, named: str
) -> None:
    for name in upgraded:
        Upgrade("new.mar", "old.mar").record(name, endpoint.folder)
    with pytest.raises(CommandError, match=named):
        rollback(endpoint, model, 1, lambda _: None)
    assert server.done == []


@pytest.mark.parametrize(
    ("files", "asked", "named"),
    [
        ({"1.0": ONE}, ONE, r"m 1\.0 .*--version"),
        ({"0.9": TWO}, TWO, f"{TWO} .*m 0.9"),
        ({}, TWO, "densenet models register"),
        ({"1.0": ONE, "2.0": "other.mar"}, TWO, r"m 2\.0 .*other\.mar"),
    ],
)
def test_an_archive_that_cannot_replace_the_default(
    server: FakeServer, endpoint: Endpoint, files: dict[str, str], asked: str, named: str
) -> None:
    server.files = files
    server.workers = dict.fromkeys(files, 1)
    server.default = min(files, default="")
    with pytest.raises(CommandError, match=named):
        upgrade(endpoint, asked, 1, lambda _: None)
    assert (server.done, server.files) == ([], files)


@pytest.mark.parametrize(
    ("there", "loaded"),
    [([ONE, TWO, "n.mar"], [TWO, "n.mar"]), ([ONE, "n.mar"], [ONE, "n.mar"]), ([ONE], [ONE]), ([TWO], [TWO])],
)
def test_a_restart_leaves_out_what_was_replaced(tmp_path: Path, there: list[str], loaded: list[str]) -> None:
    archives = [tmp_path / name for name in there]
    assert without_replaced(archives, tmp_path) == archives
    Upgrade(serving=TWO, replaced=ONE).record("m", tmp_path)
    assert [path.name for path in without_replaced(archives, tmp_path)] == loaded


@pytest.mark.parametrize("text", ["", '{"m": {"serving": 1}}', "[1]"])
def test_a_damaged_record(tmp_path: Path, text: str) -> None:
    (tmp_path / UPGRADES_FILE).write_text(text)
    with pytest.raises(CommandError, match=r"upgrades\.json"):
        Upgrade.read_all(tmp_path)
