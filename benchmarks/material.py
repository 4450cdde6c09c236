"""What every contender is given: one seeded checkpoint, the photos, and the archives made of that checkpoint."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image, ImageOps

from densenet_serving import paths
from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.build.precision import ArchivePrecision
from densenet_serving.errors import CommandError
from densenet_serving.options import MODEL
from handler.card import ModelCard

BUILD = paths.ROOT / "build" / "bench"
CONTENDERS = Path(__file__).parent / "contenders"
SIZES = ("320x240", "720x720", "4000x3000")
JPEG_QUALITY = 90

# TorchServe's stock handler at its best on few cores: a worker a core, one thread each (OMP_NUM_THREADS), small
# batches. https://pytorch.org/serve/performance_guide.html
BEST_BATCH, BEST_DELAY_MS = 4, 10


@dataclass(frozen=True)
class Material:
    checkpoint: Path
    photos: dict[str, Path]
    model_store: Path  # our archive
    unpacked: Path  # the same, as a TorchServe worker sees it
    f32_store: Path  # our archive with precision f32
    stock_store: Path  # TorchServe's stock handler, defaults
    stock_best_store: Path
    int8: Int8 | None = None


@dataclass(frozen=True)
class Int8:
    """Our int8 archive. `agreement` is the share of photos, 0 to 1, whose first class is that of f32."""

    model_store: Path
    unpacked: Path
    agreement: float


def prepare(sizes: list[str], cores: int, int8: bool, progress: Callable[[str], None]) -> Material:
    """Make everything anew but the checkpoint, which its seed determines: handler and exporter may have changed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    progress("Making the checkpoint and the photos")
    checkpoint = make_checkpoint(BUILD / "checkpoint.pth")
    photos = {size: make_photo(size, BUILD) for size in sizes}
    progress("Building our archive")
    store = BUILD / "model_store"
    unpacked = make_archive(checkpoint, store, BUILD / "unpacked")
    make_archive(checkpoint, BUILD / "f32", BUILD / "f32_unpacked", "f32")
    quantized = make_int8(checkpoint, BUILD / "int8", progress) if int8 else None
    progress("Building the stock archives")
    best = {"minWorkers": cores, "maxWorkers": cores, "batchSize": BEST_BATCH, "maxBatchDelay": BEST_DELAY_MS}
    return Material(
        checkpoint=checkpoint,
        photos=photos,
        model_store=store,
        unpacked=unpacked,
        f32_store=BUILD / "f32",
        stock_store=make_stock_archive(checkpoint, BUILD / "stock", None),
        stock_best_store=make_stock_archive(checkpoint, BUILD / "stock_best", best),
        int8=quantized,
    )


def make_archive(checkpoint: Path, store: Path, unpacked: Path, precision: ArchivePrecision | None = None) -> Path:
    """Build our archive into `store`, unpack it, and return the folder. int8 is taken whatever agrees."""
    min_agreement = 0 if precision == "int8" else None
    spec = ModelSpec(MODEL, str(checkpoint), precision=precision, min_agreement=min_agreement)
    mar = build_model(spec, store, overwrite=True)
    with zipfile.ZipFile(mar) as members:
        members.extractall(unpacked)
    return unpacked


def make_int8(checkpoint: Path, folder: Path, progress: Callable[[str], None]) -> Int8:
    """Quantize on packaged photos: speed depends on neither photos nor weights. The agreement does."""
    progress("Building our int8 archive (minutes)")
    unpacked = make_archive(checkpoint, folder / "model_store", folder / "unpacked", "int8")
    quantization = ModelCard.read(unpacked).quantization or {}
    return Int8(folder / "model_store", unpacked, quantization["agreement_with_f32"]["int8"]["top_1"])


def make_checkpoint(path: Path) -> Path:
    """A DenseNet-121 of random weights: speed does not depend on their values."""
    import torch

    from densenet_serving.build.vision import torchvision

    if not path.exists():
        torch.manual_seed(0)
        torch.save(torchvision.models.densenet121(weights=None).state_dict(), path)
    return path


def make_photo(size: str, folder: Path) -> Path:
    """scikit-image's photograph of an astronaut (512 x 512, public domain, NASA), cut and resized to `size`."""
    from skimage import data

    width, height = parse_size(size)
    photo = ImageOps.fit(Image.fromarray(data.astronaut()), (width, height), Image.Resampling.LANCZOS)
    path = folder / f"{size}.jpg"
    photo.save(path, quality=JPEG_QUALITY)
    return path


def parse_size(size: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT. Raises CommandError."""
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise CommandError(f"{size} is no size: write it as 720x720.")
    return int(width), int(height)


def make_stock_archive(checkpoint: Path, store: Path, config: dict[str, int] | None) -> Path:
    store.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [sys.executable, "-m", "model_archiver.model_packaging", "--force"]
    command += ["--model-name", "densenet121", "--version", "1.0", "--export-path", store]
    command += ["--model-file", CONTENDERS / "stock_model.py", "--serialized-file", checkpoint]
    command += ["--handler", CONTENDERS / "stock_handler.py", "--extra-files", paths.LABELS]
    if config:
        (store / "model-config.yaml").write_text(yaml.safe_dump(config))
        command += ["--config-file", store / "model-config.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CommandError(f"torch-model-archiver failed: {(done.stderr or done.stdout).strip()}")
    return store
