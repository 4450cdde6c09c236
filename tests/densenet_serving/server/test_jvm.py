from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.errors import CommandError
from densenet_serving.server import jvm


def test_the_arguments_of_the_settings_but_one_log_configuration() -> None:
    values = {
        "vmargs": "-Dlog4j.configurationFile=densenet_serving/server/log4j2.xml -Xmx1m",
        "model_store": "/a store",
    }
    words = jvm.command_line(Path("/bin/java"), Path("/run/config.properties"), Path("/run/unpacked"), values)
    assert words[0] == Path("/bin/java")
    assert "-Xmx1m" in words
    assert [word for word in words if "log4j" in str(word)] == [
        f"-Dlog4j.configurationFile={paths.LOG_CONFIG.as_uri()}"
    ]
    assert words[-3:] == ["-s", "/a store", "-ncs"]
    assert (jvm.installed_in() / "ts" / "frontend" / "model-server.jar").is_file()


def test_torchserve_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jvm, "find_spec", lambda _: None)
    with pytest.raises(CommandError, match="TorchServe is not installed here"):
        jvm.installed_in()
