"""Where to cut: chunk edges by bytes, on whole samples and where possible on whole systems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.outline import Edges, Outline, Part, Piece
from outgrad.data.positions import Index
from outgrad.tree import fold

SYSTEM_NAMES = ("system", "structure")
"""Names of the sample column that identifies systems; ``structure`` is its older name."""


def choose_edges(cumulative_bytes: Index, allowed: Edges, target_bytes: int) -> Edges:
    """Choose edges among ``allowed`` so that no chunk exceeds ``target_bytes`` if that is possible.

    ``cumulative_bytes`` (A,) are the bytes before each allowed edge. The first and the last allowed edge are
    always taken; rows between two neighbouring allowed edges are never cut, even if they exceed the target.
    """
    if len(allowed) == 1:  # no rows: a block has at least one chunk, which is empty
        return np.repeat(np.asarray(allowed, dtype=np.int64), 2)
    chosen = [0]
    last = len(allowed) - 1
    while chosen[-1] < last:
        limit = cumulative_bytes[chosen[-1]] + target_bytes
        following = int(np.searchsorted(cumulative_bytes, limit, side="right")) - 1
        chosen.append(min(last, max(following, chosen[-1] + 1)))
    return np.asarray(allowed, dtype=np.int64)[chosen]


def system_edges(column: Index) -> Edges:
    """Return the rows at which a new system starts, with 0 and the number of rows.

    Where the column is not sorted, systems cannot be kept together: then every row is an allowed edge.
    """
    steps = np.diff(column)
    if len(column) == 0 or (steps < 0).any():
        return np.arange(len(column) + 1, dtype=np.int64)
    return np.concatenate([[0], np.flatnonzero(steps) + 1, [len(column)]]).astype(np.int64)


def cut_samples(
    cumulative_bytes: Index,
    starts: Edges,
    target_bytes: int,
    whole_bytes: int | None = None,
) -> Edges:
    """Choose sample edges by bytes, on the ``starts`` of systems as far as possible.

    ``cumulative_bytes`` (S + 1,) are the bytes before each sample. A system larger than ``whole_bytes``, by
    default the target, is cut at its samples, since memory must stay bounded.
    """
    allowed = np.zeros(len(cumulative_bytes), dtype=bool)
    allowed[starts] = True
    large = np.diff(cumulative_bytes[starts]) > (target_bytes if whole_bytes is None else whole_bytes)
    for first, last in zip(starts[:-1][large], starts[1:][large], strict=True):
        allowed[first:last] = True
    edges = np.flatnonzero(allowed).astype(np.int64)
    return choose_edges(cumulative_bytes[edges], edges, target_bytes)


def at_samples(outline: Outline, picks: Index) -> Outline:
    """Keep only the edges numbered ``picks``, in the values and in every gradient."""
    return fold(
        lambda node, gradients: Outline(node.edges[picks], node.trailing, node.dtype, gradients), outline
    )


def coarsen(outline: Outline, target_bytes: int) -> Outline:
    """Merge neighbouring chunks of ``outline`` up to ``target_bytes`` each."""
    if outline.chunk_count == 1:
        return outline
    cumulative = np.concatenate([[0], np.cumsum(outline.chunk_bytes)])
    picks = choose_edges(cumulative, np.arange(len(outline.edges), dtype=np.int64), target_bytes)
    return at_samples(outline, picks)


def pack_chunks(outlines: Sequence[Outline], target_bytes: int) -> tuple[Part, ...]:
    """Put consecutive chunks of *different* blocks into one part while they fit into ``target_bytes``.

    A part of several small blocks saves the cost of a task for each. Chunks of one block stay apart: they
    were cut by bytes already.
    """
    return pack_by_bytes([outline.chunk_bytes.tolist() for outline in outlines], target_bytes)


def pack_by_bytes(costs: Sequence[Sequence[int]], target_bytes: int) -> tuple[Part, ...]:
    """Like :func:`pack_chunks`, with the bytes that each chunk of each block counts."""
    parts: list[list[Piece]] = []
    filled = 0
    for block, chunk_costs in enumerate(costs):
        for chunk, nbytes in enumerate(chunk_costs):
            if not parts or parts[-1][-1].block == block or filled + nbytes > target_bytes:
                parts.append([])
                filled = 0
            parts[-1].append(Piece(block, chunk))
            filled += nbytes
    return tuple(tuple(part) for part in parts)


def gradient_edges(sample_column: Index, edges: Edges) -> Edges | None:
    """Return the gradient rows at which the samples ``edges`` fall, or None if rows are not sorted."""
    if len(sample_column) > 1 and (np.diff(sample_column) < 0).any():
        return None
    return np.searchsorted(sample_column, edges, side="left").astype(np.int64)
