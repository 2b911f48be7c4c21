"""Ranges of rows and the storage grid: which shards a part owns, and which it shares.

A part holds some rows of some arrays. The shards that lie completely inside a range of its rows are its own;
those left over at either end lie in shards that a seam task puts together. This is only arithmetic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from outgrad.data.chunk import Array
from outgrad.data.requests import End, Seam
from outgrad.errors import ArchiveError
from outgrad.storage.zarr.format import ArraySpec


class ArrayRange(NamedTuple):
    """Rows [start, stop) of a Zarr array."""

    array: int
    start: int
    stop: int


def merge_ranges(ranges: Iterable[ArrayRange]) -> list[ArrayRange]:
    """Sort, and unite what touches or overlaps; empty ones vanish."""
    merged: list[ArrayRange] = []
    for each in sorted(each for each in ranges if each.start < each.stop):
        if merged and merged[-1].array == each.array and each.start <= merged[-1].stop:
            merged[-1] = merged[-1]._replace(stop=max(merged[-1].stop, each.stop))
        else:
            merged.append(each)
    return merged


def owned(rows: ArrayRange, spec: ArraySpec) -> tuple[int, int]:
    """The rows [first, last) of the complete shards in a range; the last of an array may be short.

    Without any, both are ``stop``: all rows are left over before it.
    """
    size = spec.shard_rows
    first = -(-rows.start // size) * size
    last = rows.stop if rows.stop == spec.shape[0] else rows.stop // size * size
    return (first, last) if first < last else (rows.stop, rows.stop)


def find_seams(parts: Sequence[Sequence[ArrayRange]], arrays: Sequence[ArraySpec]) -> list[Seam]:
    """List the shards that no part owns alone; ``parts`` hold merged ranges."""
    shared: dict[tuple[int, int], list[int]] = {}
    for number, part in enumerate(parts):
        for rows in part:
            spec = arrays[rows.array]
            first, last = owned(rows, spec)
            for shard in (*spec.shards_of(rows.start, first), *spec.shards_of(last, rows.stop)):
                sharing = shared.setdefault((rows.array, shard), [])
                if number not in sharing[-1:]:
                    sharing.append(number)
    sizes = [spec.shard_rows * spec.row_bytes for spec in arrays]
    return [
        Seam(array, shard, tuple(sharing), sizes[array]) for (array, shard), sharing in sorted(shared.items())
    ]


@dataclass(frozen=True)
class ConsecutiveRows:
    """Consecutive rows of an array, held as several NumPy arrays."""

    array: int
    starts: list[int]
    rows: list[Array]

    @property
    def range(self) -> ArrayRange:
        return ArrayRange(self.array, self.starts[0], self.starts[-1] + len(self.rows[-1]))

    def take(self, start: int, stop: int) -> Array:
        """Rows [start, stop); a view if one array holds them all."""
        taken = []
        index = bisect_right(self.starts, start) - 1
        while index < len(self.rows) and self.starts[index] < stop:
            first = self.starts[index]
            taken.append(self.rows[index][max(0, start - first) : stop - first])
            index += 1
        return taken[0] if len(taken) == 1 else np.concatenate(taken)


def join_consecutive(arrays: Iterable[tuple[int, int, Array]]) -> list[ConsecutiveRows]:
    """Sort ``(array, first row, rows)``, and join those that follow each other without a gap."""
    joined: list[ConsecutiveRows] = []
    end = None
    for array, start, rows in sorted((each for each in arrays if len(each[2])), key=lambda each: each[:2]):
        if end != (array, start):
            joined.append(ConsecutiveRows(array, [], []))
        joined[-1].starts.append(start)
        joined[-1].rows.append(rows)
        end = (array, start + len(rows))
    return joined


def shared_ends(rows: ConsecutiveRows, spec: ArraySpec) -> list[End]:
    """The rows that lie in shared shards, copied so that the rest can be freed."""
    whole = rows.range
    first, last = owned(whole, spec)
    ends = ((whole.start, first), (last, whole.stop))
    return [End(whole.array, start, rows.take(start, stop).copy()) for start, stop in ends if start < stop]


def assemble(seam: Seam, spec: ArraySpec, ends: Iterable[End]) -> Array:
    """Put together the rows of one shared shard from the ends of all parts that share it."""
    lower, upper = spec.shard_range(seam.shard)
    shard = np.empty((upper - lower, *spec.shape[1:]), spec.dtype)
    filled = np.zeros(upper - lower, dtype=np.bool_)
    for end in ends:
        start, stop = max(end.start, lower), min(end.start + len(end.rows), upper)
        if end.array == seam.array and start < stop:
            shard[start - lower : stop - lower] = end.rows[start - end.start : stop - end.start]
            filled[start - lower : stop - lower] = True
    missing = int(len(filled) - filled.sum())
    if missing:
        raise ArchiveError(
            f"save: shard {seam.shard} of {spec.path} lacks {missing} of {upper - lower} rows, which "
            "the tasks that write its parts did not return; nothing was changed: run the writing tasks again"
        )
    return shard
