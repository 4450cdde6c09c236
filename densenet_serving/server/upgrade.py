"""Replace one version of a model with another while requests come in, and remember the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from densenet_serving import paths
from densenet_serving.build.archives import Archive
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.files import atomic_write
from densenet_serving.server.capacity import check_memory_for_more
from densenet_serving.server.drain import wait_until_idle

UPGRADES_FILE = "upgrades.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Upgrade:
    """The last upgrade of one model: file names in the model store, and whether it was a rollback."""

    serving: str
    replaced: str
    rolled_back: bool = False

    @classmethod
    def read_all(cls, run_dir: Path) -> dict[str, Self]:
        """Map each model that was upgraded with this run folder to its last upgrade. Raises CommandError."""
        path = run_dir / UPGRADES_FILE
        if not path.exists():
            return {}
        try:
            return {name: cls(**upgrade) for name, upgrade in json.loads(path.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CommandError(
                f"{path} cannot be read ({error}): delete it, and the next start serves every archive there is."
            ) from error

    def record(self, model: str, run_dir: Path) -> None:
        """Write this upgrade down: the file is the old one or the new one, never half of it."""
        upgrades = self.read_all(run_dir) | {model: self}
        with atomic_write(run_dir / UPGRADES_FILE) as partial:
            partial.write_text(json.dumps({name: asdict(one) for name, one in upgrades.items()}, indent=2) + "\n")


def without_replaced(archives: list[Path], run_dir: Path) -> list[Path]:
    """Leave out each archive that an upgrade replaced, provided that the one that replaced it is still there."""
    names = {path.name for path in archives}
    replaced = {upgrade.replaced for upgrade in Upgrade.read_all(run_dir).values() if upgrade.serving in names}
    return [path for path in archives if path.name not in replaced]


def upgrade(endpoint: Endpoint, file_name: str, timeout: float, say: Say, rolls_back: bool = False) -> bool:
    """Replace a model's default version with an archive of the model store.

    If anything fails, Ctrl-C included, the old version stays the default and the new one is unregistered. Returns
    whether the old one is gone: if it still has requests after `timeout` seconds, it stays registered beside the new
    default. Raises CommandError.
    """
    client = Client(endpoint)
    archive = Archive.read(endpoint.model_store / file_name)
    name, new = archive.name, archive.version
    replaced = default_of(client, name, new, file_name)
    old, workers = replaced["modelVersion"], replaced["minWorkers"]
    there = version_of(client, name, new)
    if there is None:
        check_memory_for_more(client, workers)
    elif there["modelUrl"] != file_name:
        raise CommandError(f"{name} {new} is registered already, from {there['modelUrl']}: unregister it first.")

    with undone_on_failure(client, name, new, old, timeout, say):
        say(f"Registering {name} {new} beside {old}.")
        if there is None:
            client.register(file_name)
            there = version_of(client, name, new)
        if there and there["minWorkers"] < workers:
            client.scale(name, workers, new)
        client.predict(name, paths.SAMPLE_PHOTO.read_bytes(), version=new)
        say(f"{name} {new} is ready and has classified {paths.SAMPLE_PHOTO.name}.")
        client.set_default(name, new)
        say(f"{name} {new} is the default. Waiting for the last requests of {name} {old}.")
        drained = wait_until_idle(client, [name], timeout, old)
        Upgrade(file_name, replaced["modelUrl"], rolls_back).record(name, endpoint.folder)
    if drained:
        client.unregister(name, old)
        say(f"{name} {old} has answered its last request and is gone.")
    return drained


def default_of(client: Client, name: str, new: str, file_name: str) -> dict[str, Any]:
    """Describe the version that answers if a request names none.

    Raises CommandError if there is no such model, or if the archive `file_name` of version `new` cannot replace it.
    """
    if not client.versions(name):
        raise CommandError(f"The server has no {name} to upgrade: load it with densenet models register.")
    old = client.describe(name, card=False)
    if old["modelVersion"] == new:
        raise CommandError(f"{name} {new} is the default already: build another with densenet archive --version.")
    if old["modelUrl"] == file_name:
        raise CommandError(
            f"{file_name} lies where {name} {old['modelVersion']} came from, and without that one "
            "there is no way back: give it a name of its own."
        )
    return old


def version_of(client: Client, name: str, version: str) -> dict[str, Any] | None:
    return next((one for one in client.versions(name) if one["modelVersion"] == version), None)


@contextmanager
def undone_on_failure(client: Client, name: str, new: str, old: str, timeout: float, say: Say) -> Iterator[None]:
    """If the block fails, make the old version the default, let the new one finish its requests, and unregister it."""
    try:
        yield
    except BaseException:
        try:
            client.set_default(name, old)
            if version_of(client, name, new):
                wait_until_idle(client, [name], timeout, new)
                client.unregister(name, new)
            say(f"{name} {old} is still the default.")
        except CommandError as error:  # do not hide the first error, which is raised below
            say(f"{name} could not be put back to {old}: {error}")
        raise


def rollback(endpoint: Endpoint, model: str | None, timeout: float, say: Say) -> bool:
    """Upgrade to the archive that the last upgrade replaced.

    Raises CommandError, for a second rollback too: it would bring back what the first was for.
    """
    upgrades = Upgrade.read_all(endpoint.folder)
    if model is None and len(upgrades) == 1:
        model = next(iter(upgrades))
    if model is None and upgrades:
        raise CommandError(f"{', '.join(upgrades)} were upgraded: name the one to roll back.")
    if model not in upgrades:
        raise CommandError(f"There is no upgrade{f' of {model}' if model else ''} to roll back.")
    last = upgrades[model]
    if last.rolled_back:
        raise CommandError(
            f"{model} was rolled back already, from {last.replaced} to {last.serving}. "
            f"To serve {last.replaced} again: densenet models upgrade {last.replaced}"
        )
    return upgrade(endpoint, last.replaced, timeout, say, rolls_back=True)
