"""Log files cannot fill a disk. That they are cut in truth is seen in tests/e2e/test_lifecycle.py."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from densenet_serving import paths

CONFIGS = sorted(
    path for folder in ("densenet_serving/server", "ops") for path in (paths.ROOT / folder).glob("*log4j2*.xml")
)
MOST_BYTES = 1_000_000_000


def test_there_is_a_configuration() -> None:
    assert paths.LOG_CONFIG in CONFIGS


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_log_is_bounded(config: Path) -> None:
    """By size and number: a date in the pattern would begin a new count of files with every day."""
    root = ElementTree.parse(config).getroot()  # noqa: S314 - our own file
    appenders = list(root.iterfind("Appenders/*"))
    bytes_in_all = 0
    for appender in appenders:
        assert appender.tag == "RollingFile", "a console grows where nobody cuts it"
        assert "%i" in appender.attrib["filePattern"]
        assert "%d" not in appender.attrib["filePattern"]
        megabytes = re.fullmatch(r"(\d+) MB", appender.find("SizeBasedTriggeringPolicy").attrib["size"])  # type: ignore[union-attr]
        kept = int(appender.find("DefaultRolloverStrategy").attrib["max"])  # type: ignore[union-attr]
        assert megabytes
        bytes_in_all += int(megabytes[1]) * 1_000_000 * (kept + 1)
    assert appenders
    assert bytes_in_all <= MOST_BYTES


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_logger_writes_to_a_log_that_is_there(config: Path) -> None:
    root = ElementTree.parse(config).getroot()  # noqa: S314 - our own file
    written = {reference.attrib["ref"] for reference in root.iterfind("Loggers//AppenderRef")}
    assert written == {appender.attrib["name"] for appender in root.iterfind("Appenders/*")}
