"""Operations of each chunk with the whole of another block."""

from __future__ import annotations

from typing import Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.typing import Key

from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import add_layer
from outgrad.plan.outline import Outline, Piece


def with_whole(rule: str, blocks: LazyBlocks, whole: LazyBlocks, outlines: tuple[Outline, ...]) -> LazyBlocks:
    """Run ``rule`` on every chunk together with the block of the same number in ``whole``, uncut."""
    name = f"{rule}-{tokenize(blocks.keys[:1], whole.keys[:1])}"
    keys: list[Key] = [(name, number) for number in range(len(blocks.parts))]
    layer: dict[Key, Any] = {}
    for own, key, part in zip(keys, blocks.keys, blocks.parts, strict=True):
        needed = list(dict.fromkeys(piece.block for piece in part))
        numbers = [needed.index(piece.block) for piece in part]
        others = [TaskRef(whole.places[Piece(block, 0)][0]) for block in needed]
        layer[own] = Task(own, tasks.run_with_whole, rule, numbers, TaskRef(key), *others)
    graph = add_layer(name, layer, [blocks.graph, whole.graph])
    return LazyBlocks(graph, tuple(keys), blocks.parts, outlines)
