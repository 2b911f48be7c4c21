"""Some blocks exchanged for others: parts that hold none of them stay as they are, and cost no task."""

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
    chosen = [n for n, part in enumerate(blocks.parts) if any(piece.block in numbers for piece in part)]
    keys, parts = tuple(blocks.keys[n] for n in chosen), tuple(blocks.parts[n] for n in chosen)
    operand = LazyBlocks(blocks.graph, keys, parts, blocks.outlines)
    result = rowwise(label, function, [config(part) for part in parts], [operand], blocks.outlines)
    changed = dict(zip(keys, result.keys, strict=True))
    return LazyBlocks(
        result.graph, tuple(changed.get(key, key) for key in blocks.keys), blocks.parts, blocks.outlines
    )


def replaced(blocks: LazyBlocks, numbers: Sequence[int], others: LazyBlocks) -> LazyBlocks:
    """Put the k-th of other blocks in the place of block ``numbers[k]``."""
    if list(numbers) == list(range(len(blocks.outlines))):
        return others
    draft = Draft()
    cut: list[Key] = []
    kept: list[Part] = []
    parts_and_keys: list[tuple[Part, Key]] = [
        (tuple(Piece(numbers[piece.block], piece.chunk) for piece in part), key)
        for key, part in zip(others.keys, others.parts, strict=True)
    ]
    for key, part in zip(blocks.keys, blocks.parts, strict=True):
        stay = [n for n, piece in enumerate(part) if piece.block not in numbers]
        rest = tuple(part[n] for n in stay)
        if 0 < len(stay) < len(part):
            key = draft.add(collect_part, ([(0, n) for n in stay],), (key,))
            cut.append(key)
            kept.append(rest)
        if stay:
            parts_and_keys.append((rest, key))
    parts_and_keys.sort(key=lambda each: each[0])
    outlines = list(blocks.outlines)
    for k, number in enumerate(numbers):
        outlines[number] = others.outlines[k]
    graphs = [others.graph, blocks.graph]

    def note() -> Notes:
        return Notes(dict(zip(cut, held_bytes(blocks.outlines, kept), strict=True)))

    keys, parts = tuple(key for _, key in parts_and_keys), tuple(part for part, _ in parts_and_keys)
    if not cut:
        return LazyBlocks(HighLevelGraph.merge(*graphs), keys, parts, tuple(outlines))
    layer = draft.place("kept", graphs, note)
    return LazyBlocks(layer.graph, tuple(map(layer.key, keys)), parts, tuple(outlines))
