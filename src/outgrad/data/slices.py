"""Cutting chunks into smaller ones and joining them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from outgrad.data.chunk import Chunk, ChunkList, Table
from outgrad.task import task

Range = tuple[int, int]


def cut(chunk: Chunk, ranges: Sequence[Range]) -> Chunk:
    """Take rows ``ranges[n]`` of the n-th array of ``chunk.walk()``; parents are numbered from the cut."""
    return _cut(chunk, iter(ranges), 0)


def _cut(chunk: Chunk, ranges: Iterator[Range], parent_start: int) -> Chunk:
    start, stop = next(ranges)
    gradients = {name: _cut(gradient, ranges, start) for name, gradient in chunk.gradients.items()}
    table = None if chunk.table is None else _shifted(chunk.table[start:stop], -parent_start)
    return Chunk(chunk.values[start:stop], gradients, table)


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Put chunks of one block behind each other; parents are numbered from the start of the first."""
    if len(chunks) == 1:
        return chunks[0]
    return _join(chunks, [0] * len(chunks))


def _join(chunks: Sequence[Chunk], parent_starts: Sequence[int]) -> Chunk:
    values = np.concatenate([chunk.values for chunk in chunks])
    starts = np.cumsum([0, *(len(chunk.values) for chunk in chunks)]).tolist()
    gradients = {
        name: _join([chunk.gradients[name] for chunk in chunks], starts) for name in chunks[0].gradients
    }
    if chunks[0].table is None:
        return Chunk(values, gradients)
    shifted = [_shifted(chunk.rows, start) for chunk, start in zip(chunks, parent_starts, strict=False)]
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
