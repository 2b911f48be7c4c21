"""Products of each chunk with the whole of another block."""

from __future__ import annotations

from typing import Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.typing import Key

from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import add_blocks, outlines_token, refs
from outgrad.lazy.memory import Notes
from outgrad.plan.outline import Outline, Piece


def dot_blocks(blocks: LazyBlocks, whole: LazyBlocks, outlines: tuple[Outline, ...]) -> LazyBlocks:
    """Multiply every chunk with the block of the same number in ``whole``, which is uncut.

    Gradients of ``whole`` are made dense once, by a task for each of its parts.
    """
    name = f"dot-{tokenize(blocks.identity, whole.identity, outlines_token(outlines, blocks.parts))}"
    layer: dict[Key, Any] = {}
    dense: dict[Key, Key] = {key: (f"dense-{name}", number) for number, key in enumerate(whole.keys)}
    for key, own in dense.items():
        layer[own] = Task(own, tasks.dense, TaskRef(key))
    keys: list[Key] = [(name, number) for number in range(len(blocks.parts))]
    for own, key, part in zip(keys, blocks.keys, blocks.parts, strict=True):
        places = [whole.places[Piece(piece.block, 0)] for piece in part]
        numbers, used = refs((dense[of], place) for of, place in places)
        others = [(numbers[dense[of]], place) for of, place in places]
        layer[own] = Task(own, tasks.multiply_rows, others, TaskRef(key), *used)

    def note() -> Notes:
        return Notes({dense[key]: nbytes for key, nbytes in _dense_bytes(whole, outlines).items()})

    return add_blocks(name, layer, [blocks.graph, whole.graph], keys, blocks.parts, outlines, note)


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
