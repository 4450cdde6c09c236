"""What an attacker brings: a model that runs code, a gRPC call with any token."""

from __future__ import annotations

import json
from pathlib import Path

import grpc

from densenet_serving import paths, properties
from densenet_serving.build.archives import MANIFEST
from densenet_serving.client.endpoint import Endpoint, Scope

PATIENCE_SECONDS = 20


def write_code(folder: Path, name: str) -> Path:
    """A model that is a bare folder; its handler leaves a file `ran` there as soon as it is imported."""
    (folder / "MAR-INF").mkdir(parents=True)
    model = {"modelName": name, "modelVersion": "1.0", "handler": f"{name}_handler.py"}
    (folder / MANIFEST).write_text(json.dumps({"runtime": "python", "model": model, "archiverVersion": "0.12.0"}))
    (folder / f"{name}_handler.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(folder / 'ran')!r}).touch()\n"
        "def handle(data, context):\n"
        "    return ['ran'] * len(data or [])\n"
    )
    return folder


def grpc_status(endpoint: Endpoint, scope: Scope, authorization: str | None, url: Path | str = "") -> grpc.StatusCode:
    """Ask the gRPC form of an API for what needs no model, or to register a model; returns the status it ends with."""
    service = "inference.InferenceAPIsService" if scope == "inference" else "management.ManagementAPIsService"
    method = "RegisterModel" if url else "Predictions" if scope == "inference" else "ListModels"
    port = properties.read(endpoint.folder / paths.SERVER_CONFIG.name)[f"grpc_{scope}_port"]
    # A field of a protobuf message: its number and wire type 2, its length, its bytes.
    text = str(url or "nobody").encode()
    field = {"RegisterModel": 9, "Predictions": 1}.get(method)  # url, model_name
    message = bytes([field << 3 | 2, len(text)]) + text if field else b""
    metadata = (("authorization", authorization),) if authorization else ()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/org.pytorch.serve.grpc.{service}/{method}"
        )
        try:
            call(message, metadata=metadata, timeout=PATIENCE_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            status: grpc.StatusCode = error.code()
            return status
    return grpc.StatusCode.OK
