"""One pass over the rows of a chunk that divides them into any number of shares, gradient rows too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Chunk, ChunkList, Table, cut_chunk
from outgrad.data.outline import Frame
from outgrad.data.positions import Index
from outgrad.data.rows import lift
from outgrad.engine.shuffle.chunks import RowOrder, assemble_chunk
from outgrad.task import task
from outgrad.tree import GradientPath, Tree, fold_down, follow


@dataclass(frozen=True)
class Shares(Tree):
    """The rows of all shares: those of share n are ``values[starts[n]:stops[n]]``.

    ``values`` is the divided array itself where the rows of every share are neighbours in it: then shares are
    views. Of a gradient, ``table[edges[n]:edges[n + 1]]`` are the labels of its rows, and column 0 counts
    from the start of the share.
    """

    values: Array
    starts: Index
    stops: Index
    is_original: bool
    edges: Index
    table: Table | None = None
    gradients: dict[str, Shares] = field(default_factory=dict)


RowsOfShares = tuple[Index, Index, Table | None]
"""The rows of all shares, where those of each start, and of a gradient their labels."""


def divide_chunk(chunk: Chunk, index: Index, edges: Index) -> Shares:
    """Divide a chunk: share n has the rows ``index[edges[n]:edges[n + 1]]``, in this order.

    A row may be in several shares. Gradient rows come in the order of their samples, those of one sample in
    the order that they had. The cost depends on the total number of rows in the shares, not on the number of
    shares.
    """

    def step(gradient: Chunk, above: RowsOfShares) -> RowsOfShares:
        """The rows of all shares, where those of each are, and their labels, counted from its start."""
        gradient_index, table = lift(above[0], gradient.rows)
        gradient_edges = np.searchsorted(table[:, 0], above[1])
        table[:, 0] -= np.repeat(above[1][:-1], np.diff(gradient_edges))
        return gradient_index, gradient_edges, table

    start: RowsOfShares = (index, edges, None)
    rows = follow(step, chunk, start)

    def divide(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Shares]) -> Shares:
        index, edges, table = rows[path]
        counts = np.diff(edges)
        starts = np.zeros(len(counts), dtype=np.int64)
        starts[counts > 0] = index[edges[:-1][counts > 0]]
        are_neighbours = np.array_equal(index, np.arange(len(index)) + np.repeat(starts - edges[:-1], counts))
        if are_neighbours:
            return Shares(node.values, starts, starts + counts, True, edges, table, gradients)
        return Shares(node.values[index], edges[:-1], edges[1:], False, edges, table, gradients)

    return fold_down(divide, chunk)


@task(copies=True)
def cut_part(recipes: Sequence[Any], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are cut out of others: number of the part, number in its list, and ranges.

    The recipe of a chunk without rows is its frame.
    """
    return [
        assemble_chunk(recipe, 0, [], RowOrder.KEPT)
        if isinstance(recipe, Frame)
        else cut_chunk(parts[recipe[0]][recipe[1]], recipe[2])
        for recipe in recipes
    ]
