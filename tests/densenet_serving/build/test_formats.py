from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from densenet_serving.build.formats import identify
from densenet_serving.errors import WeightsError
from tests.densenet_serving.refusals import refused

TENSORS = {"weight": torch.ones(2)}


def torch_bytes(new: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "content")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("model.pth"))
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2).eval(), (torch.zeros(1, 2),)), buffer)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2))
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pth.tar", ""])
def test_a_checkpoint_is_known_whatever_its_name_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"own{suffix}"
    for content, expected in (
        (torch_bytes(new=True), "torch"),
        (torch_bytes(new=False), "torch"),
        (save(TENSORS), "safetensors"),
    ):
        path.write_bytes(content)
        assert identify(path) == expected


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer .*git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body>", r"is a web page \(HTML\).*signed in"),
        (b"\n <html lang=en>", "is a web page"),
        (b"<!-- saved --><html>", "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "is XML"),
        (b'{"error": "not found"}', "is JSON"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "is an HDF5 file, as Keras writes it"),
        (b"\x08\x08\x12\x07pytorch\x1a\x05" + bytes(500), "is an ONNX model"),
        (b"\x08\x07:\xff\x01\x0a", "is an ONNX model"),
        (b"\x08\x01\x12\xba\x02", "is a TensorFlow SavedModel"),
        (b"\x1c\x00\x00\x00TFL3\x00", "is a TensorFlow Lite model"),
        (b"GGUF\x03", "is a GGUF file"),
        (array(), "is a NumPy array"),
        (pickle.dumps({"weight": [1]}), "is a pickle that torch.save did not write, and loading it would run code"),
        (b"\x1f\x8b\x08", "is a gzip file: unpack it"),
        (tarred(), "is a tar file: unpack it"),
        (b"\xff\xd8\xff\xe0", "is a picture"),
        (exported(), r"is a program of torch.export \(.pt2\)"),
        (zipped("own/data.pkl", "own/code/__torch__.py"), "is a TorchScript program"),
        (zipped("config.json", "model.weights.h5"), "is a Keras model"),
        (zipped("saved/saved_model.pb"), "is a TensorFlow SavedModel"),
        (zipped("MAR-INF/MANIFEST.json"), "is an archive for TorchServe"),
        (zipped("weights.npy"), r"is a NumPy file \(.npz\)"),
        (zipped("own.pth"), r"is a zip file and not a checkpoint of PyTorch \(it holds own.pth\): unpack it"),
        (torch_bytes(new=True)[:-50], "is damaged or no checkpoint"),
        (b"hello", "is damaged or no checkpoint"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_else_a_file_is(tmp_path: Path, content: bytes, what: str, suffix: str) -> None:
    path = tmp_path / f"own{suffix}"
    path.write_bytes(content)
    with refused(path, what, WeightsError):
        identify(path)


def test_folders(tmp_path: Path) -> None:
    with refused(tmp_path, "is a folder: give a checkpoint", WeightsError):
        identify(tmp_path)
    (tmp_path / "own.bin").write_bytes(save(TENSORS))
    with refused(tmp_path, r"is a folder: give a checkpoint in it \(own.bin\)", WeightsError):
        identify(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12")
    with refused(tmp_path, "is a TensorFlow SavedModel", WeightsError):
        identify(tmp_path)
