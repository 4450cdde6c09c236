"""What TorchServe and its workers get of a person's environment."""

from __future__ import annotations

import locale
import os

# Variables that would change what TorchServe runs or reads. PYTHONPATH comes before the archive on the workers' path:
# with the repository on it they would run the repository's handler. TS_CONFIG_FILE wins over --ts-config: another
# server's settings, perhaps without tokens. The others make warnings errors, and letters that cannot be printed too.
FOREIGN = {"PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "TS_CONFIG_FILE"}
# In any other locale, and in one that is not installed, Java cannot name a file outside ASCII.
UTF8_LOCALES = ("C.UTF-8", "en_US.UTF-8")


def of_torchserve() -> dict[str, str]:
    """Return the caller's environment without what is foreign, in a locale of UTF-8 if this machine has one."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    name = utf8_locale()
    return kept | {"LC_ALL": name} if name else kept


def utf8_locale() -> str | None:
    before = locale.setlocale(locale.LC_ALL)
    try:
        return next((name for name in UTF8_LOCALES if _has(name)), None)
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _has(name: str) -> bool:
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    return True
