"""A local HTTP server that answers what a test tells it to."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """`declared` is a Content-Length other than the body's; `hangs` keeps the client waiting for the body.

    `location` is where a redirect leads. An `endless` body ends with the connection and has no declared length.
    """

    status: int = 200
    body: bytes = b""
    declared: int | None = None
    hangs: bool = False
    location: str = ""
    endless: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(content: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(content).encode())


@dataclass
class LocalServer:
    url: str
    replies: dict[str, Reply | Callable[[Asked], Reply]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, method_and_path: str, reply: Reply | Callable[[Asked], Reply]) -> None:
        self.replies[method_and_path] = reply

    def reply_to(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        reply = self.replies.get(f"{asked.method} {asked.path}", as_json({"message": "Not found."}, 404))
        return reply(asked) if callable(reply) else reply


@contextmanager
def serve(tls: ssl.SSLContext | None = None) -> Iterator[LocalServer]:
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = local.reply_to(Asked(self.command, path, query, dict(self.headers), body))
            if reply.hangs:
                released.wait()
                return
            self.send_response(reply.status)
            if not reply.endless:
                self.send_header("Content-Length", str(len(reply.body) if reply.declared is None else reply.declared))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.location:
                self.send_header("Location", reply.location)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    local = LocalServer(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield local
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()
