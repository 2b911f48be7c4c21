"""Rows of blocks that are chosen: of those that are read from storage, only these are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from itertools import pairwise
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline
from outgrad.data.positions import Index, neighbour_range, places_of
from outgrad.data.requests import Request, Runs
from outgrad.engine.content import Blocks, Lazy
from outgrad.engine.outlines import with_edges
from outgrad.engine.shuffle.blocks import Origin, RowOrder, Target, moved
from outgrad.graph.reading import Stored, find_stored, read_requests
from outgrad.labels.labels import Labels
from outgrad.tree import GradientPath, fold_down

MOST_RUNS = 100_000
"""Of rows that are not neighbours, in a block: beyond, rows are read with the others and moved."""


@singledispatch
def with_rows(blocks: Blocks, chosen: Sequence[Index]) -> Blocks:
    """Keep some rows of the values of each block, by position and in this order, with their gradient rows."""
    return _moved(blocks, chosen)


def _moved(blocks: Blocks, chosen: Sequence[Index]) -> Blocks:
    targets = [
        Target(
            replace(labels, samples=labels.samples.take(own)),
            (Origin(n, places_of(own, len(labels.samples))),),
            RowOrder.FOLLOWING,
        )
        for n, (labels, own) in enumerate(zip(blocks.metadata, chosen, strict=True))
    ]
    return moved("slice", [(blocks, n) for n in range(len(blocks))], targets)


@with_rows.register(Lazy)
def ask_for_rows(blocks: Lazy, chosen: Sequence[Index]) -> Blocks:
    """Ask storage for these rows alone, where nothing is done to them yet and it can give them."""
    stored = find_stored(blocks.data)
    if stored is None or not hasattr(stored.reader, "runs_of"):
        return _moved(blocks, chosen)
    target_bytes = chunk_bytes()
    made = [
        _chosen_block(stored, n, blocks.metadata[n], blocks.data.outlines[n], own, target_bytes)
        for n, own in enumerate(chosen)
    ]
    if any(each is None for each in made):
        return _moved(blocks, chosen)
    metadata, outlines, requests = zip(*(each for each in made if each is not None), strict=True)
    return Lazy(metadata, read_requests(stored.reader, requests, outlines, target_bytes))


def _chosen_block(
    stored: Stored,
    number: int,
    labels: BlockMetadata,
    outline: Outline,
    chosen: Index,
    target_bytes: int,
) -> tuple[BlockMetadata, Outline, list[Request]] | None:
    """Labels, cut and requests of some rows of a block; None if they cannot be had alone."""
    requests = stored.requests_of(number)
    if neighbour_range(chosen) == (0, len(labels.samples)):
        return labels, outline, requests
    block = requests[0].block
    rows = _stored_runs(chosen, outline.edges, np.concatenate([each.all_runs[:, 0] for each in requests]))
    runs = stored.reader.runs_of(block, rows) if len(rows) <= MOST_RUNS else None
    if runs is None:
        return None
    paths = [path for path, _ in outline.walk()]
    row_bytes = np.array([array.row_bytes for _, array in outline.walk()])
    groups = _grouped(((runs[:, :, 1] - runs[:, :, 0]) * row_bytes).sum(axis=1), target_bytes)
    asked = [_request(block, runs[first:last]) for first, last in pairwise(groups.tolist())]
    before = np.concatenate(
        [np.zeros((1, len(paths)), np.int64), (runs[:, :, 1] - runs[:, :, 0]).cumsum(axis=0)]
    )
    edges = {path: before[groups, n] for n, path in enumerate(paths)}

    def labelled(path: GradientPath, _: Any, node: BlockMetadata, below: Any) -> BlockMetadata:
        source = stored.reader.table_of(block, path, runs)
        samples = Labels.from_source(node.samples.names, int(edges[path][-1]), None, source)
        return replace(node, samples=samples, gradients=below)

    return fold_down(labelled, labels), with_edges(outline, edges), asked


def _stored_runs(chosen: Index, edges: Edges, stored: Runs) -> Runs:
    """Runs (n, 1, 2) of stored rows that some positions are, in their order; none goes over an edge.

    ``stored`` (m, 2) are the stored rows that are the rows of the block, one after the other.
    """
    ends = np.cumsum(stored[:, 1] - stored[:, 0])
    run = np.searchsorted(ends, chosen, side="right")
    rows = chosen - ends[run] + stored[run, 1] if len(chosen) else chosen
    chunk = np.searchsorted(edges, chosen, side="right")
    is_start = np.ones(len(rows), np.bool_)
    is_start[1:] = (np.diff(rows) != 1) | (np.diff(run) != 0) | (np.diff(chunk) != 0)
    starts = np.flatnonzero(is_start)
    lasts = np.append(starts[1:], len(rows)) - 1
    runs = np.stack([rows[starts], rows[lasts[: len(starts)]] + 1], axis=1)
    return runs.astype(np.int64)[:, None]


def _grouped(nbytes: Any, target_bytes: int) -> Edges:
    """Put neighbouring runs together up to a size; the runs at which groups start, and their number."""
    edges, filled = [0], 0
    for number, size in enumerate(nbytes.tolist()):
        if number > edges[-1] and filled + size > target_bytes:
            edges.append(number)
            filled = 0
        filled += size
    return np.array([*edges, len(nbytes)], np.int64)


def _request(block: int, runs: Runs) -> Request:
    if len(runs) == 1:
        return Request(block, tuple((start, stop) for start, stop in runs[0].tolist()))
    none = tuple((0, 0) for _ in range(runs.shape[1]))
    return Request(block, none, runs if len(runs) else None)
