"""A stop on the way: rows that go from all chunks to all chunks go in two steps.

N chunks that exchange rows with N others need N² tasks. With a stop in between, where rows of √N neighbouring
chunks are brought together for √N neighbouring chunks, each step needs N √N.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outgrad.data.outline import Edges, Frame, Outline
from outgrad.data.positions import Index
from outgrad.engine.shuffle.chunks import Order
from outgrad.engine.shuffle.graph import Input, Move, move_blocks
from outgrad.engine.shuffle.plan import Origin, halfway
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.tree import GradientPath, fold, fold_down

PAIRS_PER_CHUNK = 16
"""A move between fewer pairs of chunks, for each chunk, goes at once."""


def move_in_steps(label: str, move: Move, target_bytes: int) -> LazyBlocks:
    """Put blocks together anew, with a stop for those whose rows come from too many chunks."""
    inputs, origins = list(move.inputs), []
    for block, own in enumerate(move.origins):
        exchanged = move.exchanged(block)
        changed = []
        for number, origin in enumerate(own):
            source = inputs[origin.block]
            chunks = source[0].outlines[source[1]].chunk_count + move.outlines[block].chunk_count
            if origin.rows is not None and exchanged[number] > PAIRS_PER_CHUNK * chunks:
                stop, rows = _stop(label, source, origin.rows, move, block, target_bytes)
                inputs.append(stop)
                origin = Origin(len(inputs) - 1, rows, origin.columns)
            changed.append(origin)
        origins.append(tuple(changed))
    if len(inputs) > len(move.inputs):
        move = replace(move, inputs=inputs, origins=origins)
    return move_blocks(label, move, target_bytes)


def _stop(
    label: str, source: Input, rows: Index, move: Move, block: int, target_bytes: int
) -> tuple[Input, Index]:
    """A block of the same rows that lie near to where they go, and where they go from there."""
    blocks, number = source
    outline = blocks.outlines[number]
    places, edges = halfway(rows, outline.edges, move.outlines[block].edges)
    there = _cut(outline, edges)
    frame = fold(
        lambda own, target, gradients: Frame(own.trailing, own.dtype, target.dimensions, gradients),
        outline,
        move.frames[block],
    )
    own = Move([source], [(Origin(0, places),)], (there,), [frame], [Order.FOLLOWING])
    kept = places >= 0
    left = np.empty(int(edges[-1]), dtype=np.int64)
    left[places[kept]] = rows[kept]
    return (move_blocks(f"{label}-halfway", own, target_bytes), 0), left


def _cut(outline: Outline, edges: Edges) -> Outline:
    """The shape of the stop.

    Where its gradient rows are cut is not known without reading labels: they are taken as spread evenly,
    since only bytes are estimated from them.
    """
    cuts: dict[GradientPath, Edges] = {(): edges}
    for path, own in outline.walk():
        if path:
            share = own.shape[0] / max(1, outline.at(path[:-1]).shape[0])
            cuts[path] = np.rint(cuts[path[:-1]] * share).astype(np.int64)
    return fold_down(
        lambda path, _, own, gradients: Outline(cuts[path], own.trailing, own.dtype, gradients), outline
    )
