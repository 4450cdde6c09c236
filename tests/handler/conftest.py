from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from densenet_serving.build.networks import ARCHITECTURES
from handler import classifier
from handler.classifier import ImageClassifier
from handler.cores import Threads
from handler.decoding import Decoder
from handler.engines import Engine, load_engine
from handler.engines import torch as torch_engine
from handler.preprocessing import preprocess
from handler.settings import EngineName, Settings
from tests.colours import ColourEngine, write_folder
from tests.handler.inference_requests import Asker
from tests.pictures import FITTING, photo
from tests.worker import FakeContext


@pytest.fixture(autouse=True, scope="module")
def restored_threads() -> Iterator[None]:
    """The engines in PyTorch set the number for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def graphs_loaded_once() -> Iterator[None]:
    """PyTorch takes seconds to read a graph that was exported. Who changes one copies it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_engine, "load_module", cache(torch_engine.load_module))
        yield


@pytest.fixture(autouse=True, scope="session")
def decoders_started_once() -> Iterator[None]:
    """Starting their processes takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "Decoder", cache(Decoder))
        yield


@pytest.fixture(scope="session")
def exact_densenet(densenet_folder: Path) -> Callable[[EngineName], Engine]:
    """DenseNet-121 in f32 in an engine of one's choice. Loading one takes seconds: each is loaded once."""
    settings = Settings(precision="f32")
    return cache(lambda name: load_engine(densenet_folder, replace(settings, engine=name), Threads(1, 2), None))


@pytest.fixture(scope="session")
def photos() -> NDArray[np.uint8]:
    """The photographs of FITTING as the stand-in sees them."""
    spec = ARCHITECTURES["efficientnet_lite0"].preprocessing
    return np.stack([preprocess(photo(name), spec) for name in FITTING])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ColourEngine:
    fake = ColourEngine()
    monkeypatch.setattr(classifier, "load_engine", lambda *_: fake)
    return fake


@pytest.fixture
def handler(folder: Path, engine: ColourEngine) -> ImageClassifier:
    built = ImageClassifier()
    built.initialize(FakeContext(folder))
    engine.shapes.clear()
    return built


@pytest.fixture
def ask(handler: ImageClassifier, folder: Path) -> Asker:
    return Asker(handler, folder)
