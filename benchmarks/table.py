"""What a benchmark is, and the table that its results make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Measured, Way, in_turns

OURS = "outgrad"


@dataclass(frozen=True)
class Benchmark:
    """Some ways to do one thing: ours, and those of peers, with the ratio to a peer that we aim at."""

    name: str
    ways: Mapping[str, Way]
    targets: Mapping[str, float] = field(default_factory=dict)
    """Time of ours divided by that of the peer: at most this."""
    memory_target: float | None = None
    """Extra bytes of ours divided by those of the peer: at most this."""
    result_bytes: int | None = None
    """Bytes of the result, to compare extra memory with."""


@dataclass(frozen=True)
class Row:
    """A line of the table: ours against one peer."""

    name: str
    peer: str
    seconds: float
    peer_seconds: float
    ratio: float
    target: float | None
    extra_mb: float
    peer_extra_mb: float
    result_mb: float | None = None

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.ratio <= self.target


def run(benchmark: Benchmark, repeats: int) -> list[Row]:
    """Measure one benchmark."""
    found = in_turns(benchmark.ways, repeats)
    return [_row(benchmark, found, peer) for peer in benchmark.ways if peer != OURS]


def _row(benchmark: Benchmark, found: Mapping[str, Measured], peer: str) -> Row:
    ours, theirs = found[OURS], found[peer]
    return Row(
        benchmark.name,
        peer,
        ours.seconds,
        theirs.seconds,
        ours.seconds / theirs.seconds,
        benchmark.targets.get(peer),
        ours.extra_bytes / 1e6,
        theirs.extra_bytes / 1e6,
        None if benchmark.result_bytes is None else benchmark.result_bytes / 1e6,
    )


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain data, with whether the target is met."""
    return [{**asdict(row), "met": row.met} for row in rows]


HEADER = """| what | peer | seconds | peer's | ratio | target | extra MB | peer's | result MB |
|---|---|---:|---:|---:|---:|---:|---:|---:|"""


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    return "\n".join([HEADER, *map(_line, rows)])


def _line(row: Mapping[str, Any]) -> str:
    target = "" if row["target"] is None else f"{row['target']:g}" + ("" if row["met"] else " ✗")
    result = "" if row["result_mb"] is None else f"{row['result_mb']:.0f}"
    return (
        f"| {row['name']} | {row['peer']} | {row['seconds']:.3f} | {row['peer_seconds']:.3f} "
        f"| {row['ratio']:.2f} | {target} | {row['extra_mb']:.0f} | {row['peer_extra_mb']:.0f} | {result} |"
    )


Group = Callable[[float, Path], Sequence[Benchmark]]
"""Makes the data of some benchmarks, scaled, in a scratch folder if they are files, and the benchmarks."""
