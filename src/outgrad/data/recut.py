"""Cutting blocks at other rows: which rows of which old chunk make up a new one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from outgrad.data.chunk import RowRange
from outgrad.data.outline import Outline, Piece


class ChunkRows(NamedTuple):
    """Rows of an old chunk: a local range for each array in the order of ``walk()``."""

    chunk: int
    ranges: tuple[RowRange, ...]


def rows_of_old_chunks(old: tuple[Outline, ...], new: tuple[Outline, ...], piece: Piece) -> list[ChunkRows]:
    """Return the rows of old chunks that make up ``piece`` of the new cut, in order."""
    before, after = old[piece.block], new[piece.block]
    start, stop = after.edges[piece.chunk], after.edges[piece.chunk + 1]
    # A new chunk without rows still takes one old chunk, from which it knows its gradients and dtypes.
    last_chunk = before.chunk_count - 1
    first = min(int(np.searchsorted(before.edges, start, side="right")) - 1, last_chunk)
    end = max(int(np.searchsorted(before.edges, stop, side="left")), first + 1)
    sources = []
    for chunk in range(first, end):
        ranges = []
        for (_, old_array), (_, new_array) in zip(before.walk(), after.walk(), strict=True):
            lower, upper = int(old_array.edges[chunk]), int(old_array.edges[chunk + 1])
            low = min(max(int(new_array.edges[piece.chunk]), lower), upper)
            high = min(max(int(new_array.edges[piece.chunk + 1]), low), upper)
            ranges.append((low - lower, high - lower))
        sources.append(ChunkRows(chunk, tuple(ranges)))
    return sources
