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


class Pair(NamedTuple):
    """Rows that go from one chunk to another; both are counted from the start of their chunk."""

    origin: int
    source: int
    target: int
    taken: Index
    placed: Index


def pairs(origin: int, rows: Index, source_edges: Edges, target_edges: Edges) -> list[Pair]:
    """List which chunk gives which rows to which chunk; one sort, whatever the number of chunks."""
    count = len(source_edges) - 1
    kept = np.flatnonzero(rows >= 0)
    placed = rows[kept]
    source = np.repeat(np.arange(count), np.diff(source_edges))[kept]
    target = np.searchsorted(target_edges, placed, side="right") - 1
    pair = target * count + source
    order = np.arange(len(pair)) if (np.diff(pair) >= 0).all() else np.argsort(pair, kind="stable")
    found = []
    for chosen in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1):
        if len(chosen):
            t, s = divmod(int(pair[chosen[0]]), count)
            taken = (kept[chosen] - source_edges[s]).astype(np.int32)
            found.append(Pair(origin, s, t, taken, (placed[chosen] - target_edges[t]).astype(np.int32)))
    return found


def halfway(rows: Index, source_edges: Edges, target_edges: Edges) -> tuple[Index, Edges]:
    """Order rows by groups of chunks that they go to, and in these by groups of chunks that they come from.

    A group has about √N of N chunks. Returns the place of each row there, −1 for those that are left out, and
    the edges of the groups of groups.
    """
    sources, targets = len(source_edges) - 1, len(target_edges) - 1
    kept = np.flatnonzero(rows >= 0)
    source = np.repeat(np.arange(sources), np.diff(source_edges))[kept]
    target = np.searchsorted(target_edges, rows[kept], side="right") - 1
    groups = _group(sources - 1, sources) + 1
    group = _group(target, targets) * groups + _group(source, sources)
    order = np.argsort(group, kind="stable")
    places = np.full(len(rows), -1, dtype=np.int64)
    places[kept[order]] = np.arange(len(order))
    counts = np.bincount(group, minlength=1)
    return places, np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)


def _group(chunk: Any, count: int) -> Any:
    return chunk // max(1, round(count**0.5))


def is_increasing(rows: Sequence[Index | None]) -> bool:
    """Whether rows keep their order, those of one origin behind those of the one before."""
    at = -1
    for own in rows:
        if own is None:
            return len(rows) == 1
        placed = own[own >= 0]
        if len(placed) and (int(placed[0]) <= at or (np.diff(placed) <= 0).any()):
            return False
        at = int(placed[-1]) if len(placed) else at
    return True


def inherited_edges(rows: Sequence[Index | None], edges: Sequence[Edges]) -> Edges | None:
    """Return the edges of the chunks that rows come from, where rows keep their order.

    Origins stand behind each other without gaps, or nothing moves at all; otherwise None. Chunks of which no
    row is left disappear.
    """
    if all(own is None for own in rows):
        return edges[0]
    found = [np.zeros(1, np.int64)]
    for own, cut in zip(rows, edges, strict=True):
        at = int(found[-1][-1])
        if own is None:
            return None
        placed = own[own >= 0]
        if not np.array_equal(placed, np.arange(at, at + len(placed))):
            return None
        found.append(at + np.concatenate([[0], np.cumsum(own >= 0)])[cut])
    distinct = np.unique(np.concatenate(found)).astype(np.int64)
    return distinct if len(distinct) > 1 else np.zeros(2, np.int64)
