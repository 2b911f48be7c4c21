"""Project the memory of tasks from their graph, before any of them runs.

Builders of graphs know how large the result of each of their tasks will be, and note it in their layer. A
task holds what it is given and what it makes, and on the way a share of both again. Results that wait for
the next task are found by walking through the graph in the order in which Dask runs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask.highlevelgraph import HighLevelGraph
from dask.order import order

from outgrad.graph.dask_names import Alias, Key, Task
from outgrad.graph.draft import SizedLayer, Sizes
from outgrad.graph.fuse import Optimized, traits

PIECES_BYTES = 4 * 2**20
"""Pieces in which kernels work on arrays larger than these, offsets, and Python's own objects."""


@dataclass(frozen=True)
class TaskMemory:
    """What the tasks of a graph need, in bytes."""

    task_bytes: int
    """The most that one task holds: what it is given, what it makes, and what it needs on the way."""
    result_bytes: int
    """The largest result that waits for another task."""
    waiting_bytes: int
    """The most that waits at a time, over all workers, if tasks run in Dask's order."""
    whole_bytes: int = 0
    """The largest result that is put together by one task, with the parts that it is made of."""


def noted(graph: Any) -> tuple[dict[Key, int], dict[Key, int]]:
    """What builders noted: bytes of results, and bytes on the way."""
    sizes: dict[Key, int] = {}
    work: dict[Key, int] = {}
    for layer in graph.layers.values() if isinstance(graph, HighLevelGraph) else ():
        if isinstance(layer, SizedLayer):
            own = layer.note()
            sizes.update(own.sizes)
            work.update(own.work)
    return sizes, work


def project(graph: Any, optimized: Optimized) -> TaskMemory:
    """Project the memory of the optimized tasks of a graph."""
    known, work = noted(graph)
    sizes = result_sizes(optimized.needed, known)
    stored = _stored(optimized)
    waiting = {need for needs in stored.values() for need in needs}
    held = {
        key: _group_bytes(group, optimized.needed, sizes, work) for key, group in optimized.groups.items()
    }
    whole = [held.pop(key) for key in optimized.groups if _puts_together(optimized.needed[key])]
    return TaskMemory(
        task_bytes=max(held.values(), default=0),
        result_bytes=max((sizes[key] for key in waiting), default=0),
        waiting_bytes=_waiting(stored, sizes, optimized),
        whole_bytes=max(whole, default=0),
    )


def _puts_together(task: Any) -> bool:
    return traits(getattr(task, "func", None)).finishes


def _waiting(stored: Mapping[Key, frozenset[Key]], sizes: Sizes, optimized: Optimized) -> int:
    """The most that waits; results that are asked for stay, those that are put together are counted there."""
    kept = {key for key in optimized.wanted & stored.keys() if not _puts_together(optimized.needed[key])}
    done, most = 0, 0
    for key, _, after in _kept(stored, sizes):
        done += sizes[key] if key in kept else 0
        most = max(most, after + done)
    return most


def result_sizes(needed: Mapping[Key, Any], known: Sizes) -> dict[Key, int]:
    """Bytes of the result of every task.

    Of tasks that no builder of ours made, as those of Dask's arrays, nothing is known. They hold what they
    are made of, for what they are used in: at most as much as either.
    """
    needs = {need for task in needed.values() for need in task.dependencies}
    made_of = {key: known.get(key, 0) for key in needs - needed.keys()}  # what a cluster holds already
    for key, task in needed.items():
        parts = sum(made_of[need] for need in task.dependencies)
        made_of[key] = known.get(key, parts)
    used_in: dict[Key, int] = {}
    sizes = {key: made_of[key] for key in needs - needed.keys()}
    for key in reversed(needed):
        own = used_in.get(key, 0)
        own = made_of[key] if _puts_together(needed[key]) else own
        sizes[key] = known.get(key, min(made_of[key], own) if needed[key].dependencies else own)
        for need in needed[key].dependencies:
            used_in[need] = max(used_in.get(need, 0), sizes[key])
    return sizes


def _group_bytes(group: Sequence[Key], needed: Mapping[Key, Any], sizes: Sizes, work: Sizes) -> int:
    """Tasks that run as one keep what they were given until the end, and what they make while it is used."""
    inside = frozenset(group)
    given = {need for key in group for need in needed[key].dependencies} - inside
    stored = {key: inside & needed[key].dependencies for key in _depth_first(group, needed)}
    most = 0
    for key, kept, _ in _kept(stored, sizes):
        nbytes = sizes[key] + sum(sizes[need] for need in needed[key].dependencies)
        most = max(most, kept + sizes[key] + _work(needed[key], nbytes, work))
    return sum(sizes[key] for key in given) + most


def _kept(stored: Mapping[Key, frozenset[Key]], sizes: Sizes) -> Iterator[tuple[Key, int, int]]:
    """Yield each task with the bytes of results that are kept when it starts, and of those kept after it.

    ``stored`` has tasks in order, with what each is given. A result is kept until its last user has run;
    that of the task itself is not counted.
    """
    left = Counter(need for needs in stored.values() for need in needs)
    held = 0
    for key, needs in stored.items():
        before = held
        left.subtract(needs)
        held -= sum(sizes[need] for need in needs if not left[need])
        yield key, before, held
        if left[key]:
            held += sizes[key]


def _depth_first(group: Sequence[Key], needed: Mapping[Key, Any]) -> list[Key]:
    """The order in which Dask runs the tasks of a group: one branch after the other."""
    inside = set(group)
    waiting = [group[-1]]
    found: dict[Key, None] = {}
    while waiting:
        key = waiting[-1]
        missing = [need for need in needed[key].dependencies if need in inside and need not in found]
        if missing:
            waiting.append(missing[0])
        else:
            found[waiting.pop()] = None
    return list(found)


def _work(task: Any, nbytes: int, work: Sizes) -> int:
    """Bytes that a task takes beside what it is given and makes."""
    function = getattr(task, "func", None)
    if task.key in work:
        return work[task.key] + PIECES_BYTES
    if function is None:  # data that are there already
        return 0
    found = traits(function)
    if found.copies:
        return PIECES_BYTES
    share = found.share(*task.args) if callable(found.share) else found.share
    return int(share * nbytes) + PIECES_BYTES


def _stored(optimized: Optimized) -> dict[Key, frozenset[Key]]:
    """The tasks in Dask's order, each with the results that it is given.

    A task that was made of several has a new name, and its old one is an alias: these two are one result.
    Data that the graph holds wait for nobody.
    """
    graph = optimized.graph
    names = {task.target: key for key, task in graph.items() if isinstance(task, Alias)}
    priorities: Any = order(graph)
    return {
        names.get(key, key): frozenset(
            need for need in graph[key].dependencies if isinstance(optimized.needed.get(need), Task)
        )
        for key in sorted(graph, key=priorities.__getitem__)
        if isinstance(graph[key], Task)
    }
