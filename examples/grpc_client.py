"""Ask TorchServe over gRPC what a photo shows: TOKEN=... python examples/grpc_client.py cat.jpg densenet121

It needs grpcio-tools, which makes the messages from TorchServe's own .proto files. They are in its package.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zipfile
from functools import cache
from importlib.metadata import files
from pathlib import Path
from typing import Any

import grpc

PROTOS = ("inference.proto", "google/rpc/status.proto")


@cache
def load() -> tuple[Any, Any]:
    """Return the modules of TorchServe's messages and of its service."""
    [jar] = (file.locate() for file in files("torchserve") or () if file.name == "model-server.jar")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(str(jar)) as archive:
        for name in PROTOS:
            archive.extract(name, folder)
        sys.path.insert(0, folder)  # where grpc looks for .proto files
        try:
            return grpc.protos_and_services(PROTOS[0])
        finally:
            sys.path.remove(folder)


def classify(photo: bytes, model: str, token: str, address: str = "127.0.0.1:7070", top_k: int = 5) -> dict[str, Any]:
    """Return the handler's answer. TorchServe drops the status of a photo's error: `code` in the answer has it.

    Raises grpc.RpcError for what TorchServe itself refuses.
    """
    messages, services = load()
    request = messages.PredictionsRequest(model_name=model, input={"data": photo, "top_k": str(top_k).encode()})
    with grpc.insecure_channel(address) as channel:
        stub = services.InferenceAPIsServiceStub(channel)
        answered = stub.Predictions(request, metadata=[("authorization", f"Bearer {token}")], timeout=60)
    answer: dict[str, Any] = json.loads(answered.prediction)
    return answer


if __name__ == "__main__":
    print(classify(Path(sys.argv[1]).read_bytes(), sys.argv[2], os.environ["TOKEN"]))
