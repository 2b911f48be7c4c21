"""The arrays of one chunk of a block: values, and gradients that nest; how they are cut and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad.labels.types import Table as Table
from outgrad.task import task
from outgrad.tree import GradientPath, Tree, fold_down

Array = npt.NDArray[Any]
RowRange = tuple[int, int]
"""Neighbouring rows, ``[start, stop)``."""


@dataclass(frozen=True, slots=True)
class Chunk(Tree):
    """Values of some consecutive samples with all their gradient rows.

    ``values`` is (S, *C, P). A gradient is a chunk again, of values (R, *K, *C, P), whose ``table``
    (R, d) holds its sample labels: column 0 is the row of the *parent's* values, counted from the start
    of the parent's chunk, and the other columns say what the derivative is with respect to. At the top
    ``table`` is None.
    """

    values: Array
    gradients: dict[str, Chunk] = field(default_factory=dict)
    table: Table | None = None

    @property
    def rows(self) -> Table:
        """The labels of a gradient's rows; only gradients have them."""
        assert self.table is not None, "only the chunk of a gradient has a table of rows"
        return self.table

    @property
    def nbytes(self) -> int:
        """Bytes of values, tables and gradients."""
        table_bytes = 0 if self.table is None else self.table.nbytes
        return self.values.nbytes + table_bytes + sum(each.nbytes for each in self.gradients.values())


ChunkList = list[Chunk]
"""A part: the chunks that one task makes."""


def cut_chunk(chunk: Chunk, ranges: Sequence[RowRange]) -> Chunk:
    """Take rows ``ranges[n]`` of the n-th array of ``chunk.walk()``; parents are numbered from the cut."""
    rows = {path: row_range for (path, _), row_range in zip(chunk.walk(), ranges, strict=True)}

    def cut_one(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        start, stop = rows[path]
        table = None if node.table is None else _shift_parents(node.table[start:stop], -rows[path[:-1]][0])
        return Chunk(node.values[start:stop], gradients, table)

    return fold_down(cut_one, chunk)


def join_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Concatenate consecutive chunks of one block; parents are numbered from the start of the first."""
    if len(chunks) == 1:
        return chunks[0]

    def join_nodes(path: GradientPath, parents: Sequence[Chunk] | None, *nodes_and_gradients: Any) -> Chunk:
        *nodes, gradients = nodes_and_gradients
        values = np.concatenate([node.values for node in nodes])
        if parents is None:
            return Chunk(values, gradients)
        starts = accumulate((len(parent.values) for parent in parents), initial=0)
        tables = [_shift_parents(node.rows, start) for node, start in zip(nodes, starts, strict=False)]
        return Chunk(values, gradients, np.concatenate(tables))

    return fold_down(join_nodes, *chunks)


def _shift_parents(table: Table, by: int) -> Table:
    """Add a number to the parent rows in column 0; nothing is copied for 0."""
    if by == 0:
        return table
    shifted = table.copy()
    shifted[:, 0] += by
    return shifted


@task(copies=True, holds_inputs=True)
def collect_part(places: Sequence[tuple[int, int]], *parts: ChunkList) -> ChunkList:
    """Build a part from chunks of other parts: ``(number of the part, number in its list)`` of each."""
    return [parts[number][index] for number, index in places]


@task(copies=True, holds_inputs=True)
def recut_part(
    pieces: Sequence[Sequence[tuple[int, int, Sequence[RowRange]]]], *parts: ChunkList
) -> ChunkList:
    """Build a part whose chunks consist of rows of other chunks: a recipe for each."""
    return [
        join_chunks([cut_chunk(parts[n][index], ranges) for n, index, ranges in sources])
        for sources in pieces
    ]
