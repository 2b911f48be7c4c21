"""Trees of tasks: many results become one, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")

SPLIT_EVERY = 16
"""Most results that one task merges; fewer where they are large."""

DIRECT_CHUNKS = 4
"""A task may be given results of so many times the target size."""


def fan_in(target_bytes: int, nbytes: int) -> int:
    """How many results of ``nbytes`` bytes one task merges."""
    return min(SPLIT_EVERY, max(2, DIRECT_CHUNKS * target_bytes // max(1, nbytes)))


def merge_in_tree(items: list[Item], few: int, merge: Callable[[int, int, list[Item]], Item]) -> list[Item]:
    """Merge a few items at a time until as few are left for the last task.

    ``merge(level, number, items)`` adds a task to the graph and says where its result is.
    """
    level = 0
    while len(items) > few:
        starts = range(0, len(items), few)
        items = [merge(level, number, items[start : start + few]) for number, start in enumerate(starts)]
        level += 1
    return items
