"""Draw photos/s by hosts: python -m benchmarks.bulk.plot benchmarks/results/bulk.json writes bulk.svg beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.bulk.contenders import Paced

HOSTS = {"one-host": "1 host,\n1 core", "two-hosts": "2 hosts,\n1 core each", "bulk": "1 machine,\n2 cores"}


def draw(results: list[Paced], path: Path) -> None:
    """Write an SVG: rates with and without the start, and as a line what two cores do without Ray."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"  # the same figures give the same file
    from matplotlib import pyplot

    found = {result.name: result for result in results}
    shown = [found[name] for name in HOSTS if name in found]
    figure, axis = pyplot.subplots(figsize=(6.5, 4.2), layout="constrained")
    _bars(axis, [result.working_rate or 0 for result in shown], "without the start", "#c1121f", -0.2)
    _bars(axis, [result.rate for result in shown], "with the start", "#6c757d", 0.2)
    if ceiling := found.get("no-server"):
        axis.axhline(ceiling.working_rate, color="black", lw=1, ls=":", label="2 cores without Ray or a server")
    axis.set_xticks(range(len(shown)), [f"{HOSTS[result.name]},\n{result.photos:,} photos" for result in shown])
    axis.set(ylabel="photos per second")
    axis.margins(y=0.12)
    axis.grid(axis="y", alpha=0.2)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axis: Any, rates: list[float], label: str, color: str, shift: float) -> None:
    bars = axis.bar([i + shift for i in range(len(rates))], rates, width=0.38, color=color, label=label)
    axis.bar_label(bars, fmt="%.1f")


if __name__ == "__main__":
    file = Path(sys.argv[1])
    runs = json.loads(file.read_text())["runs"]
    draw([Paced(**result) for run in runs for result in run["results"]], file.with_suffix(".svg"))
