from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.operations import ImageInput
from handler.protocols.tensors import read_images, to_binary
from handler.settings import Settings
from tests.handler.inference_requests import b64

SETTINGS = Settings(max_images=3)
SIDE = 2
PIXELS = np.arange(2 * SIDE * SIDE * 3, dtype=np.uint8).reshape(2, SIDE, SIDE, 3)


def files(*data: Any, shape: Any = None) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [len(data)] if shape is None else shape, "data": list(data)}


def pixels(data: Any, shape: Any = None) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": list(PIXELS.shape) if shape is None else shape, "data": data}


def binary(tensor: dict[str, Any], size: Any) -> dict[str, Any]:
    without_data = {name: value for name, value in tensor.items() if name != "data"}
    return without_data | {"parameters": {"binary_data_size": size}}


def with_lengths(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def read(tensor: Any, tail: bytes = b"") -> tuple[ImageInput, ...]:
    return read_images(tensor, tail, SETTINGS, SIDE)


def test_files() -> None:
    one, two = b64(b"one"), b64(b"two")
    assert read(files(one, two)) == read(files([one], [two], shape=[2, 1])) == (b"one", b"two")
    assert read(files(one, two, shape=[2, 1])) == (b"one", b"two")
    tail = with_lengths(b"one", b"", b"three")
    assert read(binary(files(shape=[3]), len(tail)), tail) == (b"one", b"", b"three")


@pytest.mark.parametrize(
    ("tensor", "tail"),
    [
        (pixels(PIXELS.tolist()), b""),
        (pixels(PIXELS.ravel().tolist()), b""),
        (binary(pixels(None), PIXELS.size), PIXELS.tobytes()),
    ],
    ids=["nested", "flat", "binary"],
)
def test_pixels(tensor: Any, tail: bytes) -> None:
    np.testing.assert_array_equal(np.stack(read(tensor, tail)), PIXELS)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["###", 5, None, ["x"], "\ud800"])
def test_wrong_base64_is_the_error_of_its_image(value: Any) -> None:
    good, bad = read(files(b64(b"one"), value))
    assert good == b"one"
    assert isinstance(bad, BadRequest)
    assert "lement 1 of the input" in str(bad)


HUGE = 10**4200  # as long as Python reads a number in JSON
BAD: dict[str, tuple[Any, bytes, type[RequestError], str]] = {
    "no object": ([], b"", BadRequest, "not an object"),
    "no shape": ({"datatype": "BYTES", "data": []}, b"", BadRequest, "not a list of whole numbers"),
    "shape of a number": (files(shape=-1), b"", BadRequest, "not a list of whole numbers"),
    "shape of texts": (files(shape=["1"]), b"", BadRequest, "not a list of whole numbers"),
    "negative shape": (files(shape=[-1]), b"", BadRequest, "not a list of whole numbers"),
    "shape of booleans": (files("", shape=[True]), b"", BadRequest, "not a list of whole numbers"),
    "no dimensions": (files("", shape=[]), b"", BadRequest, "send BYTES of shape [N]"),
    "files in rows": (files("", "", shape=[1, 2]), b"", BadRequest, "send BYTES of shape [N]"),
    "pixels of another size": (pixels([], [1, 3, 3, 3]), b"", BadRequest, "UINT8 of shape [N, 2, 2, 3] for pixels"),
    "one image without its dimension": (pixels([], [2, 2, 3]), b"", BadRequest, "UINT8 of shape [N, 2, 2, 3]"),
    "channels first": (pixels([], [1, 3, 2, 2]), b"", BadRequest, "UINT8 of shape [N, 2, 2, 3]"),
    "another datatype": (pixels([]) | {"datatype": "FP32"}, b"", BadRequest, "datatype 'FP32' and shape [2, 2, 2, 3]"),
    "no datatype": ({"shape": [1], "data": []}, b"", BadRequest, "datatype None"),
    "a list as datatype": (files("") | {"datatype": ["BYTES"]}, b"", BadRequest, "datatype ['BYTES']"),
    "no images": (files(), b"", BadRequest, "no image"),
    "no pixels": (pixels([], [0, 2, 2, 3]), b"", BadRequest, "no image"),
    "too many files": (files(*[""] * 4), b"", PayloadTooLarge, "4 images and the limit is 3"),
    "too many pixels": (pixels([], [4, 2, 2, 3]), b"", PayloadTooLarge, "the limit is 3"),
    "a shape beyond all bounds": (files(shape=[HUGE]), b"", PayloadTooLarge, "the limit is 3"),
    "a dimension beyond all bounds": (pixels([], [1, HUGE, 2, 3]), b"", BadRequest, "send BYTES"),
    "no data": ({"shape": [1], "datatype": "BYTES"}, b"", BadRequest, "neither a list named data"),
    "data of a text": (files(shape=[1]) | {"data": "abc"}, b"", BadRequest, "neither a list named data"),
    "fewer files than its shape": (files("", shape=[2]), b"", BadRequest, "has 1 values and its shape [2] is one of 2"),
    "fewer values than its shape": (pixels([1, 2]), b"", BadRequest, "has 2 values"),
    "more values than its shape": (pixels([1] * 25), b"", BadRequest, "has 25 values"),
    "a value of 256": (pixels([256] * 24), b"", BadRequest, "whole numbers from 0 to 255"),
    "a negative value": (pixels([-1] * 24), b"", BadRequest, "whole numbers from 0 to 255"),
    "fractions": (pixels([0.5] * 24), b"", BadRequest, "whole numbers from 0 to 255"),
    "digits in texts": (pixels(["1"] * 24), b"", BadRequest, "whole numbers from 0 to 255"),
    "a long text among numbers": (pixels([1] * 23 + ["x" * 10**6]), b"", BadRequest, "whole numbers from 0 to 255"),
    "half nested": (pixels([[1], 2]), b"", BadRequest, "has 2 values"),
    "fewer bytes than announced": (binary(files(shape=[1]), 9), b"12345678", BadRequest, "8 bytes follow the JSON"),
    "more bytes than announced": (binary(files(shape=[1]), 7), b"12345678", BadRequest, "binary_data_size is 7"),
    "a size of text": (binary(files(shape=[1]), "8"), b"12345678", BadRequest, "binary_data_size is '8'"),
    "a size of true": (binary(files(shape=[1]), True), b"1", BadRequest, "binary_data_size is True"),
    "bytes that end in a length": (binary(files(shape=[1]), 2), b"\1\0", BadRequest, "its length before it"),
    "bytes that end in a file": (binary(files(shape=[1]), 5), b"\2\0\0\0x", BadRequest, "its length before it"),
    "a length beyond all bounds": (binary(files(shape=[1]), 4), b"\xff" * 4, BadRequest, "its length before it"),
    "more elements than its shape": (binary(files(shape=[1]), 8), bytes(8), BadRequest, "8 bytes are not 1 elements"),
    "fewer elements than its shape": (binary(files(shape=[3]), 8), bytes(8), BadRequest, "are not 3 elements"),
    "fewer bytes than pixels": (binary(pixels(None), 2), b"12", BadRequest, "has 2 values"),
}


@pytest.mark.parametrize(("tensor", "tail", "kind", "fragment"), BAD.values(), ids=BAD)
def test_a_tensor_that_contradicts_itself(tensor: Any, tail: bytes, kind: type[RequestError], fragment: str) -> None:
    with pytest.raises(kind) as caught:
        read(tensor, tail)
    message = str(caught.value)
    assert fragment in message
    assert message.endswith(".")
    assert len(message) < 300


def test_binary_outputs() -> None:
    assert to_binary(["tench", "", "é"], "BYTES") == with_lengths(b"tench", b"", "é".encode())
    assert to_binary([0.5, 1], "FP32") == struct.pack("<2f", 0.5, 1)
    assert to_binary([True, False], "BOOL") == b"\1\0"
