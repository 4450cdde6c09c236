"""Build a self-contained, reproducible archive: checkpoint -> network -> exported graph -> packed .mar."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.status import Status

from densenet_serving.build import pack, precision
from densenet_serving.build.archives import (
    FIRST_VERSION,
    BuildCommand,
    file_name,
    notice_of_weights,
    refuse_another_model,
)
from densenet_serving.build.precision import MIN_AGREEMENT, ArchivePrecision
from densenet_serving.console import err, note, warn
from densenet_serving.errors import CommandError
from densenet_serving.files import check_space
from densenet_serving.options import MODEL, STAND_IN, Activation
from handler.card import Interpolation, ModelCard, Preprocessing, Task
from handler.errors import ArchiveError

if TYPE_CHECKING:  # torch takes seconds to import, which only building an archive has to wait for
    from densenet_serving.build.networks import Architecture

NAMED_WEIGHTS = ("auto", "official", "embedded")  # every other source is a path or a URL
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
COPIES = 10  # of the checkpoint's bytes in the temporary folder, at most: two graphs in four stages, and some reserve
SMALLEST_CROP = 32  # pixels: every network halves the side five times
OWN = "the architecture's"
Channels = tuple[float, float, float]


def option(help: str, default: bool | str = True, **limits: Any) -> Any:  # noqa: A002 - as typer.Option has it
    """Describe an option; `default` says what None stands for."""
    return typer.Option(help=help, show_default=default, **limits)


@dataclass(frozen=True)
class ModelSpec:
    """A model to build an archive of: the options of `densenet archive`; None stands for one that was not given.

    Raises CommandError for a name or a version that TorchServe cannot have in its addresses.
    """

    model: Annotated[str, option("The name to serve it under.")] = MODEL
    weights: Annotated[str, option("auto, official, embedded, a path, or a URL with --sha256.")] = "auto"
    sha256: Annotated[str | None, option("The digest that the checkpoint must have.")] = None
    labels: Annotated[
        Path | None, option("The class names, as JSON or one on each line.", "the checkpoint's own, or ImageNet's")
    ] = None
    version: Annotated[str, option("The model's version.")] = FIRST_VERSION
    precision: Annotated[
        ArchivePrecision | None,
        option(
            "The arithmetic, instead of that in handler/model-config.yaml. f32 is exact. int8 is faster and changes "
            "some answers. auto also prints how fast each one is here, and how many answers it changes."
        ),
    ] = None
    calibrate: Annotated[
        Path | None, option("Photos that int8 is calibrated on and compared with f32.", "a package's")
    ] = None
    min_agreement: Annotated[
        float | None,
        option("The share of photos to which int8 must give f32's first class.", str(MIN_AGREEMENT), min=0, max=1),
    ] = None
    architecture: Annotated[
        str | None, option(f"The network: {MODEL} or {STAND_IN}.", f"that of the name, or {MODEL}")
    ] = None
    activation: Annotated[Activation | None, option("What is between the layers of a head with several.", "relu")] = (
        None
    )
    task: Annotated[
        Task | None,
        option(
            "single-label: a photo has one class (softmax). multi-label: it may have several (sigmoid).",
            "what the checkpoint shows, or single-label",
        ),
    ] = None
    weights_key: Annotated[
        str | None, option("The weights to take from a checkpoint with several, such as model_ema.")
    ] = None
    # The fields of Preprocessing.
    resize: Annotated[int | None, option("Pixels of a photo's shorter side.", OWN)] = None
    crop: Annotated[int | None, option("Pixels of the square that is cut out.", OWN)] = None
    interpolation: Annotated[Interpolation | None, option("How to resize.", OWN)] = None
    mean: Annotated[Channels | None, option("Of red, green and blue, 0 to 1.", OWN)] = None
    std: Annotated[Channels | None, option("Of red, green and blue, 0 to 1.", OWN)] = None

    def __post_init__(self) -> None:
        for what, name in (("model", self.model), ("version", self.version)):
            if not re.fullmatch(NAME, name):
                raise CommandError(
                    f"The {what} {name!r} cannot be part of an address: use letters, digits, '.', '-' and '_', and "
                    "one of the first two at its beginning."
                )

    def command(self, checkpoint: Path, model_store: Path, *, stand_in: bool) -> BuildCommand:
        """Return the command that builds the same from any folder: what `auto` or a relative path found may change."""
        given = {field.name.replace("_", "-"): getattr(self, field.name) for field in fields(self)}
        if self.weights == "auto" and self.model == STAND_IN:
            given["weights"] = None  # its package brings them
        elif self.weights not in NAMED_WEIGHTS[1:] and "://" not in self.weights:
            given["weights"] = checkpoint
        return BuildCommand.of(given | {"model-store": model_store}, stand_in=stand_in)


def build_model(spec: ModelSpec, model_store: Path, *, overwrite: bool = False, chosen: bool = True) -> Path:
    """Find a model's weights, build its archive, say which weights it has and return its path. Raises CommandError.

    An archive of another model is replaced only if `overwrite` is true, and appears whole or not at all. `chosen` is
    false if no person chose this model: it stands in for one without weights.
    """
    try:  # before a download and the minutes that a build takes
        model_store.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=model_store).close()
    except OSError as error:
        raise CommandError(
            f"The model store {model_store} cannot be written to ({error.strerror}): choose another --model-store."
        ) from error
    precision.check(spec.precision, spec.calibrate, spec.min_agreement)
    from densenet_serving.build import weights

    architecture = architecture_of(spec)
    checkpoint = weights.find(spec.weights, spec.sha256, architecture)
    target = model_store / file_name(spec.model, spec.version)
    if not overwrite:
        refuse_another_model(target, spec.model, spec.version, checkpoint.card.sha256)
    with (
        tempfile.TemporaryDirectory(prefix="densenet-archive-") as name,
        Status(f"Reading {checkpoint.path.name}", console=err) as status,
    ):
        folder = Path(name)
        needed = COPIES * checkpoint.path.stat().st_size
        check_space(folder, needed, "Building the archive", "set TMPDIR to another folder")
        card = pack.stage(spec, architecture, checkpoint, folder / "staged", status)
        status.update("Packing the archive")
        pack.pack(spec, folder / "staged", target)
    spec.command(checkpoint.path, model_store, stand_in=not chosen).write(target)
    note(f"Built {target} ({target.stat().st_size / 1e6:.0f} MB), weights from {checkpoint.card.source}.")
    if said := notice_of_weights(checkpoint.card):
        warn(said)
    if checkpoint.own:
        note(notice_of_own(card, assumed=spec.task is None))
    return target


def architecture_of(spec: ModelSpec) -> Architecture:
    """Return the architecture that a spec names, by default that of its model's name or DenseNet-121.

    The preprocessing that the spec has wins over the architecture's own. Raises CommandError if it cannot be, or if a
    name that is no architecture's has no checkpoint of its own: it may be a misspelled architecture.
    """
    from densenet_serving.build.networks import ARCHITECTURES

    name = spec.architecture or (spec.model if spec.model in ARCHITECTURES else MODEL)
    if name not in ARCHITECTURES or (spec.model not in ARCHITECTURES and spec.weights == "auto"):
        raise CommandError(
            f"There is no architecture {name if name not in ARCHITECTURES else spec.model}: choose "
            f"{' or '.join(ARCHITECTURES)}. To serve a model of your own, name its checkpoint with --weights."
        )
    if spec.model in ARCHITECTURES and spec.model != name:
        raise CommandError(f"{spec.model} is another architecture than {name}: give the model a name of its own.")
    own = ARCHITECTURES[name]
    given = {field.name: getattr(spec, field.name) for field in fields(Preprocessing)}
    try:
        changed = replace(own.preprocessing, **{name: value for name, value in given.items() if value is not None})
    except ArchiveError as error:
        raise CommandError(f"{error} Give other values for --resize, --crop, --mean or --std.") from error
    if changed.crop < SMALLEST_CROP:
        raise CommandError(f"--crop {changed.crop} leaves no feature map: give at least {SMALLEST_CROP} pixels.")
    return replace(own, preprocessing=changed)


def notice_of_own(card: ModelCard, assumed: bool) -> str:
    """Say what a person's own checkpoint does not: what its outputs mean, if `assumed`, and its preprocessing."""
    if card.task == "multi-label":
        said = "Its task is multi-label: a photo gets every class whose own probability (sigmoid) reaches the threshold"
        other = "a photo has one class only, build with --task single-label"
    else:
        said = f"Its task is single-label: a photo gets one of {card.classes} classes (softmax)"
        other = "a photo may have several (the head was trained with a sigmoid), build with --task multi-label"
    spec = card.preprocessing
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    changed = f"; if {other}" if assumed else ""
    return (
        f"{said}{changed}.\nPhotos are prepared with --resize {spec.resize} --crop {spec.crop} --interpolation "
        f"{spec.interpolation} --mean {mean} --std {std}: if it was trained with others (PyTorch's transfer-learning "
        "tutorial resizes to 256), build with those."
    )
