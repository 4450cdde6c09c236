"""The engine on a GPU beside eager PyTorch in f32, and beside what the card can compute at all.

python -m benchmarks.cuda ARCHIVE
"""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import commit
from benchmarks.report import show
from benchmarks.results import Spread
from densenet_serving.build.archives import Archive
from densenet_serving.console import err, note, out, run
from handler.card import ModelCard
from handler.cores import Threads, available_cores
from handler.engines import slices
from handler.engines.torch import CudaEngine, load_module
from handler.settings import Settings

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

NO_GPU = "This machine has no GPU that PyTorch can use, so nothing was measured."
BATCHES = (1, 8, 32, 128)  # the last goes in slices of MAX_BATCH
MATMUL_SIDE = 8192
MATMULS = 20


@dataclass(frozen=True)
class Figures:
    """Rates are images a second, spread over the rounds; `limit` is the card's own."""

    gpu: str
    torch: str
    commit: str
    model: str
    engine: dict[str, str | int]
    gflop_per_image: float
    matmul_tflop_per_second: Spread
    limit: float
    rates: dict[str, dict[int, Spread]]  # contender, batch


def cuda(
    archive: Annotated[Path, typer.Argument(help="The archive whose model runs.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds the figures are taken over.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.0, help="Of each measurement.")] = 1.0,
) -> None:
    """Measure the engine on the first GPU: images a second at several batch sizes."""
    if not torch.cuda.is_available():
        note(NO_GPU)
        return
    Archive.read(archive)
    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(archive) as mar:
            mar.extractall(name)
        figures = measure(Path(name), torch.device("cuda", 0), rounds, seconds)
    if out.is_terminal:
        out.print(draw(figures))
    else:
        print(json.dumps(asdict(figures)))


def measure(folder: Path, device: torch.device, rounds: int, seconds: float) -> Figures:
    """Measure both contenders and the card by turns, so that a change of its clock meets all of them."""
    card, cores = ModelCard.read(folder), available_cores()
    engine = CudaEngine(folder, Settings(), Threads(cores, cores), device)
    contenders: dict[str, Infer] = {
        "engine": lambda batch: engine.infer(batch)[0],
        "eager f32": eager(load_module(folder, device), device),
    }
    taken: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in BATCHES} for name in contenders}
    matmuls = []
    for _ in track(range(rounds), "Measuring", console=err, transient=True):
        matmuls.append(matmul_rate(device) / 1e12)
        for batch in BATCHES:
            for name, infer in contenders.items():
                taken[name][batch].append(rate(infer, batch, card.preprocessing.crop, seconds))
    flop = flop_per_image(load_module(folder, torch.device("cpu")), card.preprocessing.crop)
    matmul = over_rounds(matmuls)
    return Figures(
        gpu=torch.cuda.get_device_name(device),
        torch=torch.__version__,
        commit=commit(),
        model=card.name,
        engine=engine.description,
        gflop_per_image=flop / 1e9,
        matmul_tflop_per_second=matmul,
        limit=matmul.median * 1e12 / flop,
        rates={name: {batch: over_rounds(rates) for batch, rates in each.items()} for name, each in taken.items()},
    )


def eager(model: nn.Module, device: torch.device) -> Infer:
    """The exported graph op by op with PyTorch's defaults, which let convolutions use TF32."""

    def infer(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            parts = [model(torch.from_numpy(part).to(device))[0].cpu().numpy() for part in slices(batch)]
        return np.concatenate(parts)

    return infer


def rate(infer: Infer, batch: int, side: int, seconds: float) -> float:
    """Images a second from host memory to host memory, one batch after another, after one that does not count."""
    images = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    infer(images)
    done, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or not done:
        infer(images)
        done += batch
    return done / elapsed


def matmul_rate(device: torch.device) -> float:
    """FLOP a second of a large bf16 product: what the card's tensor cores reach in practice."""
    left, right = (torch.randn(MATMUL_SIDE, MATMUL_SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    left @ right
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    for _ in range(MATMULS):
        left @ right
    torch.cuda.synchronize(device)
    return MATMULS * 2 * MATMUL_SIDE**3 / (time.perf_counter() - began)


def flop_per_image(model: nn.Module, side: int) -> float:
    """Count the convolutions' and the last layer's operations, two for a multiplication and its addition."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros((1, side, side, 3), dtype=torch.uint8))
    return float(counter.get_total_flops())


def over_rounds(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def draw(figures: Figures) -> Table:
    """One row a batch size: images a second, and the share of the card's limit that the engine reaches."""
    table = Table(title=title(figures), box=None, title_justify="left")
    contenders = list(figures.rates)
    for heading in ("Batch", *(f"{name}, images/s" for name in contenders), "Of the limit"):
        table.add_column(heading, justify="right")
    for batch, ours in figures.rates["engine"].items():
        cells = [show(figures.rates[name][batch]) for name in contenders]
        table.add_row(str(batch), *cells, f"{ours.median / figures.limit:.1%}")
    return table


def title(figures: Figures) -> str:
    return (
        f"{figures.model} in {figures.engine['precision']} on {figures.gpu}, torch {figures.torch}\n"
        f"A bf16 product reaches {show(figures.matmul_tflop_per_second)} TFLOP/s, which at "
        f"{figures.gflop_per_image:.2f} GFLOP an image is {figures.limit:,.0f} images/s."
    )


if __name__ == "__main__":
    run(cuda)
