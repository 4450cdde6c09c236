"""TorchServe's gRPC gives the answers of its HTTP, to a stub made from its own .proto files."""

from __future__ import annotations

import grpc
import pytest

from densenet_serving import paths, properties
from densenet_serving.client.http import Client
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from examples.grpc_client import classify


def test_the_example_gets_the_answers_and_errors_of_http(
    client: Client, running: torchserve.Server, cat: bytes
) -> None:
    port = properties.read(running.endpoint.folder / paths.SERVER_CONFIG.name)["grpc_inference_port"]
    address, token = f"127.0.0.1:{port}", running.endpoint.token("inference")

    assert classify(cat, STAND_IN, token, address, top_k=3) == client.predict(STAND_IN, cat, {"top_k": 3})
    assert classify(b"no photo", STAND_IN, token, address)["code"] == 415
    for model, given, status in (
        ("nobody", token, grpc.StatusCode.INTERNAL),
        (STAND_IN, "wrong", grpc.StatusCode.PERMISSION_DENIED),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            classify(cat, model, given, address)
        assert caught.value.code() is status
