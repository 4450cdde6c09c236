"""What a client is told whose bytes never became a request."""

from __future__ import annotations

import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from densenet_serving.gateway.errors import error_content


class Refusal(Exception):
    """Ends the parsing if a callback of the parser raises it. The text is the sentence for the client."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status

    def response(self) -> bytes:
        """Build the whole HTTP response, after which the connection is closed."""
        content = json.dumps(error_content(self.status, str(self))).encode()
        headers = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(content)
        return STATUS_LINE[self.status] + headers + content
