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
from outgrad.engine.shuffle.chunks import Order, assemble_chunk
from outgrad.task import task
from outgrad.tree import Tree


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


def divide_chunk(chunk: Chunk, index: Index, edges: Index, table: Table | None = None) -> Shares:
    """Divide a chunk: share n has the rows ``index[edges[n]:edges[n + 1]]``, in this order.

    A row may be in several shares. Gradient rows come in the order of their samples, those of one sample in
    the order that they had; ``table`` are the labels of the rows of a gradient, as :class:`Shares` has them.
    The cost depends on the total number of rows in the shares, not on the number of shares.
    """
    gradients = {}
    for name, gradient in chunk.gradients.items():
        gradient_index, gradient_table = lift(index, gradient.rows)
        gradient_edges = np.searchsorted(gradient_table[:, 0], edges)
        gradient_table[:, 0] -= np.repeat(edges[:-1], np.diff(gradient_edges))
        gradients[name] = divide_chunk(gradient, gradient_index, gradient_edges, gradient_table)

    counts = np.diff(edges)
    starts = np.zeros(len(counts), dtype=np.int64)
    starts[counts > 0] = index[edges[:-1][counts > 0]]
    are_neighbours = np.array_equal(index, np.arange(len(index)) + np.repeat(starts - edges[:-1], counts))
    if are_neighbours:
        return Shares(chunk.values, starts, starts + counts, True, edges, table, gradients)
    return Shares(chunk.values[index], edges[:-1], edges[1:], False, edges, table, gradients)


@task(copies=True)
def cut_part(recipes: Sequence[Any], *parts: ChunkList) -> ChunkList:
    """Build a part whose chunks are cut out of others: number of the part, number in its list, and ranges.

    The recipe of a chunk without rows is its frame.
    """
    return [
        assemble_chunk(recipe, 0, [], Order.KEPT)
        if isinstance(recipe, Frame)
        else cut_chunk(parts[recipe[0]][recipe[1]], recipe[2])
        for recipe in recipes
    ]
