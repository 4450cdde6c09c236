"""Tensors of the Open Inference Protocol v2, as JSON and in its binary extension: images in, answers out.

In JSON a tensor's values stand in `data`, flat or nested, bytes as base64. In the binary extension they follow the JSON
document, which then holds only `binary_data_size`: little-endian, row by row, and before each element of BYTES its
length in four bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np

from handler.answers import COLUMNS, Answer
from handler.card import Task
from handler.encodings import from_base64
from handler.errors import BadRequest
from handler.operations import ImageInput
from handler.parameters import shown
from handler.protocols.torchserve import check_count
from handler.settings import Settings

Datatype = Literal["BYTES", "FP32", "BOOL"]
DATATYPES: dict[type, Datatype] = {str: "BYTES", float: "FP32", bool: "BOOL"}
OUTPUTS = {column.name: DATATYPES[column.type] for column in COLUMNS[Answer] if not column.is_list}

LENGTH = struct.Struct("<I")


def read_images(tensor: Any, binary: bytes, settings: Settings, side: int) -> tuple[ImageInput, ...]:
    """Read the images of one input tensor; `binary` is what follows the JSON document.

    BYTES of shape [N] or [N, 1] holds encoded files, UINT8 of shape [N, side, side, 3] pixels that go to the model
    as they are: RGB, 0 to 255. Raises BadRequest if the tensor contradicts itself or is neither of the two, and
    PayloadTooLarge past `max_images`; invalid base64 is an error of its image alone.
    """
    if not isinstance(tensor, dict):
        raise BadRequest('An input is not an object: send {"name": ..., "shape": ..., "datatype": ..., "data": ...}.')
    shape = _shape_of(tensor)
    datatype = tensor.get("datatype")
    if datatype == "BYTES" and shape[1:] in ([], [1]) and shape:
        check_count(shape[0], settings)
        return _binary_files(binary, shape[0]) if _is_binary(tensor, binary) else _base64_files(tensor, shape)
    if datatype == "UINT8" and shape[1:] == [side, side, 3]:
        check_count(shape[0], settings)
        values = binary if _is_binary(tensor, binary) else _uint8_values(tensor, shape)
        _check_size(len(values), shape)
        return tuple(np.frombuffer(values, np.uint8).reshape(shape))
    raise BadRequest(
        f"The input has datatype {shown(datatype)} and shape {shown(shape)}: send BYTES of shape [N] for files, "
        f"or UINT8 of shape [N, {side}, {side}, 3] for pixels."
    )


def _shape_of(tensor: dict[str, Any]) -> list[int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise BadRequest("The input's shape is not a list of whole numbers: send [N] with N images.")
    return shape


def _is_binary(tensor: dict[str, Any], binary: bytes) -> bool:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return False
    if type(size) is not int or size != len(binary):
        raise BadRequest(
            f"The input's binary_data_size is {shown(size)} and {len(binary):,} bytes follow the JSON: send as many "
            "as it says, and the length of the JSON as the header Inference-Header-Content-Length."
        )
    return True


def _check_size(found: int, shape: list[int]) -> None:
    expected = math.prod(shape)
    if found != expected:
        raise BadRequest(
            f"The input has {found:,} values and its shape {shape} is one of {expected:,}: send as many as it says."
        )


def _flat(tensor: dict[str, Any], shape: list[int]) -> list[Any]:
    values = tensor.get("data")
    if not isinstance(values, list):
        raise BadRequest("The input has neither a list named data nor the parameter binary_data_size: send either.")
    for _ in shape[1:]:
        if all(isinstance(value, list) for value in values):
            values = list(chain.from_iterable(values))
    _check_size(len(values), shape)
    return values


def _base64_files(tensor: dict[str, Any], shape: list[int]) -> tuple[ImageInput, ...]:
    return tuple(
        from_base64(value, f"element {i} of the input")
        if isinstance(value, str)
        else BadRequest(f"Element {i} of the input is not a text: send the photo as base64.")
        for i, value in enumerate(_flat(tensor, shape))
    )


def _uint8_values(tensor: dict[str, Any], shape: list[int]) -> bytes:
    # bytes() takes whole numbers from 0 to 255 and nothing else; numpy would cut fractions off, read digits in texts,
    # and make a long text among numbers an array of gigabytes.
    try:
        return bytes(_flat(tensor, shape))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"The input is not of whole numbers from 0 to 255 ({error}): send pixels as UINT8.") from error


def _binary_files(binary: bytes, count: int) -> tuple[ImageInput, ...]:
    files = []
    end = 0
    for _ in range(count):
        start = end + LENGTH.size
        end = start + LENGTH.unpack_from(binary, end)[0] if start <= len(binary) else start
        files.append(binary[start:end])
    if end != len(binary):
        raise BadRequest(
            f"The input's {len(binary):,} bytes are not {count} elements: send each with its length before it, four "
            "bytes, little-endian."
        )
    return tuple(files)


def to_binary(values: Sequence[Any], datatype: Datatype) -> bytes:
    """Write a tensor's values, flat, in the binary extension."""
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(LENGTH.pack(len(text)) + text for text in texts)
    return np.asarray(values, "<f4" if datatype == "FP32" else np.bool_).tobytes()


def write_outputs(
    answers: list[dict[str, Any]], binary: Mapping[str, bool], top_k: int, task: Task
) -> tuple[list[dict[str, Any]], bytes]:
    """Write the outputs that `binary` names, each as JSON or as binary data; returns the tensors and that data."""
    tensors, data = [], b""
    for name, is_binary in binary.items():
        shape, values = _values(name, answers, top_k, task)
        tensor: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name], "shape": shape}
        if is_binary:
            written = to_binary(values, OUTPUTS[name])
            tensor["parameters"] = {"binary_data_size": len(written)}
            data += written
        else:
            tensor["data"] = values
        tensors.append(tensor)
    return tensors, data


def _values(name: str, answers: list[dict[str, Any]], top_k: int, task: Task) -> tuple[list[int], list[Any]]:
    """Shape and flat values of an output: [N, top_k] if several predictions an image were asked for, else [N].

    A multi-label model's are [N, most classes on one of the images]; a row with fewer ends in empty ones.
    """
    if task == "multi-label" and name != "recognized":
        rows = [[prediction[name] for prediction in answer["predictions"]] for answer in answers]
        width = max(map(len, rows))
        padding = 0.0 if OUTPUTS[name] == "FP32" else ""
        return [len(answers), width], [value for row in rows for value in [*row, *[padding] * (width - len(row))]]
    if name == "recognized" or top_k == 1:
        # Bytes cannot be null: an image that is not recognized has an empty class.
        return [len(answers)], ["" if answer[name] is None else answer[name] for answer in answers]
    return [len(answers), top_k], [prediction[name] for answer in answers for prediction in answer["predictions"]]
