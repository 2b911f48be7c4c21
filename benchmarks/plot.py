"""Plots of time and memory against the size of the data, from the results of ``benchmarks.out_of_core``.

python -m benchmarks.out_of_core --sizes 1,4,10,40 --json sizes.json
python -m benchmarks.plot sizes.json docs/_static/sizes.svg
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

Rows = list[dict[str, Any]]


def plot(rows: Rows, path: Path) -> None:
    """Draw seconds and peak memory of the workers against gigabytes, a line for each number of workers.

    Of runs of the same size the median of the times and the largest peak are drawn.
    """
    mpl.rcParams["svg.hashsalt"] = "outgrad"  # the same numbers give the same file
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for workers in sorted({row["workers"] for row in rows}):
        own = [row for row in rows if row["workers"] == workers]
        sizes = sorted({row["gigabytes"] for row in own})
        same = [[row for row in own if row["gigabytes"] == size] for size in sizes]
        label = f"{workers} worker{'s' if workers > 1 else ''}"
        seconds = [median(row["job_seconds"] for row in runs) for runs in same]
        peaks = [max(row["peak_mib"] for row in runs) for runs in same]
        times.loglog(sizes, seconds, "o-", label=label)
        memory.semilogx(sizes, peaks, "o-", label=f"largest peak, {label}")
    _lines(memory, rows)
    times.set(xlabel="values and gradients, GB", ylabel="time of the job, s")
    memory.set(xlabel="values and gradients, GB", ylabel="memory of a worker, MiB", ylim=(0, None))
    _round_ticks(times.yaxis, [1, 2, 5, 10, 20, 50, 100])
    for axes in (times, memory):
        _round_ticks(axes.xaxis, [1, 2, 4, 10, 20, 40])
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def _round_ticks(axis: Axis, places: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_locator(NullLocator())


def _lines(axes: Axes, rows: Rows) -> None:
    axes.axhline(max(row["projected_mib"] for row in rows), color="0.4", ls="--", label="projected before")
    axes.axhline(max(row["limit_mib"] for row in rows), color="0.4", ls=":", label="limit of the worker")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read results, which may be in several files, and write one picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="files written with --json")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    plot([row for path in options.results for row in json.loads(path.read_text())], options.picture)


if __name__ == "__main__":
    main()
