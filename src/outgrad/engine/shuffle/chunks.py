"""The one place where rows and columns move: chunks are put into a larger or smaller array, gradients too."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Array, Chunk, ChunkList, Table
from outgrad.data.outline import Frame
from outgrad.data.positions import Index, Span, compact, places_of, positions
from outgrad.data.rows import merge
from outgrad.engine.shuffle.copy_rows import copy_rows
from outgrad.labels.tables import unique_rows
from outgrad.task import task
from outgrad.tree import fold


class Order(Enum):
    """How the gradient rows of a result are ordered."""

    KEPT = "kept"
    """As they come: for rows that keep their order, and are put behind each other."""
    FOLLOWING = "following"
    """After their samples; the rows of one sample keep their order."""
    MERGED = "merged"
    """Rows that agree are one; sorted, except where all patches agree."""
    SORTED = "sorted"
    """Rows that agree are one; all are sorted."""
    DESCENDING = "descending"
    """After their samples; the rows of one sample from the largest to the smallest."""


Rows = Index | range
"""Positions; neighbours as a range."""


class Patch(NamedTuple):
    """A chunk; the row of the result for each of its rows, and the column for each column.

    −1 stands for a row or column that is left out, None for all in their order. With ``source`` only these
    rows of the chunk are used, and ``rows`` are where they go.
    """

    chunk: Chunk
    rows: Rows | None = None
    columns: Index | None = None
    source: Index | None = None

    def everywhere(self) -> Index:
        """Where every row of the chunk goes."""
        assert self.rows is not None, "all rows stay where they are"
        if self.source is None:
            return np.asarray(self.rows)
        places = np.full(len(self.chunk.values), -1, dtype=np.int32)
        places[self.source] = self.rows
        return places

    def used(self) -> tuple[Index | None, Rows]:
        """Which rows are used (None: all), and where these go."""
        if self.source is None or self.rows is None:
            return _used(self.rows, len(self.chunk.values))
        return self.source, self.rows


def place(
    frame: Frame, size: int, patches: Sequence[Patch], order: Order, fill: complex | float = 0
) -> Chunk:
    """Put patches into a chunk of ``size`` rows; what no patch covers is ``fill``.

    Patches do not overlap. A gradient row goes where its sample goes, and its columns with those of the
    values; its own gradients follow by the same function.
    """
    gradients = {
        name: _gradient(name, below, [p for p in patches if name in p.chunk.gradients], order, fill)
        for name, below in frame.gradients.items()
    }
    return Chunk(_values(frame, size, patches, fill), gradients)


def take(chunk: Chunk, index: Index) -> Chunk:
    """Take rows ``index`` of a chunk, each at most once; gradient rows go with their samples."""
    order = Order.KEPT if (np.diff(index) > 0).all() else Order.FOLLOWING
    return place(frame_of(chunk), len(index), [Patch(chunk, places_of(index, len(chunk.values)))], order)


def frame_of(chunk: Chunk) -> Frame:
    """The shape of a chunk apart from its rows."""

    def make(own: Chunk, gradients: dict[str, Frame]) -> Frame:
        dimensions = 0 if own.table is None else own.table.shape[1]
        return Frame(own.values.shape[1:], own.values.dtype, dimensions, gradients)

    return fold(make, chunk)


def _gradient(
    name: str, frame: Frame, patches: Sequence[Patch], order: Order, fill: complex | float
) -> Chunk:
    moved = [_moved_table(patch.chunk.gradients[name].rows, patch) for patch in patches]
    tables = [table for table, _ in moved]
    if not tables:
        tables = [np.zeros((0, frame.dimensions), np.int32)]
    union, places = _ordered(tables, order, patches)
    below = [
        Patch(patch.chunk.gradients[name], where, patch.columns, kept)
        for patch, where, (_, kept) in zip(patches, places, moved, strict=False)
    ]
    placed = place(frame, len(union), below, order, fill)
    return Chunk(placed.values, placed.gradients, union)


def _moved_table(table: Table, patch: Patch) -> tuple[Table, Index | None]:
    """Labels of the gradient rows whose sample stays, with its new number; and which rows these are."""
    if patch.rows is None:
        return table, None
    if isinstance(patch.rows, range) and patch.source is None:
        out = table.copy()
        out[:, 0] += patch.rows.start
        return out, None
    parents = np.take(patch.everywhere(), table[:, 0])
    stays = parents >= 0
    kept = None if stays.all() else np.flatnonzero(stays)
    out = table.copy() if kept is None else np.take(table, kept, axis=0)
    out[:, 0] = parents if kept is None else parents[kept]
    return out, kept


def _ordered(tables: Sequence[Table], order: Order, patches: Sequence[Patch]) -> tuple[Table, Sequence[Rows]]:
    """The rows of the result, and where each row of each table lies among them."""
    if order is Order.MERGED:
        if all(np.array_equal(table, tables[0]) for table in tables[1:]):
            return tables[0], [range(len(tables[0]))] * len(tables)
        return merge(tables, [None if p.rows is None else np.asarray(p.rows) for p in patches])
    table = tables[0] if len(tables) == 1 else np.concatenate(tables)
    edges = [0, *accumulate(len(own) for own in tables)]
    if order is Order.SORTED:
        ordered, where = unique_rows(table)
    elif (found := _behind(table, order)) is None:
        return table, [range(start, stop) for start, stop in pairwise(edges)]
    else:
        ordered, where = found
    return ordered, [where[start:stop] for start, stop in pairwise(edges)]


def _behind(table: Table, order: Order) -> tuple[Table, npt.NDArray[np.int64]] | None:
    """The rows in an order, and where each went; None if they are in this order."""
    if order is Order.DESCENDING:
        picks = np.lexsort((*(-table[:, :0:-1].T.astype(np.int64)), table[:, 0]))
    elif order is Order.FOLLOWING and (table[1:, 0] < table[:-1, 0]).any():
        picks = np.argsort(table[:, 0], kind="stable")
    else:
        return None
    where = np.empty(len(picks), dtype=np.int64)
    where[picks] = np.arange(len(picks))
    return table[picks], where


def _values(frame: Frame, size: int, patches: Sequence[Patch], fill: complex | float) -> Array:
    shape = (size, *frame.trailing)
    width = frame.trailing[-1]
    rows = [patch.used() for patch in patches]
    columns = [_used(patch.columns, width) for patch in patches]
    covered = sum(len(r) * len(c) for (_, r), (_, c) in zip(rows, columns, strict=True))
    out = np.empty(shape, frame.dtype) if covered == size * width else np.full(shape, fill, frame.dtype)
    for patch, (source, to_rows), (picks, to_columns) in zip(patches, rows, columns, strict=True):
        values = patch.chunk.values
        if picks is not None:
            values = np.take(values if source is None else values[source], picks, axis=-1)
            source = None
        at_columns = _as_slice(to_columns)
        if isinstance(at_columns, slice):
            copy_rows(out[..., at_columns], _as_slice(to_rows), values, source)
        else:
            _write(out, values if source is None else values[source], to_rows, at_columns)
    return out


def _used(where: Rows | None, count: int) -> tuple[Index | None, Rows]:
    """Which of ``count`` rows or columns are used (None: all), and where these go."""
    if where is None:
        return None, range(count)
    if isinstance(where, range):
        return None, where
    stays = where >= 0
    if stays.all():
        return None, where
    source = np.flatnonzero(stays)
    return source, where[source]


def _write(out: Array, values: Array, rows: Rows, columns: Index) -> None:
    at_rows = _as_slice(rows)
    if isinstance(at_rows, slice):
        out[at_rows, ..., columns] = values
    else:  # two lists of positions have to stand side by side to span a grid
        grid = np.moveaxis(out, -1, 1)
        grid[at_rows[:, None], columns[None, :]] = np.moveaxis(values, -1, 1)


def _as_slice(rows: Rows) -> Index | slice:
    """Neighbouring positions as a slice, which is copied much faster."""
    found = compact(rows)
    return slice(found.start, found.stop) if isinstance(found, range) else found


Recipe = tuple[Frame, int, Sequence[tuple[Any, ...]], Order, complex | float]
"""A chunk to be put together: frame, rows, and ``(part, place, taken, placed, columns)`` of each source."""


@task(copies=True, holds_inputs=True)
def place_part(recipes: Sequence[Recipe], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are put together from rows and columns of other chunks."""
    return [
        place(frame, size, [_patch(parts[number], *rest) for number, *rest in sources], order, fill)
        for frame, size, sources, order, fill in recipes
    ]


def _patch(part: ChunkList, at: int, taken: Span | None, placed: Span, columns: Span | None) -> Patch:
    chunk = part[at]
    columns = None if columns is None else positions(columns)
    if taken is None or (isinstance(taken, tuple) and taken == (0, len(chunk.values))):
        return Patch(chunk, range(*placed) if isinstance(placed, tuple) else placed, columns)
    rows = np.full(len(chunk.values), -1, dtype=np.int32)
    rows[positions(taken)] = positions(placed)
    return Patch(chunk, rows, columns)


@task(copies=True)
def cut_rows(at: int, taken: Span, part: ChunkList) -> ChunkList:
    """Cut the rows out of one chunk that another one needs."""
    return [take(part[at], positions(taken))]
