"""TorchServe as the gateway sees it: a photo goes up, an answer comes down, and every failure is an answer too."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

from scripts.client import transport as connections
from scripts.client.endpoint import Endpoint, Scope
from scripts.errors import ServingError
from web.limits import clients
from web.limits.slots import Slots
from web.torchserve.answer import Answer
from web.torchserve.deaths import Deaths
from web.torchserve.tokens import AsyncTokenCache

IN_FLIGHT = 64
FAIR_SHARE = 1
# A worker may take as long as responseTimeout in model-config.yaml, 60 s.
ANSWER_SECONDS = 65
CONNECT_SECONDS = 5
READY_SECONDS = 5
IDLE_SECONDS = 60

NOT_RUNNING = "TorchServe does not answer: try again in a while, or start it with densenet web."
REFUSED = "TorchServe refuses the gateway's token: restart both with densenet stop and densenet web."
TOO_SLOW = f"TorchServe did not answer within {ANSWER_SECONDS} s: send the photo again."


class Upstream:
    """One model of one TorchServe, over connections that stay open.

    At most `in_flight` images are with TorchServe at a time, and at most `fair_share` of one client while others wait.
    `transport` replaces the network in tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        in_flight: int = IN_FLIGHT,
        transport: httpx.AsyncBaseTransport | None = None,
        fair_share: int = FAIR_SHARE,
    ) -> None:
        self.model = model
        self._endpoint = endpoint
        self._tokens = AsyncTokenCache(endpoint)
        self._slots = Slots(in_flight, fair_share)
        self._deaths = Deaths()
        self._client = connections.async_client(
            endpoint.certificate,
            transport=transport,
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=in_flight, keepalive_expiry=IDLE_SECONDS
            ),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    async def predict(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        """Classify one image. `parameters` are top_k and min_probability, sent as headers."""
        headers = {name.replace("_", "-"): str(value) for name, value in parameters.items()}
        return await self._infer("predictions", image, {"Content-Type": "application/octet-stream"} | headers)

    async def explain(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        """Classify one image and show on it what the answer rests on."""
        # A form, since a header cannot hold a class id outside ASCII.
        form = httpx.Request("POST", "http://form", files={"file": image}, data=dict(parameters))
        return await self._infer("explanations", form.read(), {"Content-Type": form.headers["Content-Type"]})

    async def describe(self) -> Answer:
        """Return TorchServe's description of the served version, with its model card under `customizedMetadata`."""
        return await self._ask_management("?customized=true")

    async def ready(self) -> bool:
        """Say whether a worker of the model is READY. TorchServe's own /ping says Healthy long before."""
        answer = await self._ask_management()
        workers = (worker for version in answer.content for worker in version["workers"]) if answer.ok else ()
        return any(worker["status"] == "READY" for worker in workers)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask_management(self, query: str = "") -> Answer:
        url = f"{self._endpoint.management}/models/{self.model}{query}"
        try:
            return await self._send("management", "GET", url, timeout=READY_SECONDS)
        except (httpx.TransportError, ServingError):
            return Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)

    async def _infer(self, verb: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        url = f"{self._endpoint.inference}/{verb}/{self.model}"
        async with self._slots(clients.current.get()):
            others = self._slots.taken - 1
            answer = await self._post(url, body, headers)
            others = max(others, self._slots.taken - 1)
            # Images that shared a batch with the one that killed the worker deserve another try.
            if answer is None or (answer.worker_died and self._deaths.may_try_again(others)):
                answer = await self._post(url, body, headers)
        return answer or Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | None:
        """Return None if the connection broke before there was an answer."""
        try:
            return await self._send("inference", "POST", url, content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, ServingError):
            return Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)
        except httpx.TimeoutException:
            return Answer.error(HTTPStatus.GATEWAY_TIMEOUT, TOO_SLOW)
        except httpx.TransportError:
            return None

    async def _send(
        self, scope: Scope, method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        async def ask(token: str) -> Answer:
            bearing = {**(headers or {}), "Authorization": f"Bearer {token}"}
            return Answer.of(await self._client.request(method, url, headers=bearing, **options))

        answer = await self._tokens.call(scope, ask)
        return Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, REFUSED) if answer.token_refused else answer
