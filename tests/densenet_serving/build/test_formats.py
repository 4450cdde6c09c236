from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from densenet_serving.build.formats import SAFETENSORS, identify, load_torch
from densenet_serving.errors import WeightsError
from tests.densenet_serving.refusals import refused

TENSORS = {"weight": torch.ones(2)}


def written(write: Any, *arguments: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    write(*arguments, buffer, **options)
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


def program(kind: str) -> bytes:
    example = (torch.zeros(1, 2),)
    if kind == "pt2":
        return written(torch.export.save, torch.export.export(nn.Linear(2, 2).eval(), example))
    return written(torch.jit.save, torch.jit.trace(nn.Linear(2, 2), example))  # type: ignore[no-untyped-call]


NEW = written(torch.save, TENSORS)


@pytest.mark.parametrize("name", ["own.pth", "own.safetensors", "own.pth.tar", "own"])
@pytest.mark.parametrize(
    ("content", "load"),
    [
        (NEW, load_torch),
        (written(torch.save, TENSORS, _use_new_zipfile_serialization=False), load_torch),
        (save(TENSORS), SAFETENSORS.load),
    ],
)
def test_a_checkpoint_is_known_whatever_its_name_is(tmp_path: Path, name: str, content: bytes, load: Any) -> None:
    (tmp_path / name).write_bytes(content)
    assert identify(tmp_path / name).load is load


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body>", "HTML.*signed in"),
        (b"\n <html lang=en>", "HTML"),
        (b"<!-- saved --><html>", "HTML"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "XML"),
        (b'{"error": "not found"}', "JSON"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "Keras.*state_dict"),
        (b"\x08\x08\x12\x07pytorch\x1a\x05" + bytes(500), "ONNX.*state_dict"),
        (b"\x08\x07:\xff\x01\x0a", "ONNX"),
        (b"\x08\x01\x12\xba\x02", "TensorFlow"),
        (b"\x1c\x00\x00\x00TFL3\x00", "TensorFlow"),
        (b"GGUF\x03", "GGUF"),
        (lambda: written(lambda array, file: np.save(file, array), np.ones(2)), "NumPy"),
        (pickle.dumps({"weight": [1]}), "run code.*state_dict"),
        (b"\x1f\x8b\x08", "unpack"),
        (tarred(), "unpack"),
        (b"\xff\xd8\xff\xe0", "no checkpoint"),
        (lambda: program("pt2"), r"torch.export.load\('own.pth'\)"),
        (lambda: program("jit"), r"torch.jit.load\('own.pth'\)"),
        (zipped("own/data.pkl", "own/code/__torch__.py"), "TorchScript"),
        (zipped("config.json", "model.weights.h5"), "Keras"),
        (zipped("saved/saved_model.pb"), "TensorFlow"),
        (zipped("MAR-INF/MANIFEST.json"), "model_store/"),
        (zipped("weights.npy"), "NumPy"),
        (zipped("own.pth"), "zip file.*unpack"),
        (NEW[:-50], "damaged"),
        (b"hello", "damaged"),
    ],
)
def test_what_else_a_file_is(tmp_path: Path, content: Any, what: str) -> None:
    (tmp_path / "own.pth").write_bytes(content() if callable(content) else content)
    with refused(tmp_path / "own.pth", what, WeightsError):
        identify(tmp_path / "own.pth")


def test_a_folder(tmp_path: Path) -> None:
    with refused(tmp_path, "state_dict", WeightsError):
        identify(tmp_path)
    (tmp_path / "own.bin").write_bytes(save(TENSORS))
    with refused(tmp_path, "own.bin", WeightsError):
        identify(tmp_path)
