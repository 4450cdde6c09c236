"""Explain a prediction: the class's weights times the last feature map, painted over the image.

Both networks end in global average pooling and one linear layer. (For a checkpoint whose head has hidden layers this
does not hold, and its model card says that there are no heatmaps.) The gradient of a class's logit with respect to the
feature map is then that class's row of the layer divided by the map's area, so this is exactly Grad-CAM
(Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391) without its backward pass.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.errors import ArchiveError

HEAD_FILE = "head.npy"

# Control points of matplotlib's "inferno", evenly spaced: dark where nothing was seen, and ordered by lightness, so
# that it reads the same in gray and for the color-blind.
COLORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32)


class Head:
    """The final linear layer's weights (classes, channels), float32."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        self._weights = weights

    @classmethod
    def read(cls, folder: Path, classes: int) -> Head:
        """Map the file into memory: its pages are read when a class is first explained.

        Raises ArchiveError if the archive has none or another number of classes.
        """
        try:
            weights = np.load(folder / HEAD_FILE, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{HEAD_FILE} cannot be read ({error}): rebuild the archive.") from error
        if weights.ndim != 2 or len(weights) != classes:
            raise ArchiveError(f"{HEAD_FILE} has the shape {weights.shape}, not one row a class: rebuild the archive.")
        return cls(weights)

    def activation(self, features: NDArray[np.float32], index: int | list[int]) -> NDArray[np.float32]:
        """Locate a class, or each of a list, in one image's features (channels, h, w); returns (..., h, w), 0 to 1.

        All values of a class are 0 if nothing in the image speaks for it.
        """
        summed = np.maximum(np.tensordot(self._weights[index], features, axes=1), 0)
        peak = summed.max(axis=(-2, -1), keepdims=True)
        activation: NDArray[np.float32] = np.divide(summed, peak, out=summed, where=peak > 0)
        return activation


def rounded(activations: NDArray[np.float32]) -> list[list[list[float]]]:
    """Write activations (n, h, w) as rows of three decimals, finer than the steps of their colors."""
    maps: list[list[list[float]]] = activations.astype(np.float64).round(3).tolist()
    return maps


def paint(pixels: NDArray[np.uint8], activation: NDArray[np.float32], overlay: float) -> bytes:
    """Blend the activation in color over the image the model saw, (side, side, 3); returns a PNG.

    `overlay` is the share of the colors, from 0 (the image alone) to 1 (the colors alone).
    """
    height, width = pixels.shape[:2]
    upsampled = Image.fromarray(activation).resize((width, height), Image.Resampling.BILINEAR)
    blended = (1 - overlay) * pixels + overlay * color(np.asarray(upsampled))
    buffer = io.BytesIO()
    Image.fromarray(np.round(blended).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def color(activation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colors (h, w, 3), 0 to 255, of an activation (h, w), 0 to 1."""
    stops = np.linspace(0, 1, len(COLORS))
    return np.stack([np.interp(activation, stops, channel) for channel in COLORS.T], axis=-1).astype(np.float32)
