"""Products of each chunk with the whole of another block."""

from __future__ import annotations

from typing import Any

from outgrad.data.outline import Outline, Piece
from outgrad.engine.dot.chunks import dense_part, multiply_rows
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, add_blocks, numbered


def dot_blocks(blocks: LazyBlocks, whole: LazyBlocks, outlines: tuple[Outline, ...]) -> LazyBlocks:
    """Multiply every chunk with the block of the same number in ``whole``, which is uncut.

    Gradients of ``whole`` are made dense once, by a task for each of its parts.
    """
    draft = Draft()
    dense = {key: draft.add(dense_part, (), (key,), "dense") for key in whole.keys}
    constants: dict[Any, tuple[Any, ...]] = {}
    for key, part in zip(blocks.keys, blocks.parts, strict=True):
        places = [whole.places[Piece(piece.block, 0)] for piece in part]
        numbers = numbered((dense[of], place) for of, place in places)
        others = tuple((numbers[dense[of]], place) for of, place in places)
        draft.add(multiply_rows, constants.setdefault(others, (others,)), (key, *numbers))

    def note() -> Notes:
        return Notes({dense[key]: nbytes for key, nbytes in _dense_bytes(whole, outlines).items()})

    return add_blocks("dot", draft, [blocks.graph, whole.graph], blocks.parts, outlines, note)


def _dense_bytes(whole: LazyBlocks, outlines: tuple[Outline, ...]) -> dict[Key, int]:
    """Bytes of each part in dense form: every target has a row for every sample.

    The result has a gradient row for each target and sample on the left, and so tells the number of targets.
    """
    sizes = {}
    for key, part in zip(whole.keys, whole.parts, strict=True):
        sizes[key] = sum(_dense(whole.outlines[block], outlines[block]) for block, _ in part)
    return sizes


def _dense(own: Outline, result: Outline) -> int:
    rows = own.shape[0] / max(1, result.shape[0])
    return sum(int(rows * result.at(path).shape[0]) * below.row_bytes for path, below in own.walk())
