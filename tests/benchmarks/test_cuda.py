"""What of the GPU's benchmark needs no GPU, and one short run where there is one."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks import cuda
from benchmarks.cuda import NO_GPU, Figures, draw, eager, flop_per_image, measure
from benchmarks.results import Spread
from densenet_serving.console import run
from handler.engines.torch import load_module

CPU = torch.device("cpu")


def make_figures() -> Figures:
    return Figures(
        gpu="A card",
        torch="2.13.0",
        commit="abc1234",
        model="densenet121",
        engine={"engine": "torch", "precision": "f16", "device": "cuda:0", "threads": 2},
        gflop_per_image=5.67,
        matmul_tflop_per_second=Spread(567.0, 560.0, 570.0),
        limit=100_000.0,
        rates={
            "engine": {1: Spread(500.0, 490.0, 510.0), 32: Spread(12_500.0, 12_000.0, 13_000.0)},
            "eager f32": {1: Spread(50.0, 49.0, 51.0), 32: Spread(1_500.0, 1_400.0, 1_600.0)},
        },
    )


def test_without_a_gpu_it_says_so_and_is_content(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.cuda", "no-such.mar"])
    with pytest.raises(SystemExit) as ended:
        run(cuda.cuda)
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err) == (0, "", NO_GPU + "\n")


def test_densenet_needs_5_7_gflop(densenet_folder: Path) -> None:
    assert flop_per_image(load_module(densenet_folder, CPU), 224) == pytest.approx(5.67e9, rel=0.01)


def test_eager_slices_a_large_batch(stand_in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.engines.MAX_BATCH", 2)
    assert eager(load_module(stand_in_folder, CPU), CPU)(np.zeros((3, 224, 224, 3), np.uint8)).shape == (3, 1000)


def test_the_table_compares_with_eager_and_with_the_card() -> None:
    written = io.StringIO()
    Console(file=written, width=120).print(draw(make_figures()))
    text = written.getvalue()
    assert "densenet121 in f16 on A card" in text
    assert "567 (560-570) TFLOP/s" in text
    assert "100,000 images/s" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["32", "12,500", "(12,000-13,000)", "1,500", "(1,400-1,600)", "12.5%"] in rows


@pytest.mark.skipif(not torch.cuda.is_available(), reason="This machine has no GPU that PyTorch can use.")
def test_a_short_run_on_a_gpu(densenet_folder: Path) -> None:
    figures = measure(densenet_folder, torch.device("cuda", 0), rounds=1, seconds=0.0)
    assert figures.gflop_per_image == pytest.approx(5.67, rel=0.01)
    assert set(figures.rates["engine"]) == set(figures.rates["eager f32"]) == {1, 8, 32, 128}
