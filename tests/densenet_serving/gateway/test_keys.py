from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway.keys import ApiKeys


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    return ApiKeys(tmp_path / "run")


def test_without_a_file_nothing_is_enforced(keys: ApiKeys) -> None:
    assert not keys.enforced
    assert keys.entries() == {}


def test_a_key_is_known_by_its_name(keys: ApiKeys) -> None:
    first, second = keys.add("phone"), keys.add("laptop")

    assert keys.enforced
    assert first != second
    assert (keys.name_of(first), keys.name_of(second)) == ("phone", "laptop")
    assert [keys.name_of(key) for key in ("", first[:-1], first + "x", first.upper(), "schlüssel \udc80")] == [None] * 5


def test_only_a_digest_is_stored(keys: ApiKeys) -> None:
    key = keys.add("phone")
    text = keys.path.read_text()

    assert key.startswith("densenet_")
    assert len(key) >= len("densenet_") + 43  # 256 bits in base64
    assert key not in text
    assert json.loads(text)["phone"]["sha256"] == hashlib.sha256(key.encode()).hexdigest()


def test_the_file_is_its_owners_alone(keys: ApiKeys) -> None:
    for name in ("phone", "laptop"):
        keys.add(name)
        assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert [path.name for path in keys.path.parent.iterdir()] == ["api_keys.json"]


def test_a_running_gateway_follows_the_file(keys: ApiKeys) -> None:
    gateway = ApiKeys(keys.path.parent)
    phone = keys.add("phone")
    assert gateway.name_of(phone) == "phone"

    laptop = keys.add("laptop")
    assert gateway.name_of(laptop) == "laptop"

    keys.revoke("phone")
    assert gateway.name_of(phone) is None


def test_after_the_last_key_nobody_gets_in(keys: ApiKeys) -> None:
    key = keys.add("phone")
    keys.revoke("phone")

    assert keys.enforced
    assert keys.name_of(key) is None


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "two\nlines"])
def test_a_name_that_is_none(keys: ApiKeys, name: str) -> None:
    with pytest.raises(ServingError, match="1 to 64 printable characters"):
        keys.add(name)
    assert not keys.enforced


def test_a_name_twice(keys: ApiKeys) -> None:
    key = keys.add("phone")
    with pytest.raises(ServingError, match="There is a key named phone: revoke it first"):
        keys.add("phone")
    assert keys.name_of(key) == "phone"


def test_a_name_that_is_not_there(keys: ApiKeys) -> None:
    with pytest.raises(ServingError, match="There is no key named phone: densenet keys list"):
        keys.revoke("phone")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phone": 1}', '{"phone": {"created": "x"}}'])
def test_a_damaged_file_lets_nobody_in(keys: ApiKeys, text: str) -> None:
    key = keys.add("phone")
    keys.path.write_text(text)
    fresh = ApiKeys(keys.path.parent)

    with pytest.raises(ServingError, match=r"api_keys.json is damaged, and nobody gets in: put a copy back") as caught:
        fresh.name_of(key)
    assert "delete" not in str(caught.value)  # that would open the gateway


def test_keys_added_and_revoked_at_the_same_time_are_all_heeded(keys: ApiKeys) -> None:
    for i in range(30):
        keys.add(f"old {i}")

    def change(i: int) -> None:
        ApiKeys(keys.path.parent).revoke(f"old {i}")
        ApiKeys(keys.path.parent).add(f"new {i}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(30)))

    assert set(keys.entries()) == {f"new {i}" for i in range(30)}


def test_what_a_killed_process_left_is_no_obstacle(keys: ApiKeys) -> None:
    keys.add("phone")
    keys.path.with_suffix(".new").write_text("{")

    keys.add("laptop")
    assert set(keys.entries()) == {"phone", "laptop"}


@pytest.fixture
def mounted(keys: ApiKeys, tmp_path: Path) -> tuple[ApiKeys, str]:
    """Keys as Kubernetes mounts a Secret, and one that is valid: links lead to a folder that is replaced as a whole."""
    key = keys.add("phone")
    volume = tmp_path / "volume"
    mount(volume, "first", keys.path.read_text())
    (volume / "keys.json").symlink_to(Path("..data", "keys.json"))
    return ApiKeys(tmp_path / "other", volume / "keys.json"), key


def mount(volume: Path, name: str, text: str, mode: int = 0o440) -> None:
    folder = volume / name
    folder.mkdir(parents=True)
    (folder / "keys.json").write_text(text)
    (folder / "keys.json").chmod(mode)
    (volume / "..new").symlink_to(name)
    (volume / "..new").rename(volume / "..data")


def test_a_mounted_file_of_keys(mounted: tuple[ApiKeys, str]) -> None:
    gateway, key = mounted
    assert gateway.enforced
    assert gateway.name_of(key) == "phone"


def test_a_mounted_file_that_is_replaced_is_read_again(mounted: tuple[ApiKeys, str], tmp_path: Path) -> None:
    gateway, key = mounted
    assert gateway.name_of(key) == "phone"
    mount(tmp_path / "volume", "second", "{}")
    assert gateway.name_of(key) is None
    assert gateway.enforced


def test_a_mounted_file_that_is_gone_lets_nobody_in(mounted: tuple[ApiKeys, str], tmp_path: Path) -> None:
    gateway, _ = mounted
    (tmp_path / "volume" / "..data").unlink()
    assert gateway.enforced
    with pytest.raises(ServingError, match=r"There is no file .*keys.json: densenet keys export prints one"):
        gateway.entries()


def test_a_folder_is_no_file_of_keys(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=f"There is no file {tmp_path}: densenet keys export prints one"):
        ApiKeys(tmp_path / "other", tmp_path).entries()


@pytest.mark.parametrize(("mode", "refused"), [(0o440, False), (0o660, False), (0o444, True), (0o442, True)])
def test_a_mounted_file_that_everybody_opens_is_refused(
    mounted: tuple[ApiKeys, str], tmp_path: Path, mode: int, refused: bool
) -> None:
    gateway, _ = mounted
    mount(tmp_path / "volume", "second", "{}", mode)
    if refused:
        with pytest.raises(ServingError, match=r"Every user of this machine can open .*: run chmod o= "):
            gateway.entries()
    else:
        assert gateway.entries() == {}


@pytest.mark.parametrize("text", ["", "[]", "\xff"])
def test_a_mounted_file_that_is_damaged(mounted: tuple[ApiKeys, str], tmp_path: Path, text: str) -> None:
    gateway, _ = mounted
    mount(tmp_path / "volume", "second", text)
    with pytest.raises(ServingError, match=r"keys.json is damaged, and nobody gets in"):
        gateway.entries()


def open_to_everybody(file: Path) -> None:
    file.chmod(0o666)


def emptied(file: Path) -> None:
    found = file.stat()
    file.chmod(0o600)
    file.write_text("{}")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize("change", [open_to_everybody, emptied])
def test_a_change_of_a_file_that_keeps_its_time_is_noticed(
    mounted: tuple[ApiKeys, str], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    gateway, key = mounted
    assert gateway.name_of(key) == "phone"
    change(tmp_path / "volume" / "keys.json")
    if change is emptied:
        assert gateway.name_of(key) is None
        return
    for _ in range(2):
        with pytest.raises(ServingError, match="Every user of this machine can open"):
            gateway.name_of(key)
