"""Where rows go: from which rows of which blocks a new block is made, and which chunks that touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from outgrad.data.outline import Edges
from outgrad.data.positions import Index


@dataclass(frozen=True, eq=False)
class Origin:
    """Rows and columns of a new block that come from one block.

    ``rows`` (S,) and ``columns`` (P,) are the positions in the new block, −1 for what is left out; None where
    nothing moves.
    """

    block: int
    rows: Index | None = None
    columns: Index | None = None


class PlannedPatch(NamedTuple):
    """A patch without its data: rows that go from one chunk to another, counted from the start of the chunk.

    ``origin`` is the number of an origin, ``source`` that of a chunk of it, and ``target`` that of a new one.
    """

    origin: int
    source: int
    target: int
    taken: Index
    placed: Index


def plan_patches(origin: int, rows: Index, source_edges: Edges, target_edges: Edges) -> list[PlannedPatch]:
    """List which chunk gives which rows to which chunk; one sort for any number of chunks."""
    count = len(source_edges) - 1
    kept = np.flatnonzero(rows >= 0)
    placed = rows[kept]
    source = np.repeat(np.arange(count), np.diff(source_edges))[kept]
    target = np.searchsorted(target_edges, placed, side="right") - 1
    pair = target * count + source
    order = np.arange(len(pair)) if (np.diff(pair) >= 0).all() else np.argsort(pair, kind="stable")
    patches = []
    for chosen in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1):
        if len(chosen):
            t, s = divmod(int(pair[chosen[0]]), count)
            taken = (kept[chosen] - source_edges[s]).astype(np.int32)
            local = (placed[chosen] - target_edges[t]).astype(np.int32)
            patches.append(PlannedPatch(origin, s, t, taken, local))
    return patches


def halfway(rows: Index, source_edges: Edges, target_edges: Edges) -> tuple[Index, Edges]:
    """Order rows by groups of chunks that they go to, and in these by groups of chunks that they come from.

    Returns the position of each row there, −1 for those that are left out, and the edges of the groups of
    groups.
    """

    def group_of(chunk: Any, count: int) -> Any:
        return chunk // max(1, round(count**0.5))  # about √N groups of √N of N chunks

    sources, targets = len(source_edges) - 1, len(target_edges) - 1
    kept = np.flatnonzero(rows >= 0)
    source = np.repeat(np.arange(sources), np.diff(source_edges))[kept]
    target = np.searchsorted(target_edges, rows[kept], side="right") - 1
    source_groups = group_of(sources - 1, sources) + 1
    group = group_of(target, targets) * source_groups + group_of(source, sources)
    order = np.argsort(group, kind="stable")
    positions = np.full(len(rows), -1, dtype=np.int64)
    positions[kept[order]] = np.arange(len(order))
    counts = np.bincount(group, minlength=1)
    return positions, np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)


def is_increasing(rows: Sequence[Index | None]) -> bool:
    """Whether rows keep their order, and those of one origin follow those of the one before."""
    last = -1
    for positions in rows:
        if positions is None:
            return len(rows) == 1
        placed = positions[positions >= 0]
        if len(placed) and (int(placed[0]) <= last or (np.diff(placed) <= 0).any()):
            return False
        last = int(placed[-1]) if len(placed) else last
    return True


def inherited_edges(rows: Sequence[Index | None], edges: Sequence[Edges]) -> Edges | None:
    """Return the edges of the chunks that rows come from, where rows keep their order.

    Origins follow each other without gaps, or nothing moves at all; otherwise None. Chunks of which no row is
    left disappear.
    """
    if all(positions is None for positions in rows):
        return edges[0]
    inherited = [np.zeros(1, np.int64)]
    for positions, origin_edges in zip(rows, edges, strict=True):
        start = int(inherited[-1][-1])
        if positions is None:
            return None
        placed = positions[positions >= 0]
        if not np.array_equal(placed, np.arange(start, start + len(placed))):
            return None
        inherited.append(start + np.concatenate([[0], np.cumsum(positions >= 0)])[origin_edges])
    distinct = np.unique(np.concatenate(inherited)).astype(np.int64)
    return distinct if len(distinct) > 1 else np.zeros(2, np.int64)
