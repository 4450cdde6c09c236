from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
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


def test_a_running_gateway_follows_the_file(keys: ApiKeys) -> None:
    """After the last key nobody gets in."""
    gateway = ApiKeys(keys.path.parent)
    phone, laptop = keys.add("phone"), keys.add("laptop")
    others = ("", phone[:-1], phone + "x", phone.upper(), "schlüssel \udc80")
    assert [gateway.name_of(key) for key in (phone, laptop, *others)] == ["phone", "laptop", *[None] * len(others)]
    keys.revoke("phone")
    assert [gateway.name_of(key) for key in (phone, laptop)] == [None, "laptop"]
    keys.revoke("laptop")
    assert gateway.name_of(laptop) is None
    assert gateway.enforced


def test_only_a_digest_is_stored_and_for_its_owner_alone(keys: ApiKeys) -> None:
    key = keys.add("phone")
    keys.add("laptop")
    text = keys.path.read_text()

    assert key.startswith("densenet_")
    assert len(key) >= len("densenet_") + 43  # 256 bits in base64
    assert key not in text
    assert json.loads(text)["phone"]["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert [path.name for path in keys.path.parent.iterdir()] == ["api_keys.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *((lambda keys, name=name: keys.add(name), "1 to 64 printable") for name in ("", " ", "x" * 65, "two\nlines")),
        (lambda keys: keys.add("phone"), "phone"),
        (lambda keys: keys.revoke("tablet"), "tablet"),
    ],
)
def test_a_name_that_cannot_be_added_or_revoked_changes_nothing(
    keys: ApiKeys, change: Callable[[ApiKeys], object], said: str
) -> None:
    key = keys.add("phone")
    with pytest.raises(ServingError, match=said):
        change(keys)
    assert keys.name_of(key) == "phone"
    assert list(keys.entries()) == ["phone"]


def test_keys_added_and_revoked_at_the_same_time_are_all_heeded(keys: ApiKeys) -> None:
    for i in range(30):
        keys.add(f"old {i}")

    def change(i: int) -> None:
        ApiKeys(keys.path.parent).revoke(f"old {i}")
        ApiKeys(keys.path.parent).add(f"new {i}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(30)))

    assert set(keys.entries()) == {f"new {i}" for i in range(30)}


@pytest.fixture
def mounted(keys: ApiKeys, tmp_path: Path) -> tuple[ApiKeys, str]:
    """Keys as Kubernetes mounts a Secret, and one that is valid: links lead to a folder that is replaced as a whole."""
    key = keys.add("phone")
    volume = tmp_path / "volume"
    mount(volume, "first", keys.path.read_text())
    (volume / "keys.json").symlink_to(Path("..data", "keys.json"))
    return ApiKeys(tmp_path / "other", volume / "keys.json"), key


def mount(volume: Path, name: str, text: str) -> None:
    folder = volume / name
    folder.mkdir(parents=True)
    (folder / "keys.json").write_text(text)
    (folder / "keys.json").chmod(0o440)
    (volume / "..new").symlink_to(name)
    (volume / "..new").rename(volume / "..data")


def test_a_mounted_file_is_read_again_when_it_is_replaced(mounted: tuple[ApiKeys, str], tmp_path: Path) -> None:
    gateway, key = mounted
    assert gateway.name_of(key) == "phone"
    mount(tmp_path / "volume", "second", "{}")
    assert gateway.name_of(key) is None
    assert gateway.enforced


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"phone": 1}', '{"phone": {"created": "x"}}'])
@pytest.mark.parametrize("is_mounted", [False, True])
def test_a_damaged_file_lets_nobody_in(
    mounted: tuple[ApiKeys, str], keys: ApiKeys, tmp_path: Path, text: str, is_mounted: bool
) -> None:
    gateway, key = mounted
    mount(tmp_path / "volume", "second", text)
    keys.path.write_text(text)

    with pytest.raises(ServingError, match="damaged") as caught:
        (gateway if is_mounted else ApiKeys(keys.path.parent)).name_of(key)
    assert "delete" not in str(caught.value)  # that would open the gateway


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_mounted_file_that_is_not_there_lets_nobody_in(
    mounted: tuple[ApiKeys, str], tmp_path: Path, is_folder: bool
) -> None:
    gateway, _ = mounted
    if is_folder:
        gateway = ApiKeys(tmp_path / "other", tmp_path)
    else:
        (tmp_path / "volume" / "..data").unlink()
    assert gateway.enforced
    with pytest.raises(ServingError, match=str(gateway.path)):
        gateway.entries()


@pytest.mark.parametrize(("mode", "refused"), [(0o440, False), (0o660, False), (0o444, True), (0o442, True)])
def test_a_mounted_file_that_everybody_opens_is_refused(
    mounted: tuple[ApiKeys, str], tmp_path: Path, mode: int, refused: bool
) -> None:
    """Also when its mode changes while the gateway runs."""
    gateway, key = mounted
    assert gateway.name_of(key) == "phone"
    (tmp_path / "volume" / "keys.json").chmod(mode)
    for _ in range(2):
        with pytest.raises(ServingError, match=f"chmod o= {gateway.path}") if refused else nullcontext():
            assert gateway.name_of(key) == "phone"


def test_a_change_that_keeps_the_files_time_is_noticed(mounted: tuple[ApiKeys, str], tmp_path: Path) -> None:
    gateway, key = mounted
    assert gateway.name_of(key) == "phone"
    file = tmp_path / "volume" / "keys.json"
    found = file.stat()
    file.chmod(0o600)
    file.write_text("{}")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert gateway.name_of(key) is None
