"""The handler TorchServe loads: it composes the stages and does nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler import memory
from handler.card import ModelCard
from handler.context import Context
from handler.cores import threads_per_worker
from handler.decoding import Decoder
from handler.engines.inferred import Inferred
from handler.engines.load import load_engine
from handler.errors import ArchiveError, RequestError
from handler.explanations import Head, paint
from handler.labels import LABELS_FILE, Labels, softmax
from handler.metrics import BATCH, DECODE, INFERENCE, Metrics
from handler.payload import Image, ImageRequest
from handler.protocols.explanation import ExplanationProtocol, ExplanationRequest
from handler.protocols.inference import InferenceProtocols
from handler.protocols.protocol import OwnProtocol, RequestProtocol
from handler.responses import Response, Result, answer, explanation
from handler.settings import Settings

logger = logging.getLogger("handler.classifier")  # TorchServe imports this file as `classifier`


class ImageClassifier:
    """Classifies the images of a batch of requests; a bad one is answered in its row and costs no other."""

    def initialize(self, context: Context) -> None:
        """Build every stage from the unpacked archive and warm the engine up.

        Raises ArchiveError where settings, card and labels do not fit each other.
        """
        folder = Path(context.system_properties["model_dir"])
        config = context.model_yaml_config or {}
        self.settings = Settings.from_config(config)
        self.card = ModelCard.read(folder)
        self.labels = Labels.read(folder / LABELS_FILE)
        if len(self.labels) != self.card.classes:
            raise ArchiveError(
                f"{LABELS_FILE} has {len(self.labels)} classes and the model {self.card.classes}: rebuild the archive."
            )
        self.own_protocol = OwnProtocol(self.settings, self.card.classes)
        self.inference_protocols = InferenceProtocols(self.settings, self.card)
        self.explanation_protocol = ExplanationProtocol(self.settings, self.labels)
        self.head = Head.read(folder, self.card.classes)
        self.metrics = Metrics(context.metrics, self.card)
        threads = threads_per_worker(self.settings, config)
        self.decoder = Decoder(self.settings, self.card.preprocessing, threads.batch)
        self.engine = load_engine(folder, self.settings, threads, context.system_properties.get("gpu_id"))
        self._warm_up(int(context.system_properties.get("batch_size") or 1))
        _take_json_undecoded()
        memory.limit_growth(self.settings.memory_headroom)
        _quieten_worker()

    def handle(self, rows: list[Mapping[str, Any]], context: Context) -> list[Any]:
        """Answer a batch with exactly one item a row: JSON bytes, with status and content type of their own."""
        if _asks_for_card(rows, context):
            return [self.card.to_dict() | {"running": self.engine.description}]

        headers = [context.get_all_request_header(i) for i in range(len(rows))]
        protocols = [self._protocol(row_headers) for row_headers in headers]
        requests = [_parse(*parts) for parts in zip(protocols, rows, headers, strict=True)]
        explained = any(isinstance(request, ExplanationRequest) for request in requests)
        images = [request.images for request in requests if isinstance(request, ImageRequest)]
        outcomes = self._infer(self._decode(images), explained)
        results = [self._results(request, outcomes) for request in requests]
        self.metrics.count(chain.from_iterable(results))
        responses = [_respond(*parts) for parts in zip(protocols, requests, results, strict=True)]

        for i, response in enumerate(responses):
            context.set_response_content_type(i, response.content_type)
            for name, value in response.headers.items():
                context.set_response_header(i, name, value)
            context.set_response_status(code=int(response.status), phrase=response.status.phrase, idx=i)
            if response.status != HTTPStatus.OK:
                logger.info("request_id=%s status=%d", context.get_request_id(i), response.status)
        return [response.body for response in responses]

    def _protocol(self, headers: Mapping[str, Any]) -> RequestProtocol:
        if InferenceProtocols.are_spoken(headers):
            return self.inference_protocols
        return self.explanation_protocol if ExplanationProtocol.is_spoken(headers) else self.own_protocol

    def _decode(self, requests: list[tuple[Image, ...]]) -> list[NDArray[np.uint8] | RequestError]:
        if not any(requests):
            return []
        with self.metrics.timed(DECODE):
            return self.decoder.decode(requests)

    def _infer(
        self, pixels: list[NDArray[np.uint8] | RequestError], explained: bool
    ) -> Iterator[Inferred | RequestError]:
        """Infer the good images as one batch; yields what came of each image or its error, in the order given."""
        batch = [image for image in pixels if not isinstance(image, RequestError)]
        inferred = self._run(np.stack(batch), explained) if batch else iter(())
        return (image if isinstance(image, RequestError) else next(inferred) for image in pixels)

    def _run(self, batch: NDArray[np.uint8], explained: bool) -> Iterator[Inferred]:
        with self.metrics.timed(INFERENCE):
            logits, features = self.engine.infer(batch, features=explained)
        self.metrics.add(BATCH, len(batch))
        return map(Inferred, batch, softmax(logits), features)

    def _results(
        self, request: ImageRequest | RequestError, outcomes: Iterator[Inferred | RequestError]
    ) -> list[Result]:
        """Take the outcomes of this request's images, and no more, from the batch's."""
        if isinstance(request, RequestError):
            return [request]
        return [
            outcome if isinstance(outcome, RequestError) else self._result(request, outcome)
            for outcome in islice(outcomes, len(request.images))
        ]

    def _result(self, request: ImageRequest, inferred: Inferred) -> dict[str, Any]:
        probabilities, parameters = inferred.probabilities, request.parameters
        if not isinstance(request, ExplanationRequest):
            return answer(self.labels.top_k(probabilities, parameters.top_k), parameters)
        index = int(probabilities.argmax()) if request.index is None else request.index
        picture = paint(inferred.pixels, self.head.activation(inferred.features, index), parameters.overlay)
        return explanation(self.labels.predict(probabilities, index), probabilities.max(), parameters, picture)

    def _warm_up(self, batch_size: int) -> None:
        side = self.card.preprocessing.crop
        for rows in {1, batch_size}:
            self.engine.infer(np.zeros((rows, side, side, 3), np.uint8))


def _parse(
    protocol: RequestProtocol, row: Mapping[str, Any], headers: Mapping[str, Any]
) -> ImageRequest | RequestError:
    try:
        return protocol.parse(row, headers)
    except RequestError as error:
        return error


def _respond(protocol: RequestProtocol, request: ImageRequest | RequestError, results: list[Result]) -> Response:
    return protocol.refuse(request) if isinstance(request, RequestError) else protocol.respond(request, results)


def _take_json_undecoded() -> None:
    """Have TorchServe's worker hand on JSON as bytes: its lists and objects are counted before any is built."""
    os.environ.setdefault("TS_DECODE_INPUT_REQUEST", "false")


def _quieten_worker() -> None:
    """Silence the line TorchServe's worker logs for every batch, through the root logger; its metrics need `ts`."""
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("ts", "handler"):
        logging.getLogger(name).setLevel(logging.INFO)


def _asks_for_card(rows: list[Mapping[str, Any]], context: Context) -> bool:
    """Recognise `GET /models/NAME?customized=true`, which arrives as an empty row with a header of its own."""
    return len(rows) == 1 and not rows[0] and context.get_all_request_header(0).get("describe") == "True"
