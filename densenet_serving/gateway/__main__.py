"""`python -m densenet_serving.gateway SETTINGS`: the process of the gateway, which densenet web starts."""

from __future__ import annotations

import gc
import json
import logging
import signal
import sys
import threading
from datetime import datetime
from typing import Any

import uvicorn
from fastapi import FastAPI

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.protocol import limited_protocol
from densenet_serving.gateway.settings import END_SOON, LOG_FILE, GatewaySettings
from densenet_serving.gateway.upstream import Upstream

KEEP_ALIVE_SECONDS = 30
LOG_BYTES = 10_000_000


def main() -> None:
    settings = GatewaySettings.from_json(sys.argv[1])
    ending = threading.Event()
    signal.signal(END_SOON, lambda *_: ending.set())
    app = application(settings, ending)
    gc.freeze()  # looking through all that was imported takes the collector 0.1 s, in which nobody is answered
    uvicorn.run(app, **options(settings))


def options(settings: GatewaySettings) -> dict[str, Any]:
    """Return uvicorn's options."""
    return {
        "host": settings.host,
        "port": settings.port,
        "loop": "uvloop",
        "http": limited_protocol(settings),
        "ws": "none",
        "access_log": False,  # TorchServe keeps one
        "log_config": log_config(settings),
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": None,  # who ends it decides how long that may take
        "server_header": False,
        "proxy_headers": bool(settings.proxies),
        "forwarded_allow_ips": list(settings.proxies),  # and never those of an environment variable
    }


def application(settings: GatewaySettings, ending: threading.Event) -> FastAPI:
    upstream = Upstream(
        Endpoint.find(settings.run_dir), settings.model, settings.max_in_flight, settings.decode_seconds / 60
    )
    return create_app(upstream, settings, ending)


def log_config(settings: GatewaySettings) -> dict[str, Any]:
    """Configure logging: warnings and errors, in files of bounded size or on stderr."""
    files = {
        "class": "logging.handlers.RotatingFileHandler",
        "filename": str(settings.run_dir / LOG_FILE),
        "maxBytes": LOG_BYTES,
        "backupCount": 1,
        "formatter": "line",
    }
    stderr = {"class": "logging.StreamHandler", "formatter": "line"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": JsonLines}
            if settings.json_logs
            else {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
        },
        "handlers": {"log": stderr if settings.foreground else files},
        "root": {"handlers": ["log"], "level": "WARNING"},
    }


class JsonLines(logging.Formatter):
    """Lines with the names that TorchServe's have (densenet_serving/server/log4j2.xml)."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
                "level": record.levelname,
                "logger": record.name,
                "message": record.getMessage(),
                "exception": self.formatException(record.exc_info) if record.exc_info else "",
            }
        )


if __name__ == "__main__":
    main()
