"""Operations of each chunk with the whole of another block."""

from __future__ import annotations

from typing import Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.typing import Key

from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import add_layer, refs
from outgrad.plan.outline import Outline, Piece


def with_whole(rule: str, blocks: LazyBlocks, whole: LazyBlocks, outlines: tuple[Outline, ...]) -> LazyBlocks:
    """Run ``rule`` on every chunk together with the block of the same number in ``whole``, uncut."""
    name = f"{rule}-{tokenize(blocks.keys[:1], whole.keys[:1])}"
    keys: list[Key] = [(name, number) for number in range(len(blocks.parts))]
    layer: dict[Key, Any] = {}
    for own, key, part in zip(keys, blocks.keys, blocks.parts, strict=True):
        places = [whole.places[Piece(piece.block, 0)] for piece in part]
        numbers, used = refs(places)
        others = [(numbers[of], place) for of, place in places]
        layer[own] = Task(own, tasks.run_with_whole, rule, others, TaskRef(key), *used)
    graph = add_layer(name, layer, [blocks.graph, whole.graph])
    return LazyBlocks(graph, tuple(keys), blocks.parts, outlines)
