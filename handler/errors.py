"""Everything that can be wrong with a request or an archive.

    HandlerError
    ├── RequestError              one image or one request; answered, never raised through the worker
    │   ├── BadRequest            400  no image, empty, corrupt, malformed
    │   ├── PayloadTooLarge       413  too many bytes, pixels or images
    │   ├── UnsupportedMediaType  415  not an image format we accept
    │   ├── NotANumber            500  the model's answer to it is NaN or infinite
    │   └── ServiceUnavailable    503  no time left to decode it
    └── ArchiveError              the archive contradicts itself: the worker stops while loading

Anything else that is raised is a bug and propagates.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar


class HandlerError(Exception):
    """Root of the tree. The text is one sentence for the person who meets it."""


class RequestError(HandlerError):
    """Why an image or a request is not answered, with the HTTP status that says so."""

    status: ClassVar[HTTPStatus]
    retry_after: int | None = None  # seconds

    def forget_where(self) -> None:
        """Drop the frames in which it was raised; it is an answer from here on.

        Among them is the frame that holds the batch. With it the error would be a cycle, and the batch's bodies would
        stay in memory until Python's collector comes to its oldest generation.
        """
        self.__traceback__ = self.__cause__ = self.__context__ = None


class BadRequest(RequestError):
    status = HTTPStatus.BAD_REQUEST


class PayloadTooLarge(RequestError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(RequestError):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class NotANumber(RequestError):
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class ServiceUnavailable(RequestError):
    status = HTTPStatus.SERVICE_UNAVAILABLE


class ArchiveError(HandlerError):
    """A setting, the model card or the labels of this archive cannot be used."""
