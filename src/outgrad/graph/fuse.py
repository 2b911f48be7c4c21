"""What Dask is given to run: the tasks that are needed; those that only one task needs run as one with it.

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
from outgrad.graph.draft import digest
from outgrad.task import UNKNOWN, Traits

FEW_INPUTS = 4
"""A task that is given more results than these takes in none of the tasks that make them: several workers can
make them at the same time. Chosen so that operations of two to four maps are one task, not measured."""

NAME_LENGTH = 80
"""How much of the names of tasks that run as one is shown in the name of all: a line of a terminal."""


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
        tasks: dict[Key, Any] = {}
        for key, members in self.groups.items():
            if len(members) == 1:
                tasks[key] = self.needed[key]
                continue
            name = _fused_name(members)
            tasks[name] = Task.fuse(*(self.needed[member] for member in members), key=name)
            if name != key:
                tasks[key] = Alias(key, target=name)
        return tasks


def optimize(graph: Any, keys: Iterable[Any]) -> Optimized:
    """Drop what is not asked for, and let tasks run as one with those that alone need them."""
    wanted = frozenset(_flat_keys(list(keys)))
    all_tasks = convert_legacy_graph(ensure_dict(graph))  # persisted results are plain values or futures
    asked_for = cull(all_tasks, set(wanted))
    order = TopologicalSorter({key: task.dependencies for key, task in asked_for.items()}).static_order()
    needed = {key: asked_for[key] for key in order if key in asked_for}
    return Optimized(needed, _fused_groups(needed, wanted), wanted)


def _flat_keys(keys: Any) -> Iterable[Key]:
    if isinstance(keys, list):
        for key in keys:
            yield from _flat_keys(key)
    else:
        yield keys


def _fused_groups(needed: Mapping[Key, Any], wanted: frozenset[Key]) -> dict[Key, tuple[Key, ...]]:
    """Put every task into the group of those that need it, if it is one group and takes it in."""
    users: dict[Key, list[Key]] = {}
    for key, task in needed.items():
        for need in task.dependencies:
            users.setdefault(need, []).append(key)
    last: dict[Key, Key] = {}
    members: dict[Key, list[Key]] = {}
    for key in reversed(needed):  # users first: their groups are known
        groups = {last[user] for user in users.get(key, ())}
        joins = len(groups) == 1 and key not in wanted and isinstance(needed[key], Task | DataNode)
        last[key] = groups.pop() if joins and all(_takes_in(needed[user]) for user in users[key]) else key
        members.setdefault(last[key], []).append(key)
    return {group: tuple(reversed(tasks)) for group, tasks in reversed(members.items())}


def _takes_in(task: Any) -> bool:
    """Whether a task may run as one with those whose results it is given."""
    inputs = len(task.dependencies)
    return inputs <= 1 or (traits(getattr(task, "func", None)).holds_inputs and inputs <= FEW_INPUTS)


def _fused_name(members: Sequence[Key]) -> Key:
    """Name what runs as one after all that it is made of; Dask's own names are cut off where they are long.

    The number of the last task comes before the hash: neighbours stay neighbours when keys are sorted.
    """
    name, *numbers = members[-1] if isinstance(members[-1], tuple) else (members[-1],)
    words = dict.fromkeys(key_split(member) for member in members[:-1])
    words.pop(key_split(members[-1]), None)
    return "-".join(["-".join(words)[:NAME_LENGTH], str(name)]).strip("-"), *numbers, digest(members)


def traits(function: Any) -> Traits:
    """What is known of the function of a task."""
    known = getattr(function, "traits", UNKNOWN)
    return known if isinstance(known, Traits) else UNKNOWN
