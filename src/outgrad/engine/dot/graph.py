"""Products of each chunk with all of another block."""

from __future__ import annotations

from typing import Any

from outgrad.data.outline import Outline, Piece
from outgrad.engine.dot.chunks import dense_part, multiply_rows
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, add_blocks, numbered


def dot_blocks(blocks: LazyBlocks, others: LazyBlocks, outlines: tuple[Outline, ...]) -> LazyBlocks:
    """Multiply every chunk with the block of the same number in ``others``, which are uncut.

    Gradients of ``others`` are made dense once, by a task for each of their parts.
    """
    draft = Draft()
    dense = {key: draft.add(dense_part, (), (key,), "dense") for key in others.keys}
    # One object for all tasks that are told the same.
    constants: dict[Any, tuple[Any, ...]] = {}
    for key, part in zip(blocks.keys, blocks.parts, strict=True):
        places = [others.places[Piece(piece.block, 0)] for piece in part]
        numbers = numbered((dense[made_by], number) for made_by, number in places)
        told = tuple((numbers[dense[made_by]], number) for made_by, number in places)
        draft.add(multiply_rows, constants.setdefault(told, (told,)), (key, *numbers))

    def note() -> Notes:
        """Bytes of the dense parts: every target has a row for every sample.

        The result has a gradient row for each target and each sample on the left, which gives the number of
        targets.
        """
        sizes: dict[Key, int] = dict.fromkeys(dense.values(), 0)
        for key, part in zip(others.keys, others.parts, strict=True):
            for block, _ in part:
                other, result = others.outlines[block], outlines[block]
                per_row = other.shape[0] / max(1, result.shape[0])
                sizes[dense[key]] += sum(
                    int(per_row * result.at(path).shape[0]) * node.row_bytes for path, node in other.walk()
                )
        return Notes(sizes)

    return add_blocks("dot", draft, [blocks.graph, others.graph], blocks.parts, outlines, note)
