"""TorchServe as the gateway sees it: an image goes up, an answer comes down, whatever happens in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from scripts.client.endpoint import REFUSED_KEY, Endpoint, Scope
from scripts.errors import CommandError
from scripts.server import tls
from web.errors import content_of, type_of
from web.limits import clients
from web.limits.slots import Slots
from web.torchserve.deaths import Deaths
from web.torchserve.tokens import Tokens

IN_FLIGHT = 64
FAIR_SHARE = 1
# The longest a worker may take is responseTimeout in model-config.yaml, 60 s; the retry waits as long again.
ANSWER_SECONDS = 65
CONNECT_SECONDS = 5
READY_SECONDS = 5
IDLE_SECONDS = 60
WORKER_DIED = "Worker died."

NOT_RUNNING = "TorchServe does not answer: try again in a while, or start it with densenet web."
REFUSED = "TorchServe refuses the gateway's token: restart both with densenet stop and densenet web."
TOO_SLOW = f"TorchServe did not answer within {ANSWER_SECONDS} s: send the photo again."
WITHOUT_JSON = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The photo is larger than TorchServe's max_request_size: send a smaller one."
}


@dataclass(frozen=True)
class Answer:
    """An HTTP status and decoded JSON: TorchServe's answer, or {"code", "type", "message"} for an error."""

    status: int
    content: Any

    @property
    def ok(self) -> bool:
        return self.status == HTTPStatus.OK

    @property
    def worker_died(self) -> bool:
        died = self.status == HTTPStatus.INTERNAL_SERVER_ERROR and self.content.get("message") == WORKER_DIED
        return died or self.status == HTTPStatus.INSUFFICIENT_STORAGE  # 507: it was killed


class Upstream:
    """One model of one TorchServe, over connections that stay open. Network errors become answers, with a sentence.

    At most `in_flight` images are with TorchServe at a time, of each client no more than `fair_share` while others ask;
    the rest waits its turn. `transport` replaces the network in tests.
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
        self._tokens = Tokens(endpoint)
        self._slots = Slots(in_flight, fair_share)
        self._deaths = Deaths()
        self._client = httpx.AsyncClient(
            transport=transport,
            verify=tls.pinned(Path(endpoint.certificate)) if endpoint.certificate else True,
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=in_flight, keepalive_expiry=IDLE_SECONDS
            ),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # a proxy of the environment is not for this machine
        )

    async def predict(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        """Classify one image. `parameters` are those of DESIGN.md's API, with values of plain ASCII."""
        return await self._infer("predictions", image, parameters)

    async def explain(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        """Classify one image and show on it what the answer rests on."""
        # A form, since a header cannot hold a class id outside ASCII.
        form = httpx.Request("POST", "http://form", files={"file": image}, data=dict(parameters))
        return await self._infer("explanations", form.read(), {"Content-Type": form.headers["Content-Type"]})

    async def describe(self) -> Answer:
        """Ask for TorchServe's list of the served version, with the card of its archive under `customizedMetadata`."""
        url = f"{self._endpoint.management}/models/{self.model}?customized=true"
        try:
            response = await self._send("management", "GET", url, timeout=READY_SECONDS)
        except (httpx.TransportError, CommandError):
            return _failure(HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)
        return _failure(HTTPStatus.SERVICE_UNAVAILABLE, REFUSED) if _is_refusal(response) else _answer_of(response)

    async def ready(self) -> bool:
        """Tell whether a worker of the model is READY; TorchServe's own /ping says Healthy long before."""
        url = f"{self._endpoint.management}/models/{self.model}"
        try:
            response = await self._send("management", "GET", url, timeout=READY_SECONDS)
        except (httpx.TransportError, CommandError):
            return False
        if response.status_code != HTTPStatus.OK:
            return False
        return any(worker["status"] == "READY" for version in response.json() for worker in version["workers"])

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _infer(self, verb: str, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        url = f"{self._endpoint.inference}/{verb}/{self.model}"
        headers = {name.replace("_", "-"): str(value) for name, value in parameters.items()}
        headers.setdefault("Content-Type", "application/octet-stream")
        async with self._slots(clients.current.get()):
            others = self._slots.taken - 1
            answer = await self._post(url, image, headers)
            others = max(others, self._slots.taken - 1)
            # The images that shared a batch with the one that killed the worker deserve another try.
            if answer is None or (answer.worker_died and self._deaths.may_try_again(others)):
                answer = await self._post(url, image, headers)
        return answer or _failure(HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)

    async def _post(self, url: str, image: bytes, headers: Mapping[str, str]) -> Answer | None:
        """Return None where the connection broke before there was an answer."""
        try:
            response = await self._send("inference", "POST", url, content=image, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, CommandError):
            return _failure(HTTPStatus.SERVICE_UNAVAILABLE, NOT_RUNNING)
        except httpx.TimeoutException:
            return _failure(HTTPStatus.GATEWAY_TIMEOUT, TOO_SLOW)
        except httpx.TransportError:
            return None
        return _failure(HTTPStatus.SERVICE_UNAVAILABLE, REFUSED) if _is_refusal(response) else _answer_of(response)

    async def _send(self, scope: Scope, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request with a token, and again with a new one where that is refused."""
        headers = options.pop("headers", {})
        token = await self._tokens.get(scope)
        response = await self._client.request(method, url, headers=_bearing(headers, token), **options)
        if not _is_refusal(response):
            return response
        self._tokens.forget(scope, token)
        token = await self._tokens.get(scope)
        return await self._client.request(method, url, headers=_bearing(headers, token), **options)


def _bearing(headers: Mapping[str, str], token: str) -> dict[str, str]:
    return {**headers, "Authorization": f"Bearer {token}"}


def _is_refusal(response: httpx.Response) -> bool:
    """Tell whether TorchServe refused the gateway's token, which is nothing that the client did wrong."""
    return response.status_code == HTTPStatus.BAD_REQUEST and _answer_of(response).content.get("type") == REFUSED_KEY


def _answer_of(response: httpx.Response) -> Answer:
    try:
        return Answer(response.status_code, response.json())
    except ValueError:
        status = response.status_code if response.is_error else HTTPStatus.BAD_GATEWAY
        return _failure(status, WITHOUT_JSON.get(HTTPStatus(status), "TorchServe's answer is not JSON."))


def _failure(status: int, message: str) -> Answer:
    return Answer(int(status), content_of(status, type_of(status), message))
