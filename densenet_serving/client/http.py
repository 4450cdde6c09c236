"""Ask a running TorchServe: a method for each call of its API, and an error in one sentence if it fails."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from densenet_client import ClientError, Outcome, Question, Retry, image_headers, json_in, pause_after, send
from densenet_serving.client.endpoint import Endpoint, Scope
from densenet_serving.client.transport import connect, connect_async
from densenet_serving.errors import ApiError, CommandError

TIMEOUT_SECONDS = 60.0
# Loading a model takes as long as startupTimeout in model-config.yaml lets it.
REGISTER_SECONDS = 130
REFUSED_KEY = "InvalidKeyException"  # TorchServe's type of the error for a token that it does not accept
MODEL_API_OFF = "MethodNotAllowedException"
FIXED_MODELS = (
    "The server's models are fixed (--fixed-models, or enable_model_api=false in its settings): densenet stop, then "
    "densenet serve without that."
)
TOO_LARGE = "The request is larger than the server's max_request_size (config.properties): send a smaller file."

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


def once(_attempt: int, _outcome: Outcome) -> None:
    """The policy of what is never sent again."""


class Base(Generic[Http]):
    """What the clients for threads and for asyncio share: the server, its tokens, and how it is asked."""

    def __init__(self, endpoint: Endpoint, token: str | None, http: Http) -> None:
        self._endpoint, self._tokens = endpoint, endpoint.tokens(token)
        self._http: Http = http

    def _request(
        self, token: str, scope: Scope, method: str, *path: str, headers: Mapping[str, str] = {}, **options: Any
    ) -> httpx.Request:
        url = "/".join((getattr(self._endpoint, scope), *(quote(part, safe="") for part in path if part)))
        own = {"Authorization": f"Bearer {token}", **headers}
        request: httpx.Request = self._http.build_request(method, url, headers=own, **options)
        return request


class Client(Base[httpx.Client]):
    """A client of one server. Safe to share between threads.

    A `token` given by hand takes the place of those in the key file. `retry` decides about images; all else is asked
    once. `transport` takes the place of the network.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retry: Retry = pause_after,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(endpoint, token, connect(endpoint.certificate, transport=transport))
        self._timeout, self._retry = timeout, retry
        weakref.finalize(self, self._http.close)

    def predict(self, model: str, image: bytes, parameters: Mapping[str, Any] | None = None, version: str = "") -> Any:
        """Classify one image; returns the decoded JSON answer. Raises ApiError or CommandError."""
        return self.ask("predictions", image, parameters or {}, model, version)

    def ask(
        self, question: Question, image: bytes, parameters: Mapping[str, Any], model: str, version: str = ""
    ) -> Any:
        """Ask about one image; returns the decoded JSON answer. Raises ApiError or CommandError."""
        path, headers = (question, model, version), image_headers(parameters)
        return self._call("inference", "POST", *path, content=image, headers=headers, retry=self._retry)

    def models(self) -> dict[str, str]:
        """Map each registered model to the file it came from."""
        listed: dict[str, str] = {}
        page: str | None = ""
        while page is not None:
            answer = self._call("management", "GET", "models", params={"next_page_token": page} if page else None)
            listed |= {model["modelName"]: model["modelUrl"] for model in answer["models"]}
            page = answer.get("nextPageToken")
        return listed

    def versions(self, model: str) -> list[dict[str, Any]]:
        """Describe every version of a model, without cards. A model that is not registered has none."""
        try:
            answer: list[dict[str, Any]] = self._call("management", "GET", "models", model, "all")
        except ApiError as error:
            if error.error["code"] == HTTPStatus.NOT_FOUND:
                return []
            raise
        return answer

    def describe(self, model: str, version: str = "", card: bool = True) -> dict[str, Any]:
        """Describe one version, or the default one, with its model card under `customizedMetadata`.

        A worker has to answer for the card; without `card` the server answers by itself. Raises ApiError, which says
        if the model is loaded although its worker gives no card.
        """
        params = {"customized": str(card).lower()}
        try:
            answer: list[dict[str, Any]] = self._call("management", "GET", "models", model, version, params=params)
        except ApiError as error:
            if not card:
                raise
            raise _no_card(self.describe(model, version, card=False), error, self._endpoint.folder / "logs") from error
        return answer[0]

    def register(self, archive: str, **options: Any) -> Any:
        """Register an archive of the model store and wait until its workers are ready."""
        params = {"url": archive, "synchronous": "true"} | options
        return self._call("management", "POST", "models", params=params, timeout=REGISTER_SECONDS)

    def scale(self, model: str, workers: int, version: str = "") -> Any:
        params = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
        return self._call("management", "PUT", "models", model, version, params=params, timeout=REGISTER_SECONDS)

    def set_default(self, model: str, version: str) -> Any:
        return self._call("management", "PUT", "models", model, version, "set-default")

    def unregister(self, model: str, version: str = "") -> Any:
        return self._call("management", "DELETE", "models", model, version)

    def _call(self, scope: Scope, *question: str, retry: Retry = once, timeout: float = 0.0, **options: Any) -> Any:
        base, seconds = getattr(self._endpoint, scope), timeout or self._timeout
        try:
            return _content_of(self._ask(retry, scope, *question, timeout=seconds, **options), base)
        except ClientError as error:
            raise CommandError(str(error)) from error
        except httpx.TimeoutException as error:
            raise CommandError(f"{base} did not answer within {seconds:.0f} s: is its worker alive?") from error
        except httpx.TransportError as error:
            if "[SSL" not in str(error):
                raise CommandError(f"No server answers at {base}: start one with densenet serve.") from error
            shown = f"{base} does not show the certificate {self._endpoint.certificate}"
            raise CommandError(f"{shown}: restart the server if that was renewed.") from error

    def _ask(self, retry: Retry, scope: Scope, *question: str, **options: Any) -> httpx.Response:
        token = self._tokens.get(scope)
        response = send(self._http, self._request(token, scope, *question, **options), retry)
        if self._tokens.given or not is_refused(response):
            return response
        token = self._tokens.get(scope, refused=token)
        return send(self._http, self._request(token, scope, *question, **options), retry)


class AsyncClient(Base[httpx.AsyncClient]):
    """A client of one server for asyncio, which returns every response of TorchServe as it is.

    `options` are those of httpx. Raises httpx.TransportError, and CommandError if there is no token.
    """

    def __init__(self, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(endpoint, None, connect_async(endpoint.certificate, **options))
        self._looking = asyncio.Lock()

    async def ask(self, scope: Scope, *question: str, retry: Retry = once, **options: Any) -> httpx.Response:
        """Send a request, and once more with another token if the first one is refused."""
        token = await self._token(scope)
        response = await self._send(self._request(token, scope, *question, **options), retry)
        if not is_refused(response):
            return response
        token = await self._token(scope, refused=token)
        return await self._send(self._request(token, scope, *question, **options), retry)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _token(self, scope: Scope, refused: str = "") -> str:
        held = self._tokens.held(scope)
        if held and held != refused:
            return held
        async with self._looking:  # so that no more than one thread waits for TorchServe
            return await asyncio.to_thread(self._tokens.get, scope, refused)

    async def _send(self, request: httpx.Request, retry: Retry) -> httpx.Response:
        """Do as densenet_client.send does."""
        attempt = 0
        while True:
            try:
                answer = await self._http.send(request)
                if (pause := retry(attempt, answer)) is None:
                    return answer
            except httpx.TransportError as error:
                if (pause := retry(attempt, error)) is None:
                    raise
            await asyncio.sleep(pause)
            attempt += 1


def is_refused(response: httpx.Response) -> bool:
    """Tell whether TorchServe refused the token."""
    return response.status_code == HTTPStatus.BAD_REQUEST and _refusal_in(json_in(response)).get("type") == REFUSED_KEY


def _content_of(response: httpx.Response, base: str) -> Any:
    """Return what a good answer holds. Raises ApiError for another."""
    content, status = json_in(response), response.status_code
    if response.is_success and content is not None:
        return content
    if content is None:  # past max_request_size TorchServe sends an empty 413
        too_large = status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        message = TOO_LARGE if too_large else f"{base} answered {status} without JSON: is it a TorchServe?"
        refusal: dict[str, Any] = {"type": response.reason_phrase}
    else:
        refusal = _refusal_in(content)
        message = str(refusal.get("message", f"{base} answered {status}."))
    if refusal.get("type") == REFUSED_KEY:
        message = f"{base} refused the token that was sent: densenet token prints one that it takes now."
    elif refusal.get("type") == MODEL_API_OFF:
        message = FIXED_MODELS
    raise ApiError(message, {"code": status, "type": refusal.get("type", "Error"), "message": message})


def _refusal_in(content: Any) -> dict[str, Any]:
    """Return an error's code, type and message, or those there are.

    A worker that refuses to give its model's card says why where the card would be.
    """
    match content:
        case [{"customizedMetadata": str(message)}]:
            return {"message": message}
        case dict(refusal) | [{"customizedMetadata": dict(refusal)}]:
            return refusal
    return {}


def _no_card(described: Mapping[str, Any], refused: ApiError, logs: Path) -> ApiError:
    """Return the error for a model that is loaded, but whose worker `refused` to give its card."""
    ready = [worker["status"] == "READY" for worker in described["workers"]]
    message = (
        f"{described['modelName']} is loaded and {sum(ready)} of {len(ready)} workers are ready, but one gave no model "
        f"card ({refused.error['code']}: {refused}): {logs / 'model_log.log'} tells more."
    )
    return ApiError(message, refused.error | {"message": message})
