"""Latency against load, one line a contender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lineup import CEILING, CEILING_INT8
from benchmarks.report import Run
from benchmarks.results import CLIENTS, Outcome, Step

# Two of a kind share a color: dashed as documented (ours: in f32), solid with our engine (or tuned).
COLORS = {
    "ours": "#c1121f",
    "ours-f32": "#c1121f",
    "ours-int8": "#d6249f",
    "tutorial": "#6c757d",
    "gunicorn": "#6c757d",
    "torchserve": "#e08e00",
    "torchserve-best": "#e08e00",
    "litserve": "#7b2cbf",
    "litserve-engine": "#7b2cbf",
    "mosec": "#0077b6",
    "mosec-engine": "#0077b6",
    "bentoml": "#2a9d4e",
    "bentoml-engine": "#2a9d4e",
    "ray": "#8d5a3b",
    "ray-engine": "#8d5a3b",
}
DASHED = ("ours-f32", "tutorial", "torchserve", "litserve", "mosec", "bentoml", "ray")
CEILINGS = {CEILING: ("ceiling, no server", "black"), CEILING_INT8: ("ceiling, no server, int8", "#d6249f")}
PANELS = (("p50_ms", "p50"), ("p99_ms", "p99"))


def draw(run: Run, folder: Path) -> list[Path]:
    """Write latest.png and latest.svg into `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5.6), sharey=True, layout="constrained")
    for axis, (value, title) in zip(axes, PANELS, strict=True):
        for outcome in run.outcomes:
            _draw_contender(axis, outcome, run.main_photo, value)
        _draw_ceilings(axis, run)
        axis.set(xscale="log", yscale="log", title=f"{title} at {', '.join(map(str, CLIENTS))} clients")
        axis.set_xlabel("requests per second")
        axis.grid(which="both", alpha=0.2)
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda number, _: f"{number:g}"))
            scale.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axis.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes[0].set_ylabel("latency, ms")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    where = f"{run.main_photo} photo, {run.machine['cores']} cores, {run.machine['cpu']}"
    figure.suptitle(f"{where}; hollow: open loop at a part of peak")
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "latest.png", folder / "latest.svg"]
    for path in files:
        figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
    return files


def _draw_contender(axis: Any, outcome: Outcome, photo: str, value: str) -> None:
    if outcome.name in CEILINGS:
        return
    points = _points(outcome, [Step("closed", photo, clients) for clients in CLIENTS], value)
    if not points:
        return
    color = COLORS.get(outcome.name, "black")
    style = "--" if outcome.name in DASHED else "-"
    width = 2.5 if outcome.name == "ours" else 1.3
    axis.plot(*zip(*points, strict=True), style, marker="o", color=color, lw=width, ms=5, label=outcome.title)
    steps = [Step("open", photo, percent) for percent in (50, 80)]
    if hollow := _points(outcome, steps, value):
        axis.plot(*zip(*hollow, strict=True), "o", mfc="none", color=color, ms=7)


def _draw_ceilings(axis: Any, run: Run) -> None:
    key = Step("closed", run.main_photo, max(CLIENTS)).key
    for outcome in run.outcomes:
        if outcome.name in CEILINGS and (rate := outcome.spread(key, "requests_per_second")):
            label, color = CEILINGS[outcome.name]
            axis.axvline(rate.median, color=color, lw=1, ls=":", label=label)


def _points(outcome: Outcome, steps: list[Step], value: str) -> list[tuple[float, float]]:
    pairs = [(outcome.spread(step.key, "requests_per_second"), outcome.spread(step.key, value)) for step in steps]
    return [(rate.median, latency.median) for rate, latency in pairs if rate and latency and rate.median]
