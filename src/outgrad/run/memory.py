"""Project the memory of a job from its graph: which results a task holds, and how large they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any

from dask.typing import Key

from outgrad.tensor import TensorMap

Sizes = Mapping[Key, int]

STORAGE_BYTES = 112 * 2**20
"""What a worker holds beside the arrays of its task: storage chunks that are being compressed, rows that wait
for their seam, memory that was freed and is kept. Measured with chunks of 16 to 128 MiB: 50 to 90 MiB."""


def part_sizes(maps: Iterable[TensorMap]) -> dict[Key, int]:
    """Bytes of every part of lazy maps, by the key of the task that makes it."""
    sizes: dict[Key, int] = {}
    for map_ in maps:
        lazy = map_._blocks().lazy
        if lazy is not None:
            sizes.update(zip(lazy.keys, lazy.part_bytes, strict=True))
    return sizes


def needed_tasks(graph: Mapping[Key, Any], keys: Iterable[Key]) -> dict[Key, Any]:
    """Leave out of ``graph`` what ``keys`` do not need."""
    found: dict[Key, Any] = {}
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found[key] = graph[key]
            waiting.extend(graph[key].dependencies)
    return found


def result_sizes(graph: Mapping[Key, Any], known: Sizes) -> dict[Key, int]:
    """Bytes of the result of every task of ``graph``.

    Tasks inside an operation (chunks cut anew, partial sums) are not in ``known``. They hold rows of what
    they are made of, for what they are used in: at most as much as either.
    """
    order = list(TopologicalSorter({key: task.dependencies for key, task in graph.items()}).static_order())
    made_of: dict[Key, int] = {}
    for key in order:
        parts = sum(made_of[need] for need in graph[key].dependencies)
        made_of[key] = known.get(key, parts)
    used_in: dict[Key, int] = {}
    sizes: dict[Key, int] = {}
    for key in reversed(order):
        sizes[key] = known.get(key, min(made_of[key], used_in.get(key, 0)))
        for need in graph[key].dependencies:
            used_in[need] = max(used_in.get(need, 0), sizes[key])
    return sizes


def task_bytes(graph: Mapping[Key, Any], sizes: Sizes) -> int:
    """The most that one task holds: what it is given, what it makes, and half of that again on the way."""
    held = (
        sum(sizes[need] for need in task.dependencies) + 3 * sizes[key] // 2 for key, task in graph.items()
    )
    return max(held, default=0)


def waiting_bytes(fused: Mapping[Key, Any], sizes: Sizes) -> int:
    """The largest result that waits in a worker for the next task; a chain that is fused leaves none."""
    needed = {need for task in fused.values() for need in task.dependencies}
    return max((sizes.get(key, 0) for key in needed), default=0)
