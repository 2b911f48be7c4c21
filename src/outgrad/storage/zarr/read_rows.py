"""Reading rows that lie in several arrays and segments: neighbours are read at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from outgrad.data.chunk import Array
from outgrad.storage.store import Store
from outgrad.storage.zarr.format import MIB, ArraySpec, SegmentSpec
from outgrad.storage.zarr.seams import ArrayRange, merge_ranges
from outgrad.storage.zarr.storage_chunks import allocate


class RowReader(Protocol):
    """A segment that is open."""

    @property
    def store(self) -> Store:
        """Where it is."""
        ...

    @property
    def spec(self) -> SegmentSpec:
        """What the commit says about it."""
        ...

    def read_rows(self, array: int, start: int, stop: int, *, out: Array | None = None) -> Array:
        """Read rows of an array into ``out``, or into new memory."""
        ...


IN_PLACE_BYTES = MIB
"""Rows of several segments from which on they are read into the place where they are put together."""
LAST_ROW = 2**63


class PlacedRows(NamedTuple):
    """Rows of an array of a segment, and the row at which they go into the result."""

    segment: int
    rows: ArrayRange
    into: int


class WantedArray(NamedTuple):
    """An array to be read: where its rows are, and what it is made of."""

    pieces: Sequence[PlacedRows]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def is_large(self, piece: PlacedRows) -> bool:
        """Whether a piece is read into its place; alone it is all there is, and needs none."""
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        return len(self.pieces) > 1 and (piece.rows.stop - piece.rows.start) * row_bytes >= IN_PLACE_BYTES


def read_all(segments: Sequence[RowReader], wanted: Sequence[WantedArray]) -> Iterator[Array]:
    """Yield each array that is wanted; several may be views of what was read at once."""
    neighbours = _Neighbours(segments)
    for each in wanted:
        for piece in each.pieces:
            if not each.is_large(piece):
                neighbours.add(piece)
    neighbours.read()
    for each in wanted:
        if len(each.pieces) == 1:
            yield neighbours.rows(each.pieces[0])
            continue
        out = None
        for piece in each.pieces:
            start, stop = piece.into, piece.into + piece.rows.stop - piece.rows.start
            if out is not None and each.is_large(piece):
                segments[piece.segment].read_rows(*piece.rows, out=out[start:stop])
                continue
            is_read = not each.is_large(piece)
            found = neighbours.rows(piece) if is_read else segments[piece.segment].read_rows(*piece.rows)
            # Memory is only given now: shapes that no file confirms get none.
            out = allocate(each.shape, each.dtype) if out is None else out
            out[start:stop] = found
        yield np.empty(each.shape, each.dtype) if out is None else out


def merge_by_chunks(ranges: Sequence[ArrayRange], arrays: Sequence[ArraySpec]) -> list[ArrayRange]:
    """Unite what touches, and what lies in one chunk, which would be decoded for each of them."""
    merged: list[ArrayRange] = []
    for rows in merge_ranges(ranges):
        size = arrays[rows.array].chunk_rows
        last = merged[-1] if merged else None
        if last and last.array == rows.array and rows.start // size == (last.stop - 1) // size:
            merged[-1] = last._replace(stop=max(last.stop, rows.stop))
        else:
            merged.append(rows)
    return merged


class _Neighbours:
    """Rows of segments, united where they touch, and read once."""

    def __init__(self, segments: Sequence[RowReader]) -> None:
        self._segments = segments
        self._wanted: dict[int, list[ArrayRange]] = {}
        self._read: dict[int, tuple[list[ArrayRange], list[Array]]] = {}

    def add(self, piece: PlacedRows) -> None:
        self._wanted.setdefault(piece.segment, []).append(piece.rows)

    def read(self) -> None:
        merged = {
            number: merge_by_chunks(ranges, self._segments[number].spec.arrays)
            for number, ranges in self._wanted.items()
        }
        wanted = [(number, rows) for number, ranges in merged.items() for rows in ranges]
        # Several shards are read at once already: so there are never more than a few in memory.
        small = [
            (number, rows)
            for number, rows in wanted
            if len(self._segments[number].spec.arrays[rows.array].shards_of(rows.start, rows.stop)) == 1
        ]
        found: dict[tuple[int, ArrayRange], Array] = {}
        if small:
            data = self._segments[small[0][0]].store.each(self._read_one, small)
            found.update(zip(small, data, strict=True))
        found.update((each, self._read_one(each)) for each in wanted if each not in found)
        for number, ranges in merged.items():
            self._read[number] = ranges, [found[number, rows] for rows in ranges]

    def _read_one(self, wanted: tuple[int, ArrayRange]) -> Array:
        return self._segments[wanted[0]].read_rows(*wanted[1])

    def rows(self, piece: PlacedRows) -> Array:
        merged, data = self._read[piece.segment]
        array, start, stop = piece.rows
        index = bisect_right(merged, (array, start, LAST_ROW)) - 1
        first = merged[index].start
        return data[index][start - first : stop - first]
