"""Some blocks exchanged for others: parts that hold none of them stay what they are, and cost no task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks, held_bytes
from outgrad.lazy.build import add_layer, rowwise
from outgrad.lazy.memory import Notes
from outgrad.plan.outline import Part, Piece


def rowwise_on(
    label: str,
    function: Callable[..., Any],
    blocks: LazyBlocks,
    numbers: Collection[int],
    config: Callable[[Part], tuple[Any, ...]],
    token: Any,
) -> LazyBlocks:
    """Run ``function(*config(part), part)`` on the parts that hold any of some blocks; shapes stay."""
    held = [n for n, part in enumerate(blocks.parts) if any(piece.block in numbers for piece in part)]
    keys, parts = tuple(blocks.keys[n] for n in held), tuple(blocks.parts[n] for n in held)
    own = LazyBlocks(blocks.graph, keys, parts, blocks.outlines)
    run = rowwise(label, function, [config(part) for part in parts], [own], own.outlines, token)
    changed = dict(zip(keys, run.keys, strict=True))
    return LazyBlocks(
        run.graph, tuple(changed.get(key, key) for key in blocks.keys), blocks.parts, blocks.outlines
    )


def replaced(blocks: LazyBlocks, numbers: Sequence[int], others: LazyBlocks) -> LazyBlocks:
    """Put the k-th of other blocks in the place of block ``numbers[k]``."""
    if list(numbers) == list(range(len(blocks.outlines))):
        return others
    name = f"kept-{tokenize(blocks.identity, list(numbers))}"
    layer: dict[Key, Any] = {}
    kept: list[Part] = []
    found: list[tuple[Part, Key]] = [
        (tuple(Piece(numbers[piece.block], piece.chunk) for piece in part), key)
        for key, part in zip(others.keys, others.parts, strict=True)
    ]
    for key, part in zip(blocks.keys, blocks.parts, strict=True):
        stay = [place for place, piece in enumerate(part) if piece.block not in numbers]
        if 0 < len(stay) < len(part):
            own = (name, len(layer))
            layer[own] = Task(own, tasks.collect, [(0, place) for place in stay], TaskRef(key))
            kept.append(tuple(part[place] for place in stay))
            key = own
        if stay:
            found.append((tuple(part[place] for place in stay), key))
    found.sort(key=lambda each: each[0])
    outlines = list(blocks.outlines)
    for k, number in enumerate(numbers):
        outlines[number] = others.outlines[k]
    graphs = [others.graph, blocks.graph]

    def note() -> Notes:
        return Notes(dict(zip(layer, held_bytes(blocks.outlines, kept), strict=True)))

    graph = add_layer(name, layer, graphs, note) if layer else HighLevelGraph.merge(*graphs)
    return LazyBlocks(
        graph, tuple(key for _, key in found), tuple(part for part, _ in found), tuple(outlines)
    )
