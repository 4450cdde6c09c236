"""The gRPC messages of this project are TorchServe's, and the Python in the repository is theirs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import grpc_tools
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from densenet_serving import paths
from densenet_serving.client.protos import torchserve_pb2

GENERATED = ("torchserve_pb2.py", "torchserve_pb2.pyi")
SOURCE = "densenet_serving/client/protos/torchserve.proto"
GOOGLES = Path(grpc_tools.__file__).parent / "_proto"


def protoc(*arguments: str | Path, folder: Path) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"-I{GOOGLES}", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def torchserves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DescriptorProto]:
    """The messages in the installed TorchServe's own .proto files, by name."""
    folder = tmp_path_factory.mktemp("jar")
    spec = find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    with zipfile.ZipFile(Path(spec.origin).parent / "frontend" / "model-server.jar") as jar:
        for name in ("inference.proto", "management.proto", "google/rpc/status.proto"):
            jar.extract(name, folder)
    protoc("--descriptor_set_out=all.bin", "inference.proto", "management.proto", folder=folder)
    files = FileDescriptorSet.FromString((folder / "all.bin").read_bytes()).file
    return {message.name: message for file in files for message in file.message_type}


def ours() -> list[DescriptorProto]:
    file = FileDescriptorProto()
    torchserve_pb2.DESCRIPTOR.CopyToProto(file)
    return list(file.message_type)


def fields_of(message: DescriptorProto) -> set[tuple[str, int, int, int]]:
    return {(field.name, field.number, field.type, field.label) for field in message.field}


@pytest.mark.parametrize("message", ours(), ids=lambda message: message.name)
def test_every_field_has_torchserves_number_and_type(
    message: DescriptorProto, torchserves: dict[str, DescriptorProto]
) -> None:
    theirs = torchserves[message.name]

    assert fields_of(message) <= fields_of(theirs)
    entries = {nested.name: fields_of(nested) for nested in theirs.nested_type}
    assert all(fields_of(nested) == entries[nested.name] for nested in message.nested_type)


def test_the_generated_python_is_up_to_date(tmp_path: Path) -> None:
    protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", SOURCE, folder=paths.ROOT)

    for name in GENERATED:
        made = (tmp_path / SOURCE).with_name(name)
        assert made.read_text() == (paths.ROOT / SOURCE).with_name(name).read_text(), "run make protos"
