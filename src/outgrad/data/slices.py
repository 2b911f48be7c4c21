"""Cutting chunks into smaller ones and joining them again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk, ChunkList, Table
from outgrad.task import task
from outgrad.tree import GradientPath, fold_down

Range = tuple[int, int]


def cut(chunk: Chunk, ranges: Sequence[Range]) -> Chunk:
    """Take rows ``ranges[n]`` of the n-th array of ``chunk.walk()``; parents are numbered from the cut."""
    rows = {path: own for (path, _), own in zip(chunk.walk(), ranges, strict=True)}

    def cut_one(path: GradientPath, _: Any, own: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        start, stop = rows[path]
        table = None if own.table is None else _shifted(own.table[start:stop], -rows[path[:-1]][0])
        return Chunk(own.values[start:stop], gradients, table)

    return fold_down(cut_one, chunk)


def join(chunks: Sequence[Chunk]) -> Chunk:
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
def recut_part(pieces: Sequence[Sequence[tuple[int, int, Sequence[Range]]]], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are put together from rows of other chunks."""
    return [join([cut(parts[n][place], ranges) for n, place, ranges in sources]) for sources in pieces]
