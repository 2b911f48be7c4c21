"""What Dask is given to run: the tasks that are needed; those that nobody else needs run as one.

A chunk is read, worked on and written by one task, whatever the number of operations in between: its arrays
are never stored, sent to another worker, or kept beside those of other tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any

from dask.utils import ensure_dict, key_split

from outgrad.graph.dask_names import Alias, DataNode, Key, Task, convert_legacy_graph, cull
from outgrad.graph.names import digest
from outgrad.task import UNKNOWN, Traits

FEW_INPUTS = 4
"""A task that is given more than these takes none of them in: workers make them side by side."""

NAME_LENGTH = 80
"""How much of the names of tasks that run as one is shown in the name of all."""


@dataclass(frozen=True)
class Optimized:
    """Tasks that are needed, and which of them run as one."""

    needed: Mapping[Key, Any]
    """By key, each before those that need it."""
    groups: Mapping[Key, tuple[Key, ...]]
    """Tasks that run as one, by the key of the last of them, which is also the last in its group."""
    wanted: frozenset[Key] = frozenset()
    """Results that are kept to the end."""

    @cached_property
    def graph(self) -> dict[Key, Any]:
        """The tasks to run. One that was made of several has their names, and its old one is an alias."""
        found: dict[Key, Any] = {}
        for key, members in self.groups.items():
            if len(members) == 1:
                found[key] = self.needed[key]
                continue
            name = _fused_name(members)
            found[name] = Task.fuse(*(self.needed[member] for member in members), key=name)
            if name != key:
                found[key] = Alias(key, target=name)
        return found


def optimize(graph: Any, keys: Iterable[Any]) -> Optimized:
    """Drop what is not asked for, and let tasks run as one with those that alone need them."""
    wanted = frozenset(_flat(list(keys)))
    all_tasks = convert_legacy_graph(ensure_dict(graph))  # persisted results are plain values or futures
    needed = _bottom_up(cull(all_tasks, set(wanted)))
    return Optimized(needed, _groups(needed, wanted), wanted)


def _fused_name(members: Sequence[Key]) -> Key:
    """Name what runs as one after all that it is made of; Dask's own names are cut off where they are long.

    The number of the last task comes before the hash: neighbours stay neighbours when keys are sorted.
    """
    name, *numbers = members[-1] if isinstance(members[-1], tuple) else (members[-1],)
    words = dict.fromkeys(key_split(member) for member in members[:-1])
    words.pop(key_split(members[-1]), None)
    return "-".join(["-".join(words)[:NAME_LENGTH], str(name)]).strip("-"), *numbers, digest(members)


def _flat(keys: Any) -> Iterable[Key]:
    if isinstance(keys, list):
        for key in keys:
            yield from _flat(key)
    else:
        yield keys


def _bottom_up(found: Mapping[Key, Any]) -> dict[Key, Any]:
    """Order tasks before those that need them."""
    order = TopologicalSorter({key: task.dependencies for key, task in found.items()}).static_order()
    return {key: found[key] for key in order if key in found}


def _groups(needed: Mapping[Key, Any], wanted: frozenset[Key]) -> dict[Key, tuple[Key, ...]]:
    """Put every task into the group of those that need it, if it is one group and takes it in."""
    users: dict[Key, list[Key]] = {}
    for key, task in needed.items():
        for need in task.dependencies:
            users.setdefault(need, []).append(key)
    last: dict[Key, Key] = {}
    members: dict[Key, list[Key]] = {}
    for key in reversed(needed):
        own = users.get(key, [])
        groups = {last[user] for user in own}
        joins = len(groups) == 1 and key not in wanted and isinstance(needed[key], Task | DataNode)
        last[key] = groups.pop() if joins and all(_takes_in(needed[user]) for user in own) else key
        members.setdefault(last[key], []).append(key)
    return {group: tuple(reversed(found)) for group, found in reversed(members.items())}


def _takes_in(task: Any) -> bool:
    inputs = len(task.dependencies)
    return inputs <= 1 or (traits(getattr(task, "func", None)).holds_inputs and inputs <= FEW_INPUTS)


def traits(function: Any) -> Traits:
    """What is known of the function of a task."""
    known = getattr(function, "traits", UNKNOWN)
    return known if isinstance(known, Traits) else UNKNOWN
