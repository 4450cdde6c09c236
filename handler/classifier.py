"""The handler TorchServe loads: it composes the stages and does nothing else."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler import memory
from handler.answers import DECODE_SECONDS, Response, answer
from handler.card import ModelCard
from handler.context import Context
from handler.cores import threads_per_worker
from handler.decoding import Decoded, Decoder, Pixels
from handler.engines import load_engine
from handler.errors import ArchiveError, NotANumber, PayloadTooLarge, RequestError
from handler.explanations import Head
from handler.labels import ACTIVATIONS, LABELS_FILE, Labels
from handler.metrics import BATCH, DECODE, INFERENCE, Metrics
from handler.operations import Explain, Inferred, Predict, RefusedRequest, Request
from handler.protocols import asks_for_card, load_protocols
from handler.protocols.torchserve import check_fields, uncompressed
from handler.settings import Settings

NO_NUMBER = (
    "The model's answer to this photo is NaN or infinite: send another photo, and if all are answered so, build the "
    "archive again."
)
NO_MEMORY = "Reading the request takes more memory than the worker may have: split it into several."

logger = logging.getLogger("handler.classifier")  # TorchServe imports this file as `classifier`


class ImageClassifier:
    """Classifies the images of a batch of requests; a bad one is answered in its row and does not affect the others.

    TorchServe calls `initialize` once and then `handle` for each batch; the other names are those of its BaseHandler.
    """

    def initialize(self, context: Context) -> None:
        """Build every stage from the unpacked archive and warm the engine up.

        Raises ArchiveError if settings, card and labels do not fit each other.
        """
        folder = Path(context.system_properties["model_dir"])
        config = context.model_yaml_config or {}
        self.settings = Settings.from_config(config)
        self.card = ModelCard.read(folder)
        self.labels = Labels.read(folder / LABELS_FILE, self.card.task)
        if len(self.labels) != self.card.classes:
            raise ArchiveError(
                f"{LABELS_FILE} has {len(self.labels)} classes and the model {self.card.classes}: rebuild the archive."
            )
        head = Head.read(folder, self.card.classes) if self.card.heatmaps else None
        self.protocols = load_protocols(
            self.card, Predict(self.labels, self.settings), Explain(self.labels, self.settings, head)
        )
        self.metrics = Metrics(context.metrics, self.card)
        threads = threads_per_worker(self.settings, config, folder)
        self.decoder = Decoder(self.settings, self.card.preprocessing, threads.batch)
        self.engine = load_engine(folder, self.settings, threads, context.system_properties.get("gpu_id"))
        self.decoder.wait_until_ready()
        self._warm_up(int(context.system_properties.get("batch_size") or 1))
        _take_json_undecoded()
        memory.give_back_large_blocks()
        memory.limit_growth(self.settings.memory_headroom)
        _quieten_worker()

    def handle(self, rows: list[Mapping[str, Any]], context: Context) -> list[Any]:
        """Answer a batch with exactly one item a row: JSON bytes, with status and content type of their own."""
        headers = [context.get_all_request_header(i) for i in range(len(rows))]
        if asks_for_card(rows, headers):
            return [self.describe_handle()]
        requests = [self._read(*row) for row in zip(rows, headers, strict=True)]
        pixels, seconds = self.preprocess(requests)
        outcomes = self.inference(pixels, features=any(request.needs_features for request in requests))
        responses = self.postprocess(requests, outcomes)
        return _send(responses, seconds, context)

    def describe_handle(self) -> dict[str, Any]:
        """Answer `GET /models/NAME?customized=true`: the model card, the engine that runs, and a request's limits."""
        limits = {name: getattr(self.settings, name) for name in ("max_images", "max_image_bytes")}
        return self.card.to_dict() | {"running": self.engine.description, "limits": limits}

    def preprocess(self, requests: list[Request]) -> Decoded:
        """Decode the images of all requests; a bad image gives its error."""
        images = [request.images for request in requests]
        if not any(images):
            return Decoded([], [0.0] * len(requests))
        with self.metrics.timed(DECODE):
            return self.decoder.decode(images)

    def inference(self, pixels: list[Pixels | RequestError], *, features: bool) -> list[Inferred | RequestError]:
        """Infer the good images as one batch; an error stays in its place, and NaN becomes one."""
        good = [image for image in pixels if not isinstance(image, RequestError)]
        if not good:
            return [image for image in pixels if isinstance(image, RequestError)]
        batch = np.stack(good)
        with self.metrics.timed(INFERENCE):
            logits, maps = self.engine.infer(batch, features=features)
        self.metrics.add(BATCH, len(batch))
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
        probabilities = ACTIVATIONS[self.card.task](np.where(finite[:, None], logits, 0))
        answered = map(Inferred, batch, probabilities, maps)
        inferred = (one if good else NotANumber(NO_NUMBER) for one, good in zip(answered, finite, strict=True))
        return [image if isinstance(image, RequestError) else next(inferred) for image in pixels]

    def postprocess(self, requests: list[Request], outcomes: list[Inferred | RequestError]) -> list[Response]:
        """Answer each request with the outcomes of its own images."""
        results, start = [], 0
        for request in requests:
            end = start + len(request.images)
            results.append(request.results(outcomes[start:end]))
            start = end
        for result in chain.from_iterable(results):
            if isinstance(result, RequestError):
                result.forget_where()
        self.metrics.count(chain.from_iterable(results))
        return [answer(request.write, result) for request, result in zip(requests, results, strict=True)]

    def _read(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
        protocol = next(protocol for protocol in self.protocols if protocol.recognizes(headers))
        try:
            check_fields(row)
            return protocol.read(uncompressed(row, headers), headers)
        except RequestError as error:
            return RefusedRequest(error, protocol.write)
        except MemoryError:
            return RefusedRequest(PayloadTooLarge(NO_MEMORY), protocol.write)

    def _warm_up(self, batch_size: int) -> None:
        side = self.card.preprocessing.crop
        for rows in {1, batch_size}:
            self.engine.infer(np.zeros((rows, side, side, 3), np.uint8))


def _send(responses: list[Response], seconds: list[float], context: Context) -> list[bytes]:
    for i, response in enumerate(responses):
        context.set_response_content_type(i, response.content_type)
        context.set_response_header(i, DECODE_SECONDS, f"{seconds[i]:.4f}")
        for name, value in response.headers.items():
            context.set_response_header(i, name, value)
        context.set_response_status(code=int(response.status), phrase=response.status.phrase, idx=i)
        if response.status != HTTPStatus.OK:
            logger.info("request_id=%s status=%d", context.get_request_id(i), response.status)
    return [response.body for response in responses]


def _take_json_undecoded() -> None:
    """Have TorchServe's worker pass on JSON as bytes, so that what it holds is counted before any of it is built.

    TorchServe starts each worker with the opposite in its environment, unless decode_input_request says otherwise.
    """
    os.environ["TS_DECODE_INPUT_REQUEST"] = "false"


def _quieten_worker() -> None:
    """Silence the root logger's line for every batch; TorchServe's metrics are lines too, of the logger `ts`."""
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("ts", "handler"):
        logging.getLogger(name).setLevel(logging.INFO)
