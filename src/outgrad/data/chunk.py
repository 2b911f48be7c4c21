"""The arrays of one chunk of a block: values, and gradients that nest; how they are cut and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad.task import task
from outgrad.tree import GradientPath, Tree, fold_down

Array = npt.NDArray[Any]
Table = npt.NDArray[np.int32]
RowRange = tuple[int, int]
"""Neighbouring rows, ``[start, stop)``."""


@dataclass(frozen=True, slots=True)
class Chunk(Tree):
    """Values of some consecutive samples with all their gradient rows.

    ``values`` is (S, *C, P). A gradient is a chunk again, of values (R, *K, *C, P), whose ``table``
    (R, d) holds its sample labels: column 0 is the row of the *parent's* values, counted from the start
    of the parent's chunk, and the other columns tell the targets apart. At the top ``table`` is None.
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
        own = self.values.nbytes + (0 if self.table is None else self.table.nbytes)
        return own + sum(gradient.nbytes for gradient in self.gradients.values())


ChunkList = list[Chunk]
"""A part: the chunks that one task makes."""


def cut_chunk(chunk: Chunk, ranges: Sequence[RowRange]) -> Chunk:
    """Take rows ``ranges[n]`` of the n-th array of ``chunk.walk()``; parents are numbered from the cut."""
    rows = {path: own for (path, _), own in zip(chunk.walk(), ranges, strict=True)}

    def cut_one(path: GradientPath, _: Any, own: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        start, stop = rows[path]
        table = None if own.table is None else _shifted(own.table[start:stop], -rows[path[:-1]][0])
        return Chunk(own.values[start:stop], gradients, table)

    return fold_down(cut_one, chunk)


def join_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Put chunks of one block behind each other; parents are numbered from the start of the first."""
    if len(chunks) == 1:
        return chunks[0]
    return fold_down(_joined, *chunks)


def _joined(path: GradientPath, parents: Sequence[Chunk] | None, *found: Any) -> Chunk:
    *chunks, gradients = found
    values = np.concatenate([chunk.values for chunk in chunks])
    if parents is None:
        return Chunk(values, gradients)
    starts = accumulate((len(parent.values) for parent in parents), initial=0)
    shifted = [_shifted(chunk.rows, start) for chunk, start in zip(chunks, starts, strict=False)]
    return Chunk(values, gradients, np.concatenate(shifted))


def _shifted(table: Table, by: int) -> Table:
    if by == 0:
        return table
    shifted = table.copy()
    shifted[:, 0] += by
    return shifted


@task(copies=True, holds_inputs=True)
def collect_part(places: Sequence[tuple[int, int]], *parts: ChunkList) -> ChunkList:
    """Build a part from pieces found elsewhere: number of the part, and place in it."""
    return [parts[number][place] for number, place in places]


@task(copies=True, holds_inputs=True)
def recut_part(
    pieces: Sequence[Sequence[tuple[int, int, Sequence[RowRange]]]], *parts: ChunkList
) -> ChunkList:
    """Build a part whose chunks are put together from rows of other chunks."""
    return [
        join_chunks([cut_chunk(parts[n][place], ranges) for n, place, ranges in sources])
        for sources in pieces
    ]
