"""TorchServe as the gateway sees it: a photo goes up, an answer comes down, and every failure is an answer too."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import httpx
import psutil

from densenet_client import image_headers
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import AsyncClient, is_refused
from densenet_serving.errors import ServingError
from densenet_serving.gateway import budget, clients
from densenet_serving.gateway.answer import JSON, Answer
from densenet_serving.gateway.clients import Share
from densenet_serving.gateway.kept import Kept
from densenet_serving.gateway.retry import CrashPolicy, PhotoRetry
from densenet_serving.gateway.slots import Slots

logger = logging.getLogger(__name__)

IN_FLIGHT = 64
MINUTE = 60.0
# A worker may take as long as responseTimeout in model-config.yaml, 60 s.
ANSWER_SECONDS = 65
CONNECT_SECONDS = 5
READY_SECONDS = 5
IDLE_SECONDS = 60.0
COUNT_SECONDS = 1  # for which all who ask are told the same number of workers
# A worker that died is ready again after some seconds, in which photos wait for it.
LOOK_SECONDS = 10
WITHOUT_SECONDS = 30

NOT_RUNNING = "TorchServe does not answer: try again in a while, or start it with densenet web."
NO_ACCESS = (
    "The gateway found no token for TorchServe, as after its end: try again in a while, or start it with densenet web; "
    "the gateway's log holds the reason."
)
REFUSED = "TorchServe refuses the gateway's token: restart both with densenet stop and densenet web."
NO_WORKERS = f"No worker was ready for {WITHOUT_SECONDS} s: try again later; densenet models list shows the workers."
TOO_SLOW = f"TorchServe did not answer within {ANSWER_SECONDS} s: send the photo again."


@dataclass(frozen=True)
class Workers:
    """How many workers of a model are ready, and how many there should be."""

    ready: int
    wanted: int

    @classmethod
    def of(cls, versions: Iterable[Mapping[str, Any]]) -> Self:
        """Count them in TorchServe's description of the version that answers. A dead one may still be called READY."""
        versions = list(versions)
        workers = [worker for version in versions for worker in version["workers"]]
        ready = sum(worker["status"] == "READY" and psutil.pid_exists(worker.get("pid", 1)) for worker in workers)
        return cls(ready, sum(version.get("minWorkers", len(version["workers"])) for version in versions))


class Upstream:
    """One model of one TorchServe, over connections that stay open.

    At most `in_flight` images are with TorchServe at a time. Of one client, while others wait, they are half as many as
    there are workers, since one hostile photo may keep a worker busy for two seconds. Decoding one client's images may
    take `decode_share` seconds a second, of which a minute's worth may be spent at once. `transport` replaces the
    network in tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        in_flight: int = IN_FLIGHT,
        decode_share: float = 1.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self._slots = Slots(in_flight, share=1)
        self._clock = clock
        self._looked = clock()
        self._none_since: float | None = None
        self._counted = Kept(self._count, COUNT_SECONDS, clock=clock)
        self._crashes = CrashPolicy(clock)
        self._decoding = Share(decode_share, decode_share * MINUTE, clock)
        self._torchserve = AsyncClient(
            endpoint,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_keepalive_connections=in_flight, keepalive_expiry=IDLE_SECONDS),
            transport=transport,
        )

    async def predict(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        """Classify one image."""
        return await self._infer("predictions", image, parameters, JSON)

    async def explain(self, image: bytes, parameters: Mapping[str, Any], media_type: str = JSON) -> Answer:
        """Classify one image and show on it what the answer rests on; with PNG the answer is the picture alone."""
        return await self._infer("explanations", image, parameters, media_type)

    async def describe(self) -> Answer:
        """Return TorchServe's description of the served version, with its model card under `customizedMetadata`."""
        return await self._ask_management({"customized": "true"})

    async def workers(self) -> Workers:
        """Count the model's workers, at most once a second. TorchServe's own /ping says Healthy without any."""
        return await self._counted.get()

    async def aclose(self) -> None:
        self._counted.cancel()
        await self._torchserve.aclose()

    async def _count(self) -> Workers:
        self._looked = self._clock()
        answer = await self._ask_management()
        found = Workers.of(answer.content if answer.ok else ())
        if found.ready:
            self._none_since = None
            self._slots.share = max(1, found.ready // 2)
        elif self._none_since is None:
            self._none_since = self._looked
        return found

    async def _ask_management(self, params: Mapping[str, str] | None = None) -> Answer:
        asking = self._torchserve.ask("management", "GET", "models", self.model, params=params, timeout=READY_SECONDS)
        return await answer_to(asking, HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)

    async def _infer(self, verb: str, image: bytes, parameters: Mapping[str, Any], media_type: str) -> Answer:
        if await self._has_none_for_long():
            return Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, NO_WORKERS)
        client = clients.current.get()
        async with self._slots(client):
            if seconds := self._decoding.wait(client):
                return Answer.wait(math.ceil(seconds))
            with budget.in_use():
                photo = {"content": image, "headers": image_headers(parameters) | {"Accept": media_type}}
                retry = PhotoRetry(self._crashes, lambda: self._slots.taken)
                asking = self._torchserve.ask("inference", "POST", verb, self.model, retry=retry, **photo)
                answer = await answer_to(asking, HTTPStatus.GATEWAY_TIMEOUT, TOO_SLOW)
        # An image costs what its decoding takes: otherwise the most expensive ones are the cheapest attack.
        self._decoding.spend(client, answer.decode_seconds)
        return answer

    async def _has_none_for_long(self) -> bool:
        """Say whether no worker was ready for a while: TorchServe queues a photo for them, and never answers it.

        While photos come, the workers are counted now and then, since they may die, come back and be scaled.
        """
        now = self._clock()
        if self._none_since is not None and now - self._none_since > WITHOUT_SECONDS:
            return not (await self.workers()).ready
        if now - self._looked > LOOK_SECONDS:
            self._counted.begin()
        return False


async def answer_to(asking: Awaitable[httpx.Response], slow_status: HTTPStatus, slow: str) -> Answer:
    """Return what TorchServe answers, or why it does not: `slow` if it takes too long."""
    try:
        response = await asking
    except httpx.TransportError as error:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return Answer.error(slow_status, slow)
        return Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)
    except ServingError as error:
        # The reason names files and addresses of this machine, so it goes to the log and not to the client.
        logger.warning("No token for TorchServe: %s", error)
        return Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, NO_ACCESS)
    return Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, REFUSED) if is_refused(response) else Answer.of(response)
