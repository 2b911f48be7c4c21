"""A stop on the way: rows that go from all chunks to all chunks go in two steps.

N chunks that exchange rows with N others need N² tasks. With a stop in between, where rows of √N neighbouring
chunks are brought together for √N neighbouring chunks, each step needs N √N.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outgrad.data.outline import Edges, Frame
from outgrad.data.positions import Index
from outgrad.engine import outlines
from outgrad.engine.shuffle.chunks import RowOrder
from outgrad.engine.shuffle.graph import LazyInput, Move, move_blocks
from outgrad.engine.shuffle.plan import Origin, halfway
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.tree import GradientPath, fold

PATCHES_PER_CHUNK = 16
"""A move of fewer patches, for each chunk, goes at once: a stop copies all rows once more."""


def move_in_steps(label: str, move: Move, target_bytes: int) -> LazyBlocks:
    """Put blocks together anew, with a stop for those whose rows come from too many chunks."""
    inputs, new_origins = list(move.inputs), []
    for block, origins in enumerate(move.origins):
        patch_counts = move.patch_counts(block)
        new_origins.append(list(origins))
        for number, origin in enumerate(origins):
            blocks, input_block = inputs[origin.block]
            chunks = blocks.outlines[input_block].chunk_count + move.outlines[block].chunk_count
            if origin.rows is not None and patch_counts[number] > PATCHES_PER_CHUNK * chunks:
                stop, rows = _stop(label, inputs[origin.block], origin.rows, move, block, target_bytes)
                inputs.append(stop)
                new_origins[-1][number] = Origin(len(inputs) - 1, rows, origin.columns)
    if len(inputs) > len(move.inputs):
        move = replace(move, inputs=inputs, origins=new_origins)
    return move_blocks(label, move, target_bytes)


def _stop(
    label: str, source: LazyInput, rows: Index, move: Move, block: int, target_bytes: int
) -> tuple[LazyInput, Index]:
    """A block of the same rows that lie near to where they go, and where they go from there."""
    blocks, number = source
    outline = blocks.outlines[number]
    positions, edges = halfway(rows, outline.edges, move.outlines[block].edges)
    # Where gradient rows of the stop are cut is not known without reading labels: they are taken as spread
    # evenly, since only bytes are estimated from them.
    cuts: dict[GradientPath, Edges] = {(): edges}
    for path, node in outline.walk():
        if path:
            rows_per_parent = node.shape[0] / max(1, outline.at(path[:-1]).shape[0])
            cuts[path] = np.rint(cuts[path[:-1]] * rows_per_parent).astype(np.int64)
    stop = outlines.with_edges(outline, cuts)
    frame = fold(
        lambda node, target, gradients: Frame(node.trailing, node.dtype, target.dimensions, gradients),
        outline,
        move.frames[block],
    )
    first_step = Move([source], [(Origin(0, positions),)], (stop,), [frame], [RowOrder.FOLLOWING])
    kept = positions >= 0
    second_step = np.empty(int(edges[-1]), dtype=np.int64)
    second_step[positions[kept]] = rows[kept]
    return (move_blocks(f"{label}-halfway", first_step, target_bytes), 0), second_step
