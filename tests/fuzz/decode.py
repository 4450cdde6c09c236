"""Bytes to pixels under libFuzzer: python -m tests.fuzz.decode CORPUS [-max_total_time=600 ...]

Whatever the bytes are, the road up to the model gives either the crop or a RequestError. Anything else that is raised,
and an input that takes longer than libFuzzer's -timeout, is written to -artifact_prefix and ends the run with a status.
"""

from __future__ import annotations

import sys
import warnings

import atheris

with atheris.instrument_imports(include=["handler", "PIL"]):
    import numpy as np
    from PIL import Image

    from handler.card import Preprocessing
    from handler.errors import RequestError
    from handler.images import pixels_of
    from handler.memory import limit_growth
    from handler.settings import Settings
    from tests.errors import check_message

    Image.init()  # or Pillow imports its formats when it first needs them, and libFuzzer cannot see into them

# Limits that a file of a few thousand bytes can pass; the code that checks them is the same.
LIMITS = {"max_image_bytes": 100_000, "max_image_pixels": 1_000_000}
SETTINGS = (Settings(**LIMITS), Settings(**LIMITS, jpeg_decode="scaled"))  # type: ignore[arg-type]
SPEC = Preprocessing(resize=255, crop=224, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_one_input(data: bytes) -> None:
    is_jpeg = data.startswith(b"\xff\xd8")
    for settings in SETTINGS if is_jpeg else SETTINGS[:1]:  # no other format is scaled
        try:
            pixels = pixels_of(data, SPEC, settings)
        except RequestError as error:
            check_message(str(error))
        else:
            assert pixels.shape == (SPEC.crop, SPEC.crop, 3)
            assert pixels.dtype == np.uint8


def main() -> None:
    warnings.simplefilter("ignore")  # Pillow's, on files that it reads all the same
    limit_growth(Settings().decode_memory)  # as a decoder process is limited
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
