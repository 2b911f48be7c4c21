"""Cutting co-chunked blocks at other rows: which rows of which old chunk make up a new one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from outgrad.data.outline import Outline, Piece


class Source(NamedTuple):
    """Rows of an old chunk: a local ``(start, stop)`` for each array in the order of ``walk()``."""

    chunk: int
    ranges: tuple[tuple[int, int], ...]


def sources(old: tuple[Outline, ...], new: tuple[Outline, ...], piece: Piece) -> list[Source]:
    """Return the rows of old chunks that make up ``piece`` of the new cut, in order.

    A chunk without rows still needs one source, to know its gradients and dtypes.
    """
    before, after = old[piece.block], new[piece.block]
    first, last = _overlap(before, int(after.edges[piece.chunk]), int(after.edges[piece.chunk + 1]))
    return [_source(before, after, chunk, piece.chunk) for chunk in range(first, last)]


def _overlap(outline: Outline, start: int, stop: int) -> tuple[int, int]:
    last_chunk = outline.chunk_count
    first = min(int(np.searchsorted(outline.edges, start, side="right")) - 1, last_chunk - 1)
    last = int(np.searchsorted(outline.edges, stop, side="left"))
    return first, max(last, first + 1)


def _source(before: Outline, after: Outline, old_chunk: int, new_chunk: int) -> Source:
    ranges = []
    for (_, b), (_, a) in zip(before.walk(), after.walk(), strict=True):
        lower, upper = int(b.edges[old_chunk]), int(b.edges[old_chunk + 1])
        start = min(max(int(a.edges[new_chunk]), lower), upper)
        stop = min(max(int(a.edges[new_chunk + 1]), start), upper)
        ranges.append((start - lower, stop - lower))
    return Source(old_chunk, tuple(ranges))
