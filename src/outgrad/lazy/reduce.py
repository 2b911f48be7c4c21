"""Sums over chunks: partial sums of each chunk, then a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dask._task_spec import Task
from dask.base import tokenize
from dask.typing import Key

from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import Place, add_layer, outlines_token, refs
from outgrad.plan.chunks import pack
from outgrad.plan.outline import Outline

SPLIT_EVERY = 16
"""Partial sums that one task adds up."""

Partial = tuple[Place, Any]
"""A partial sum, and its ``(target, size)``: the groups its rows belong to; None if they are final."""


def combine(
    blocks: LazyBlocks,
    groups: Sequence[Sequence[Any] | None],
    outlines: tuple[Outline, ...],
    target_bytes: int,
) -> LazyBlocks:
    """Add the chunks of each block into one, where ``groups`` says which groups they hold.

    A block whose entry is None is final already: its chunks pass through.
    """
    parts = pack(outlines, target_bytes)
    crossing = [group is not None for group in groups]
    name = f"combine-{tokenize(blocks.keys[:1], crossing, outlines_token(outlines, parts))}"
    layer: dict[Key, Any] = {}
    sums: list[list[list[Partial]]] = []
    for number, own in enumerate(groups):
        places = list(blocks.chunks_of(number))
        if own is None:
            sums.append([[(place, None)] for place in places])
        else:
            partials = list(zip(places, own, strict=True))
            sums.append([_tree(layer, f"{name}-tree-{number}", partials)])
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    for key, part in zip(keys, parts, strict=True):
        layer[key] = _combine_task(key, [sums[piece.block][piece.chunk] for piece in part])
    return LazyBlocks(add_layer(name, layer, [blocks.graph]), tuple(keys), parts, outlines)


def _tree(layer: dict[Key, Any], name: str, partials: list[Partial]) -> list[Partial]:
    """Add up to ``SPLIT_EVERY`` partial sums a task until as few are left for the last task."""
    level = 0
    while len(partials) > SPLIT_EVERY:
        following: list[Partial] = []
        for start in range(0, len(partials), SPLIT_EVERY):
            key = (f"{name}-{level}", start // SPLIT_EVERY)
            layer[key] = _combine_task(key, [partials[start : start + SPLIT_EVERY]])
            following.append(((key, 0), None))
        partials, level = following, level + 1
    return partials


def _combine_task(key: Key, sums: Sequence[Sequence[Partial]]) -> Task:
    numbers, used = refs(place for own in sums for place, _ in own)
    recipe = [[(numbers[k], place, groups) for (k, place), groups in own] for own in sums]
    return Task(key, tasks.combine, recipe, *used)
