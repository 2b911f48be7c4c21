"""Comparison of lazy blocks, chunk by chunk."""

from __future__ import annotations

from outgrad.engine.compare.chunks import Tolerance, compare_parts
from outgrad.graph.collection import compute_keys
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks


def compute_difference(
    first: LazyBlocks, second: LazyBlocks, tolerance: Tolerance
) -> tuple[int, tuple[str, ...]] | None:
    """Compute two blocks that are cut alike, and return block and path of the first array that differs."""
    draft = Draft()
    count = len(first.keys)
    draft.add_all(compare_parts, [(tolerance,)] * count, [first.keys, second.keys])
    keys: list[Key] = [(0, number) for number in range(count)]
    layer = draft.place("compare", [first.graph, second.graph], lambda: Notes(dict.fromkeys(keys, 0)))
    results = compute_keys(layer.graph, list(layer.keys))
    differences = (
        (piece.block, path)
        for part, paths in zip(first.parts, results, strict=True)
        for piece, path in zip(part, paths, strict=True)
        if path is not None
    )
    return next(differences, None)
