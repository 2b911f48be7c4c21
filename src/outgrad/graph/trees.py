"""Trees of tasks: many results become one, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")

SPLIT_EVERY = 16
"""How many results one task merges at most; fewer where they are large. Chosen: contributions are mostly
small, and each level of the tree costs tasks."""

DIRECT_CHUNKS = 4
"""How many times the target size the results may have that one task merges. Chosen; on the way the task holds
1.6 times as much again (``MERGE_SHARE``)."""


def fan_in(target_bytes: int, nbytes: int) -> int:
    """How many results of ``nbytes`` bytes one task merges."""
    return min(SPLIT_EVERY, max(2, DIRECT_CHUNKS * target_bytes // max(1, nbytes)))


def merge_in_tree(items: list[Item], few: int, merge: Callable[[int, int, list[Item]], Item]) -> list[Item]:
    """Merge a few items at a time until as few are left for the last task.

    ``merge(level, number, items)`` adds a task to the graph and returns where its result is.
    """
    level = 0
    while len(items) > few:
        starts = range(0, len(items), few)
        items = [merge(level, number, items[start : start + few]) for number, start in enumerate(starts)]
        level += 1
    return items
