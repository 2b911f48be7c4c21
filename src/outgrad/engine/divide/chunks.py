"""One pass over the rows of a chunk that divides them into any number of parts, gradient rows too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Chunk, ChunkList, Table, cut_chunk
from outgrad.data.outline import Frame
from outgrad.data.positions import Index
from outgrad.data.rows import lift
from outgrad.engine.shuffle.chunks import Order, place
from outgrad.task import task
from outgrad.tree import Tree


@dataclass(frozen=True)
class Division(Tree):
    """The rows of all parts: those of part n are ``values[starts[n]:stops[n]]``.

    ``values`` is the divided array itself where the rows of every part are neighbours in it: then parts are
    views. Of a gradient, ``table[edges[n]:edges[n + 1]]`` are the labels of its rows, and column 0 counts
    from the start of the part.
    """

    values: Array
    starts: Index
    stops: Index
    is_original: bool
    edges: Index
    table: Table | None = None
    gradients: dict[str, Division] = field(default_factory=dict)


def divide(chunk: Chunk, index: Index, edges: Index) -> Division:
    """Divide a chunk into parts: part n has the rows ``index[edges[n]:edges[n + 1]]``, in this order.

    A row may be in several parts. Gradient rows come in the order of their samples, those of one sample in
    the order that they had. The cost is that of the rows in all parts, whatever their number.
    """
    gradients = {name: _gradient(below, index, edges) for name, below in chunk.gradients.items()}
    first = _neighbours(index, edges)
    if first is None:
        return Division(chunk.values[index], edges[:-1], edges[1:], False, edges, None, gradients)
    return Division(chunk.values, first, first + np.diff(edges), True, edges, None, gradients)


def _gradient(gradient: Chunk, index: Index, edges: Index) -> Division:
    read, table = lift(index, gradient.rows)
    below = np.searchsorted(table[:, 0], edges)
    table[:, 0] -= np.repeat(edges[:-1], np.diff(below))
    return replace(divide(gradient, read, below), table=table)


def _neighbours(index: Index, edges: Index) -> Index | None:
    """The first row of every part, if the rows of each are neighbours; otherwise None."""
    counts = np.diff(edges)
    first = np.zeros(len(counts), dtype=np.int64)
    first[counts > 0] = index[edges[:-1][counts > 0]]
    if np.array_equal(index, np.arange(len(index)) + np.repeat(first - edges[:-1], counts)):
        return first
    return None


@task(copies=True)
def cut_part(recipe: Sequence[Any], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are cut out of others, or have no rows: then the recipe is their frame."""
    return [
        place(own, 0, [], Order.KEPT) if isinstance(own, Frame) else cut_chunk(parts[own[0]][own[1]], own[2])
        for own in recipe
    ]
