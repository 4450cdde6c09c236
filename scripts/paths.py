"""The paths of the repository's files and folders."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HANDLER = ROOT / "handler"
LABELS = ROOT / "index_to_name.json"
WEIGHTS = ROOT / "weights"
MODEL_STORE = ROOT / "model_store"
SERVER_CONFIG = ROOT / "config.properties"
LOG_CONFIG = ROOT / "scripts" / "log4j2.xml"
METRICS_CONFIG = ROOT / "scripts" / "metrics.yaml"
RUN_DIR = ROOT / ".torchserve"  # logs, tokens and state of the server that `densenet serve` started
SAMPLE_PHOTO = ROOT / "docs" / "coffee.jpg"


def handler_files() -> list[Path]:
    """Return the handler's modules and its settings."""
    return sorted(path for path in HANDLER.rglob("*") if path.suffix in (".py", ".yaml"))
