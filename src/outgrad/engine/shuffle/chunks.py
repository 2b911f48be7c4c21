"""The one place where rows and columns move: chunks are put into a larger or smaller array, gradients too."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from outgrad.data.chunk import Array, Chunk, ChunkList, Table
from outgrad.data.outline import Frame
from outgrad.data.positions import Index, Span, as_range, places_of, positions
from outgrad.data.rows import merge
from outgrad.engine.shuffle.copy_rows import copy_rows
from outgrad.labels.rows import unique_rows
from outgrad.task import task
from outgrad.tree import fold


class RowOrder(Enum):
    """How the gradient rows of a result are ordered."""

    KEPT = "kept"
    """As they come: for rows that keep their order, one patch after the other."""
    FOLLOWING = "following"
    """After their samples; the rows of one sample keep their order."""
    MERGED = "merged"
    """Rows that agree are one; sorted, except where all patches agree."""
    SORTED = "sorted"
    """Rows that agree are one; all are sorted."""
    DESCENDING = "descending"
    """After their samples; the rows of one sample from the largest to the smallest."""


CompactIndex = Index | range
"""Positions; those of neighbours as a range."""


class Patch(NamedTuple):
    """A chunk; the row of the result for each of its rows, and the column for each column.

    −1 is for a row or column that is left out, None for all in their order. With ``source`` only these
    rows of the chunk are used, and ``rows`` are where they go.
    """

    chunk: Chunk
    rows: CompactIndex | None = None
    columns: Index | None = None
    source: Index | None = None

    def used(self) -> tuple[Index | None, CompactIndex]:
        """Which rows are used (None: all), and where these go."""
        if self.source is None or self.rows is None:
            return _used(self.rows, len(self.chunk.values))
        return self.source, self.rows

    def moved_rows(self, gradient: str) -> tuple[Table, Index | None]:
        """Labels of the gradient rows whose samples are used, renumbered; and which these are (None: all)."""
        table = self.chunk.gradients[gradient].rows
        if self.rows is None:
            return table, None
        if isinstance(self.rows, range) and self.source is None:
            out = table.copy()
            out[:, 0] += self.rows.start
            return out, None
        target = np.asarray(self.rows)
        if self.source is not None:
            target = np.full(len(self.chunk.values), -1, dtype=np.int32)
            target[self.source] = self.rows
        parents = np.take(target, table[:, 0])
        stays = parents >= 0
        if stays.all():
            out, kept = table.copy(), None
        else:
            kept = np.flatnonzero(stays)
            out, parents = np.take(table, kept, axis=0), parents[kept]
        out[:, 0] = parents
        return out, kept


def assemble_chunk(
    frame: Frame, size: int, patches: Sequence[Patch], order: RowOrder, fill: complex | float = 0
) -> Chunk:
    """Put patches into a chunk of ``size`` rows; what no patch covers is ``fill``.

    Patches do not overlap. A gradient row goes where its sample goes, and its columns with those of the
    values; its own gradients follow by the same function.
    """
    gradients = {
        name: _assemble_gradient(name, gradient_frame, patches, order, fill)
        for name, gradient_frame in frame.gradients.items()
    }
    return Chunk(_assembled_values(frame, size, patches, fill), gradients)


# A function of its own, so that the tables and positions of patches are gone before values are assembled.
def _assemble_gradient(
    name: str, frame: Frame, patches: Sequence[Patch], order: RowOrder, fill: complex | float
) -> Chunk:
    patches = [patch for patch in patches if name in patch.chunk.gradients]
    moved = [patch.moved_rows(name) for patch in patches]
    tables = [table for table, _ in moved] or [np.zeros((0, frame.dimensions), np.int32)]
    table, rows_of_tables = _ordered_union(tables, order, patches)
    gradient_patches = [
        Patch(patch.chunk.gradients[name], rows, patch.columns, kept)
        for patch, rows, (_, kept) in zip(patches, rows_of_tables, moved, strict=False)
    ]
    gradient = assemble_chunk(frame, len(table), gradient_patches, order, fill)
    return Chunk(gradient.values, gradient.gradients, table)


def _ordered_union(
    tables: Sequence[Table], order: RowOrder, patches: Sequence[Patch]
) -> tuple[Table, Sequence[CompactIndex]]:
    """The gradient rows of the result, and where each row of each table is among them."""
    if order is RowOrder.MERGED:
        if all(np.array_equal(table, tables[0]) for table in tables[1:]):
            return tables[0], [range(len(tables[0]))] * len(tables)
        return merge(tables, [None if p.rows is None else np.asarray(p.rows) for p in patches])
    table = tables[0] if len(tables) == 1 else np.concatenate(tables)
    ends = list(accumulate((len(rows) for rows in tables), initial=0))
    if order is RowOrder.SORTED:
        positions_of_rows: Index
        ordered, positions_of_rows = unique_rows(table)
    else:
        if order is RowOrder.DESCENDING:
            picks = np.lexsort((*(-table[:, :0:-1].T.astype(np.int64)), table[:, 0]))
        elif order is RowOrder.FOLLOWING and (table[1:, 0] < table[:-1, 0]).any():
            picks = np.argsort(table[:, 0], kind="stable")
        else:  # they are in this order
            return table, [range(start, stop) for start, stop in pairwise(ends)]
        ordered, positions_of_rows = table[picks], places_of(picks, len(picks))
    return ordered, [positions_of_rows[start:stop] for start, stop in pairwise(ends)]


def _assembled_values(frame: Frame, size: int, patches: Sequence[Patch], fill: complex | float) -> Array:
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
        at_rows, at_columns = _as_slice(to_rows), _as_slice(to_columns)
        if isinstance(at_columns, slice):
            copy_rows(out[..., at_columns], at_rows, values, source)
            continue
        if source is not None:
            values = values[source]
        if isinstance(at_rows, slice):
            out[at_rows, ..., at_columns] = values
        else:  # NumPy spans a grid only by lists of positions of neighbouring axes
            grid = np.moveaxis(out, -1, 1)
            grid[at_rows[:, None], at_columns[None, :]] = np.moveaxis(values, -1, 1)
    return out


def _used(target: CompactIndex | None, count: int) -> tuple[Index | None, CompactIndex]:
    """Which of ``count`` rows or columns are used (None: all), and where these go."""
    if target is None:
        return None, range(count)
    if isinstance(target, range):
        return None, target
    stays = target >= 0
    if stays.all():
        return None, target
    source = np.flatnonzero(stays)
    return source, target[source]


def _as_slice(positions: CompactIndex) -> Index | slice:
    """Neighbouring positions as a slice, which is copied much faster."""
    compacted = as_range(positions)
    return slice(compacted.start, compacted.stop) if isinstance(compacted, range) else compacted


def take(chunk: Chunk, index: Index) -> Chunk:
    """Take rows ``index`` of a chunk, each at most once; gradient rows go with their samples."""
    order = RowOrder.KEPT if (np.diff(index) > 0).all() else RowOrder.FOLLOWING
    return assemble_chunk(
        frame_of(chunk), len(index), [Patch(chunk, places_of(index, len(chunk.values)))], order
    )


def frame_of(chunk: Chunk) -> Frame:
    """The shape of a chunk apart from its rows."""

    def make(node: Chunk, gradients: dict[str, Frame]) -> Frame:
        dimensions = 0 if node.table is None else node.table.shape[1]
        return Frame(node.values.shape[1:], node.values.dtype, dimensions, gradients)

    return fold(make, chunk)


Recipe = tuple[Frame, int, Sequence[tuple[Any, ...]], RowOrder, complex | float]
"""A chunk to be assembled: its frame and number of rows, its patches, the order of gradient rows, the fill.

A patch is ``(part, number, taken, placed, columns)``: which chunk of which part, and positions as spans.
"""


@task(copies=True, holds_inputs=True)
def assemble_part(recipes: Sequence[Recipe], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are put together from rows and columns of other chunks."""

    def patch(part: int, number: int, taken: Span | None, placed: Span, columns_span: Span | None) -> Patch:
        chunk = parts[part][number]
        columns = None if columns_span is None else positions(columns_span)
        if taken is None or (isinstance(taken, tuple) and taken == (0, len(chunk.values))):
            return Patch(chunk, range(*placed) if isinstance(placed, tuple) else placed, columns)
        rows = np.full(len(chunk.values), -1, dtype=np.int32)
        rows[positions(taken)] = positions(placed)
        return Patch(chunk, rows, columns)

    return [
        assemble_chunk(frame, size, [patch(*source) for source in sources], order, fill)
        for frame, size, sources, order, fill in recipes
    ]


@task(copies=True)
def cut_rows(number: int, taken: Span, part: ChunkList) -> ChunkList:
    """Cut the rows out of one chunk that another one needs."""
    return [take(part[number], positions(taken))]
