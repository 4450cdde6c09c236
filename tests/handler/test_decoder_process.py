"""Real decoder processes: what they answer, and that nothing but the image at fault is lost when one ends."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.card import Preprocessing
from handler.decoder_process import ANSWER, SIDES, Process
from handler.decoding import Decoder
from handler.errors import BadRequest, PayloadTooLarge, ServiceUnavailable, UnsupportedMediaType
from handler.images import decode, pixels_of, sides
from handler.settings import Settings
from tests.fuzz.corpus import FORMATS as MODES
from tests.fuzz.corpus import in_mode
from tests.handler.hostile import arithmetic_jpeg
from tests.handler.test_images_pillow import exif
from tests.pictures import encode, noise

SPEC = Preprocessing(resize=20, crop=16, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SETTINGS = Settings(decode_seconds=5)
GOOD = encode(noise(), "PNG")


@pytest.fixture(scope="module")
def process() -> Process:
    return Process(SETTINGS, SPEC)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(Settings(decode_seconds=0.3), SPEC, threads=1)


def expected(data: bytes) -> bytes:
    return pixels_of(data, SPEC, SETTINGS).tobytes()


FRAMES = [noise(32, 32, seed) for seed in range(3)]
OTHERS = {
    "MPO": encode(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]),
    "without end": encode(noise(), progressive=True)[:-2],
    "lzma": encode(noise(), "TIFF", compression="lzma"),
}
FILES = OTHERS | {
    f"{name} {mode}": encode(
        in_mode(noise(60, 40), mode), name, **({} if name in ("BMP", "GIF") else {"exif": exif(6)})
    )
    for name, modes in MODES.items()
    for mode in modes
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_it_answers_what_this_process_would(process: Process, data: bytes) -> None:
    """It can open no file any more: what it needs of Python and Pillow is there before the first image."""
    assert process.ask(b"pixel", data, 5).outcome == expected(data)
    assert process.ask(b"sides", data, 5).outcome == SIDES.pack(*sides(data, SETTINGS))


@pytest.mark.parametrize(
    ("data", "kind"), [(b"", BadRequest), (b"text", UnsupportedMediaType), (GOOD[:60], BadRequest)]
)
def test_a_refusal_keeps_its_status_and_its_words(process: Process, data: bytes, kind: type[Exception]) -> None:
    outcome = process.ask(b"pixel", data, 5).outcome
    assert type(outcome) is kind
    with pytest.raises(kind) as here:
        decode(data, SETTINGS, SPEC.resize)
    assert str(outcome) == str(here.value)


def test_past_its_time_an_image_is_refused_and_the_next_one_decoded(decoder: Decoder) -> None:
    slow, fast = arithmetic_jpeg(7_000), encode(Image.new("RGB", (20, 20), "red"), "PNG")
    for requests in ([[slow], [fast]], [[fast]]):
        last = decoder.decode(requests).images[-1]
        assert isinstance(last, np.ndarray)
        assert last[0, 0].tolist() == [255, 0, 0]
    images, seconds = decoder.decode([[slow]])
    assert type(images[0]) is PayloadTooLarge
    assert "0.3 s" in str(images[0])
    assert seconds == [0.3]


def test_past_its_memory_an_image_is_refused_and_the_process_goes_on() -> None:
    process = Process(Settings(decode_seconds=5, decode_memory=50_000_000), SPEC)
    large = encode(Image.new("RGBA", (5_000, 5_000), (1, 2, 3, 77)), "PNG")
    for _ in range(2):
        outcome = process.ask(b"pixel", large, 5).outcome
        assert type(outcome) is PayloadTooLarge
        assert "memory" in str(outcome)
        assert process.ask(b"pixel", GOOD, 5).outcome == expected(GOOD)
    assert process.alive


@pytest.mark.parametrize("ended_by", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_the_400_of_its_image(decoder: Decoder, ended_by: signal.Signals) -> None:
    decoder.wait_until_ready()
    decoder._processes[-1]._process.send_signal(ended_by)
    first, second = (decoder.decode([[GOOD]]).images[0] for _ in range(2))
    assert type(first) is BadRequest
    assert ended_by.name in str(first)
    assert isinstance(second, np.ndarray)


def test_one_that_does_not_answer_is_ended() -> None:
    process = Process(Settings(decode_seconds=0.05), SPEC)
    process.greeting()
    process._process.send_signal(signal.SIGSTOP)
    assert type(process.ask(b"pixel", GOOD, 1).outcome) is ServiceUnavailable
    assert not process.alive


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.pack(200, 0, 5) + b"12345",
        ANSWER.pack(999, 0, 1) + b"x",
        ANSWER.pack(200, 0, 1 << 40),
        ANSWER.pack(413, float("nan"), 2) + b"\xff\xff",
    ],
    ids=["size", "status", "huge", "text"],
)
def test_an_answer_that_makes_no_sense_is_the_error_of_its_image(answer: bytes) -> None:
    """A codec in which a file runs code of its own can say anything."""
    process = Process(Settings(decode_seconds=0.2), SPEC)
    process.greeting()
    mine, theirs = socket.socketpair()
    with mine, theirs:
        process._socket = mine
        theirs.sendall(answer)
        found = process.ask(b"pixel", GOOD, 1)
    process.end()
    assert isinstance(found.outcome, BadRequest | PayloadTooLarge)
    assert found.seconds <= 1


def test_it_ends_with_its_worker() -> None:
    process = Process(SETTINGS, SPEC)
    process.greeting()
    process._socket.close()
    assert process._process.wait(60) == 0


def test_it_is_told_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    process = Process(SETTINGS, SPEC)
    process.greeting()
    assert b"SECRET" not in Path(f"/proc/{process._process.pid}/environ").read_bytes()
