"""Log files cannot fill a disk. That they are cut in truth is seen in tests/lifecycle/test_by_hand.py."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from densenet_serving import paths

MOST_BYTES = 1_000_000_000


@pytest.mark.parametrize("config", [paths.LOG_CONFIG, *Path(paths.ROOT, "ops").glob("*log4j2*.xml")], ids=str)
def test_every_log_is_bounded(config: Path) -> None:
    """By size and number: a date in the pattern would begin a new count of files with every day.

    None is a console, which grows where nobody cuts it.
    """
    root = ElementTree.parse(config).getroot()  # noqa: S314 - our own file
    appenders = list(root.iterfind("Appenders/*"))
    bytes_in_all = 0
    for appender in appenders:
        assert appender.tag == "RollingFile"
        assert ("%i" in appender.attrib["filePattern"], "%d" in appender.attrib["filePattern"]) == (True, False)
        size, kept = (appender.find(name) for name in ("SizeBasedTriggeringPolicy", "DefaultRolloverStrategy"))
        assert size is not None
        assert kept is not None
        bytes_in_all += int(size.attrib["size"].removesuffix(" MB")) * 1_000_000 * (int(kept.attrib["max"]) + 1)
    assert 0 < bytes_in_all <= MOST_BYTES
    written = {reference.attrib["ref"] for reference in root.iterfind("Loggers//AppenderRef")}
    assert written == {appender.attrib["name"] for appender in appenders}
