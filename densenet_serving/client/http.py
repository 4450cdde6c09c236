"""Call a running TorchServe over HTTP: one method for each API call, and an error in one sentence if it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from densenet_client import ClientError, read_answer
from densenet_serving.client import transport
from densenet_serving.client.endpoint import Endpoint, Scope
from densenet_serving.client.patience import patient_retry
from densenet_serving.client.tokens import REFUSED_KEY, TokenCache, refused_token
from densenet_serving.errors import ApiError, CommandError

TIMEOUT_SECONDS = 60
# Loading a model takes as long as startupTimeout in model-config.yaml lets it.
REGISTER_SECONDS = 130
PREDICTIONS = "/predictions/"
MODEL_API_OFF = "MethodNotAllowedException"
FIXED_MODELS = (
    "The server's models are fixed (--fixed-models, or enable_model_api=false in its settings): densenet stop, then "
    "densenet serve without that."
)
TOO_LARGE = "The request is larger than the server's max_request_size (config.properties): send a smaller file."


class Client:
    """A client of one server. Safe to share between threads: each has a session of its own."""

    def __init__(self, endpoint: Endpoint, token: str | None = None) -> None:
        self._endpoint = endpoint
        self._tokens = TokenCache(endpoint, token)
        self._sessions = threading.local()

    def predict(self, model: str, image: bytes, parameters: Mapping[str, Any] | None = None, version: str = "") -> Any:
        """Classify one image; returns the decoded JSON answer. Raises ApiError or CommandError."""
        path = f"{PREDICTIONS}{model}/{version}" if version else f"{PREDICTIONS}{model}"
        return self._call("inference", "POST", path, data=image, headers=_headers(parameters or {}))

    def explain(self, model: str, image: bytes, parameters: Mapping[str, Any]) -> Any:
        """Explain one image; returns its answer, `overlay` being a PNG in base64. Raises ApiError or CommandError."""
        path = f"/explanations/{model}"
        return self._call("inference", "POST", path, data=image, headers=_headers(parameters))

    def models(self) -> dict[str, str]:
        """Map each registered model to the file it came from."""
        listed: dict[str, str] = {}
        page: str | None = ""
        while page is not None:
            answer = self._call("management", "GET", "/models", params={"next_page_token": page} if page else None)
            listed |= {model["modelName"]: model["modelUrl"] for model in answer["models"]}
            page = answer.get("nextPageToken")
        return listed

    def versions(self, model: str) -> list[dict[str, Any]]:
        """Describe every version of a model, without cards. A model that is not registered has none."""
        try:
            answer: list[dict[str, Any]] = self._call("management", "GET", f"/models/{model}/all")
        except ApiError as error:
            if error.error["code"] == requests.codes.not_found:
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
            answer: list[dict[str, Any]] = self._call("management", "GET", _path(model, version), params=params)
        except ApiError as error:
            if not card:
                raise
            raise _no_card(self.describe(model, version, card=False), error, self._endpoint.folder / "logs") from error
        return answer[0]

    def register(self, archive: str, **options: Any) -> Any:
        """Register an archive of the model store and wait until its workers are ready."""
        params = {"url": archive, "synchronous": "true"} | options
        return self._call("management", "POST", "/models", params=params, timeout=REGISTER_SECONDS)

    def scale(self, model: str, workers: int, version: str = "") -> Any:
        params = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
        return self._call("management", "PUT", _path(model, version), params=params, timeout=REGISTER_SECONDS)

    def set_default(self, model: str, version: str) -> Any:
        return self._call("management", "PUT", f"/models/{model}/{version}/set-default")

    def unregister(self, model: str, version: str = "") -> Any:
        return self._call("management", "DELETE", _path(model, version))

    def _call(self, scope: Scope, method: str, path: str, timeout: float = TIMEOUT_SECONDS, **options: Any) -> Any:
        base = getattr(self._endpoint, scope)
        return self._tokens.call(scope, lambda token: self._send(token, method, base, path, timeout, **options))

    def _send(self, token: str, method: str, base: str, path: str, timeout: float, **options: Any) -> Any:
        headers = options.pop("headers", {}) | {"Authorization": f"Bearer {token}"}
        try:
            response = self._session.request(
                method, base + path, headers=headers, timeout=timeout, stream=True, **options
            )
            return _content_of(response, base)
        except ClientError as error:
            raise CommandError(str(error)) from error
        except requests.Timeout as error:
            raise CommandError(f"{base} did not answer within {timeout:.0f} s: is its worker alive?") from error
        except requests.exceptions.SSLError as error:
            certificate = self._endpoint.certificate
            raise CommandError(
                f"{base} does not show the certificate {certificate}: restart the server if that was renewed."
            ) from error
        except requests.ConnectionError as error:
            raise CommandError(f"No server answers at {base}: start one with densenet serve.") from error

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._sessions, "session"):
            certificate = self._endpoint.certificate
            session = transport.session(certificate)
            patient = transport.adapter(certificate, max_retries=patient_retry())
            session.mount(self._endpoint.inference + PREDICTIONS, patient)
            self._sessions.session = session
        kept: requests.Session = self._sessions.session
        return kept


def _headers(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of an image as a request's body, with its parameters."""
    named = {name.replace("_", "-"): str(value) for name, value in parameters.items()}
    return {"Content-Type": "application/octet-stream"} | named


def _path(model: str, version: str) -> str:
    return f"/models/{model}/{version}" if version else f"/models/{model}"


def _content_of(response: requests.Response, base: str) -> Any:
    answer = read_answer(response, base)
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError) as error:
        if response.ok and "Content-Type" not in response.headers:  # what another project's handler wrote as text
            return answer.decode(errors="replace")
        raise _empty_answer(response, base) from error
    if response.ok:
        return content
    refusal = _refusal_in(content)
    message = str(refusal.get("message", f"{base} answered {response.status_code}."))
    if refusal.get("type") == REFUSED_KEY:
        message = refused_token(base)
    elif refusal.get("type") == MODEL_API_OFF:
        message = FIXED_MODELS
    raise ApiError(message, {"code": response.status_code, "type": refusal.get("type", "Error"), "message": message})


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


def _empty_answer(response: requests.Response, base: str) -> ApiError:
    """Return the error for an answer without JSON. Past max_request_size TorchServe sends an empty 413."""
    if response.status_code == requests.codes.request_entity_too_large:
        message = TOO_LARGE
    else:
        message = f"{base} answered {response.status_code} without JSON: is it a TorchServe?"
    return ApiError(message, {"code": response.status_code, "type": response.reason, "message": message})
