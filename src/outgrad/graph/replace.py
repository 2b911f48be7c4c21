"""Some blocks exchanged for others: parts that hold none of them stay what they are, and cost no task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from dask.highlevelgraph import HighLevelGraph

from outgrad.data.chunk import collect_part
from outgrad.data.outline import Part, Piece
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, held_bytes, rowwise


def rowwise_on(
    label: str,
    function: Callable[..., Any],
    blocks: LazyBlocks,
    numbers: Collection[int],
    config: Callable[[Part], tuple[Any, ...]],
) -> LazyBlocks:
    """Run ``function(*config(part), part)`` on the parts that hold any of some blocks; shapes stay."""
    held = [n for n, part in enumerate(blocks.parts) if any(piece.block in numbers for piece in part)]
    keys, parts = tuple(blocks.keys[n] for n in held), tuple(blocks.parts[n] for n in held)
    own = LazyBlocks(blocks.graph, keys, parts, blocks.outlines)
    run = rowwise(label, function, [config(part) for part in parts], [own], own.outlines)
    changed = dict(zip(keys, run.keys, strict=True))
    return LazyBlocks(
        run.graph, tuple(changed.get(key, key) for key in blocks.keys), blocks.parts, blocks.outlines
    )


def replaced(blocks: LazyBlocks, numbers: Sequence[int], others: LazyBlocks) -> LazyBlocks:
    """Put the k-th of other blocks in the place of block ``numbers[k]``."""
    if list(numbers) == list(range(len(blocks.outlines))):
        return others
    draft = Draft()
    cut: list[Key] = []
    kept: list[Part] = []
    found: list[tuple[Part, Key]] = [
        (tuple(Piece(numbers[piece.block], piece.chunk) for piece in part), key)
        for key, part in zip(others.keys, others.parts, strict=True)
    ]
    for key, part in zip(blocks.keys, blocks.parts, strict=True):
        stay = [place for place, piece in enumerate(part) if piece.block not in numbers]
        if 0 < len(stay) < len(part):
            key = draft.add(collect_part, ([(0, place) for place in stay],), (key,))
            cut.append(key)
            kept.append(tuple(part[place] for place in stay))
        if stay:
            found.append((tuple(part[place] for place in stay), key))
    found.sort(key=lambda each: each[0])
    outlines = list(blocks.outlines)
    for k, number in enumerate(numbers):
        outlines[number] = others.outlines[k]
    graphs = [others.graph, blocks.graph]

    def note() -> Notes:
        return Notes(dict(zip(cut, held_bytes(blocks.outlines, kept), strict=True)))

    keys, parts = tuple(key for _, key in found), tuple(part for part, _ in found)
    if not cut:
        return LazyBlocks(HighLevelGraph.merge(*graphs), keys, parts, tuple(outlines))
    layer = draft.place("kept", graphs, note)
    return LazyBlocks(layer.graph, tuple(map(layer.key, keys)), parts, tuple(outlines))
