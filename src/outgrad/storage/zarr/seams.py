"""Runs of rows and the storage grid: which storage chunks a part owns, and which it shares.

A part holds some rows of some arrays. The storage chunks that lie wholly inside a run of its rows are its
own; the rows left over at either end lie in chunks that a seam task puts together. This is only arithmetic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.data.requests import End, Seam
from outgrad.errors import ArchiveError
from outgrad.storage.zarr.format import ArraySpec

Array = npt.NDArray[Any]


class Rows(NamedTuple):
    """Rows [start, stop) of an array."""

    array: int
    start: int
    stop: int


def merge_rows(rows: Iterable[Rows]) -> list[Rows]:
    """Sort, and unite what touches or overlaps; empty ones vanish."""
    merged: list[Rows] = []
    for each in sorted(each for each in rows if each.start < each.stop):
        if merged and merged[-1].array == each.array and each.start <= merged[-1].stop:
            merged[-1] = merged[-1]._replace(stop=max(merged[-1].stop, each.stop))
        else:
            merged.append(each)
    return merged


def owned(rows: Rows, spec: ArraySpec) -> tuple[int, int]:
    """First and last row of the whole storage chunks in a run; the last chunk of an array may be short.

    Without any, both are ``stop``: all rows are left over before it.
    """
    size = spec.chunk_rows
    first = -(-rows.start // size) * size
    last = rows.stop if rows.stop == spec.shape[0] else rows.stop // size * size
    return (first, last) if first < last else (rows.stop, rows.stop)


def find_seams(parts: Sequence[Sequence[Rows]], arrays: Sequence[ArraySpec]) -> list[Seam]:
    """List the storage chunks that no part owns alone; ``parts`` hold merged runs."""
    shared: dict[tuple[int, int], list[int]] = {}
    for number, part in enumerate(parts):
        for rows in part:
            for chunk in _shared_chunks(rows, arrays[rows.array]):
                sharing = shared.setdefault((rows.array, chunk), [])
                if number not in sharing[-1:]:
                    sharing.append(number)
    sizes = [spec.chunk_rows * spec.row_bytes for spec in arrays]
    return [
        Seam(array, chunk, tuple(sharing), sizes[array]) for (array, chunk), sharing in sorted(shared.items())
    ]


def _shared_chunks(rows: Rows, spec: ArraySpec) -> list[int]:
    first, last = owned(rows, spec)
    return [
        chunk
        for start, stop in ((rows.start, first), (last, rows.stop))
        for chunk in spec.chunks_of(start, stop)
    ]


@dataclass(frozen=True)
class Stretch:
    """Consecutive rows of an array, held as several NumPy arrays."""

    array: int
    starts: list[int]
    rows: list[Array]

    @property
    def span(self) -> Rows:
        return Rows(self.array, self.starts[0], self.starts[-1] + len(self.rows[-1]))

    def take(self, start: int, stop: int) -> Array:
        """Rows [start, stop); a view if one array holds them all."""
        found = []
        at = bisect_right(self.starts, start) - 1
        while at < len(self.rows) and self.starts[at] < stop:
            begin = self.starts[at]
            found.append(self.rows[at][max(0, start - begin) : stop - begin])
            at += 1
        return found[0] if len(found) == 1 else np.concatenate(found)


def stretches(pieces: Iterable[tuple[int, int, Array]]) -> list[Stretch]:
    """Join ``(array, first row, rows)`` that follow each other."""
    joined: list[Stretch] = []
    end = None
    for array, start, rows in sorted(
        (piece for piece in pieces if len(piece[2])), key=lambda piece: piece[:2]
    ):
        if end != (array, start):
            joined.append(Stretch(array, [], []))
        joined[-1].starts.append(start)
        joined[-1].rows.append(rows)
        end = (array, start + len(rows))
    return joined


def left_over(stretch: Stretch, spec: ArraySpec) -> list[End]:
    """The rows of a stretch that lie in shared storage chunks, copied so that the rest can be freed."""
    span = stretch.span
    first, last = owned(span, spec)
    ends = ((span.start, first), (last, span.stop))
    return [End(span.array, start, stretch.take(start, stop).copy()) for start, stop in ends if start < stop]


def assemble(seam: Seam, spec: ArraySpec, ends: Iterable[End]) -> Array:
    """Put together the rows of one shared storage chunk from the ends of all parts that share it."""
    lower, upper = spec.chunk_range(seam.chunk)
    whole = np.empty((upper - lower, *spec.shape[1:]), spec.dtype)
    filled = np.zeros(upper - lower, dtype=np.bool_)
    for end in ends:
        start, stop = max(end.start, lower), min(end.start + len(end.rows), upper)
        if end.array == seam.array and start < stop:
            whole[start - lower : stop - lower] = end.rows[start - end.start : stop - end.start]
            filled[start - lower : stop - lower] = True
    missing = int(len(filled) - filled.sum())
    if missing:
        raise ArchiveError(
            f"storage chunk {seam.chunk} of {spec.path} lacks {missing} of {upper - lower} rows: the tasks "
            "that write its parts have not given them; nothing was changed: run the writing tasks again"
        )
    return whole
