"""Strategies for what TorchServe may hand to the handler: rows and headers, most of them good or bent in one place."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

from tests.colours import BAD, BLUE, GREEN, RED
from tests.fuzz import corpus

Request = tuple[dict[str, Any], dict[str, Any]]  # a row and its headers

# What TorchServe says of the address: /predictions, /explanations, KServe's, and /models/NAME/invoke.
OWN, EXPLAIN = {"explain": "False", "url_path": ""}, {"explain": "True", "url_path": ""}
KSERVE, INVOKE = {"explain": "False"}, dict[str, str]()
JSON_TYPE = {"Content-Type": "application/json"}
FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=x", "file": {"content-type": "image/png"}}
JSON_LENGTH = "Inference-Header-Content-Length"
PIXELS = (224, 224, 3)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("x" * 10_000)
anything = st.recursive(
    scalars | st.just(10**4200),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=6,
)


def mostly(good: st.SearchStrategy[Any], other: st.SearchStrategy[Any], times: int = 9) -> st.SearchStrategy[Any]:
    """Draw the good `times` times as often as the other."""
    return st.sampled_from([good] * times + [other]).flatmap(lambda chosen: chosen)


@st.composite
def bent(draw: st.DrawFn, source: bytes) -> bytes:
    """Cut a file short, or change some of its bytes."""
    data = bytearray(source[: draw(st.integers(0, len(source)))] if draw(st.booleans()) else source)
    for _ in range(draw(st.integers(1, 3)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


SEEDS = [BAD, b"", *(content for _, content in corpus.seeds())]
seeds = st.sampled_from(SEEDS)
images = mostly(st.sampled_from((RED, GREEN, BLUE)), seeds | seeds.flatmap(bent) | st.binary(max_size=40), times=4)
encoded = images.map(lambda image: base64.b64encode(image).decode())

PARAMETERS = ("top_k", "Top-K", "min_probability", "MIN-PROBABILITY", "Class-Id", "overlay")
good_parameters = st.fixed_dictionaries(
    {}, optional={"top_k": st.integers(1, 3), "min_probability": st.sampled_from([0, 0.5, 1])}
)
parameters = mostly(good_parameters, st.dictionaries(st.sampled_from(PARAMETERS), scalars) | anything)


def counts(most: int = 3) -> st.SearchStrategy[int]:
    return mostly(st.integers(1, most), st.sampled_from([0, most + 1]))


def listed(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return counts().flatmap(lambda count: st.lists(items, min_size=count, max_size=count))


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """Replace, add or leave out one thing of a document."""
    name = draw(st.sampled_from([*document, "parameters", "outputs", "id", "x"]))
    if draw(st.booleans()):
        return {key: value for key, value in document.items() if key != name}
    return document | {name: draw(anything)}


def sometimes_changed(documents: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return documents.flatmap(lambda document: mostly(st.just(document), changed(document), times=4))


predicts = st.fixed_dictionaries(
    {"instances": listed(mostly(encoded.map(lambda text: {"b64": text}), anything))},
    optional={"parameters": parameters},
)
output = st.fixed_dictionaries(
    {"name": mostly(st.sampled_from(["class_id", "class_name", "probability", "recognized"]), scalars)},
    optional={"parameters": mostly(st.booleans().map(lambda flag: {"binary_data": flag}), anything)},
)


@st.composite
def infers(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """A request of v2 and the binary data behind its JSON."""
    count = draw(counts())
    if draw(st.booleans()):
        datatype, shape = "BYTES", [count]
        files = draw(st.lists(images, min_size=count, max_size=count))
        data: list[Any] = [base64.b64encode(file).decode() for file in files]
        binary = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    else:
        datatype, shape = "UINT8", [count, *PIXELS]
        binary = bytes([draw(st.integers(0, 255))]) * (count * 224 * 224 * 3)
        data = list(binary)
        if draw(st.booleans()) and data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(-9, 300) | anything)
    tensor: dict[str, Any] = {"name": "image", "datatype": datatype, "shape": shape}
    if draw(st.booleans()):
        tensor["parameters"] = {"binary_data_size": len(binary)}
        binary = draw(mostly(st.just(binary), bent(binary[:5000]), times=4))
    else:
        tensor["data"], binary = data, b""
    rest = st.fixed_dictionaries(
        {"inputs": st.just([draw(sometimes_changed(st.just(tensor)))])},
        optional={
            "id": st.text(max_size=5),
            "outputs": st.lists(output, max_size=3),
            "parameters": mostly(parameters, st.booleans().map(lambda flag: {"binary_data_output": flag}), times=1),
        },
    )
    return draw(sometimes_changed(rest)), binary


@st.composite
def json_bodies(draw: st.DrawFn, document: Any, binary: bytes = b"") -> Request:
    """A document as TorchServe hands it on: decoded, or as the bytes that it could not decode."""
    if not binary and draw(st.booleans()):
        return {"body": document}, dict(JSON_TYPE)
    text = json.dumps(document).encode()
    body = bytearray(draw(mostly(st.just(text + binary), bent(text + binary))))
    if not (binary or draw(st.booleans())):
        return {"body": body}, dict(JSON_TYPE)
    length = draw(mostly(st.just(str(len(text))), st.integers(-1, 400).map(str) | st.text(max_size=5)))
    return {"body": body}, {JSON_LENGTH: length}


raw_bodies: st.SearchStrategy[Request] = st.tuples(images.map(lambda image: {"body": bytearray(image)}), st.just({}))
files = st.dictionaries(
    st.sampled_from(["file", "data", "body", "other"]) | st.text(max_size=8),
    mostly(images, st.text(max_size=20) | anything),
    max_size=4,
)
fields = mostly(good_parameters, st.dictionaries(st.sampled_from(PARAMETERS), scalars))
forms: st.SearchStrategy[Request] = st.tuples(
    st.builds(lambda some, more: some | more, files, fields), st.just(FORM_TYPE)
)
extra_headers = st.dictionaries(
    st.sampled_from([*PARAMETERS, "Accept", "Content-Type", "content-type", JSON_LENGTH, "X"]),
    st.sampled_from(
        ["2", "0.5", "n1", "application/json", "image/jpeg", "image/png", "application/x-www-form-urlencoded"]
    )
    | st.text(max_size=10),
    max_size=2,
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """One request of any protocol, usually to the address where it belongs."""
    kind = draw(st.sampled_from(["raw", "form", "json", "v1", "v2", "v2", "v2", "any"]))
    address = KSERVE if kind in ("v1", "v2") else draw(st.sampled_from([OWN, OWN, EXPLAIN]))
    if kind == "raw":
        row, headers = draw(raw_bodies)
    elif kind == "form":
        row, headers = draw(forms)
    elif kind == "v2":
        row, headers = draw(json_bodies(*draw(infers())))
    else:
        row, headers = draw(json_bodies(draw(anything if kind == "any" else sometimes_changed(predicts))))
    address = draw(mostly(st.just(address), st.sampled_from([OWN, EXPLAIN, KSERVE, INVOKE])))
    return row, headers | draw(mostly(st.just({}), extra_headers)) | address
