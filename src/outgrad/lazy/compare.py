"""Comparison of lazy blocks, chunk by chunk."""

from __future__ import annotations

from typing import Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.typing import Key

from outgrad.kernels.compare import Tolerance
from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import add_layer
from outgrad.lazy.collection import compute_keys
from outgrad.lazy.memory import Notes


def first_difference(
    first: LazyBlocks, second: LazyBlocks, tolerance: Tolerance
) -> tuple[int, tuple[str, ...]] | None:
    """Compute two blocks that are cut alike, and return block and path of the first array that differs."""
    name = f"compare-{tokenize(first.identity, second.identity, tolerance)}"
    layer: dict[Key, Any] = {
        (name, n): Task((name, n), tasks.compare, tolerance, TaskRef(a), TaskRef(b))
        for n, (a, b) in enumerate(zip(first.keys, second.keys, strict=True))
    }
    graph = add_layer(name, layer, [first.graph, second.graph], lambda: Notes(dict.fromkeys(layer, 0)))
    results = compute_keys(graph, list(layer))
    found = [
        (piece.block, piece.chunk, path)
        for part, paths in zip(first.parts, results, strict=True)
        for piece, path in zip(part, paths, strict=True)
        if path is not None
    ]
    return (found[0][0], found[0][2]) if found else None
