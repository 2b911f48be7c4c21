"""Project the memory of tasks from their graph, before any of them runs.

Builders of graphs know how large the result of each of their tasks will be, and note it in their layer. A
task holds what it is given and what it makes, and on the way a share of both again (:mod:`outgrad.task`).
Results that wait for the next task are found by walking through the graph in the order in which Dask runs
it. docs/design/0006-memory-and-tasks.md compares projections with measurements.
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
"""What every task may take beside its arrays: the pieces in which larger arrays are worked on (512 KiB to
1 MiB, several at a time), offsets, and Python's own objects."""


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
            notes = layer.note()
            sizes.update(notes.sizes)
            work.update(notes.work)
    return sizes, work


def project(graph: Any, optimized: Optimized) -> TaskMemory:
    """Project the memory of the optimized tasks of a graph."""
    known, work = noted(graph)
    sizes = result_sizes(optimized.needed, known)
    stored = tasks_in_order(optimized)
    waiting = {need for needs in stored.values() for need in needs}
    held = {
        key: _group_bytes(group, optimized.needed, sizes, work) for key, group in optimized.groups.items()
    }
    whole = [held.pop(key) for key in optimized.groups if _puts_together(optimized.needed[key])]
    # Results that are asked for stay to the end; those that one task puts together are counted as its result.
    stays = {key for key in optimized.wanted & stored.keys() if not _puts_together(optimized.needed[key])}
    done, waiting_bytes = 0, 0
    for key, _, waits in _kept_results(stored, sizes):
        done += sizes[key] if key in stays else 0
        waiting_bytes = max(waiting_bytes, waits + done)
    return TaskMemory(
        task_bytes=max(held.values(), default=0),
        result_bytes=max((sizes[key] for key in waiting), default=0),
        waiting_bytes=waiting_bytes,
        whole_bytes=max(whole, default=0),
    )


def _puts_together(task: Any) -> bool:
    return traits(getattr(task, "func", None)).finishes


def result_sizes(needed: Mapping[Key, Any], known: Sizes) -> dict[Key, int]:
    """Bytes of the result of every task.

    Of tasks that no builder of ours made, as those of Dask's arrays, nothing is known. They hold what they
    are made of, for what they are used in: at most as much as either.
    """
    needs = {need for task in needed.values() for need in task.dependencies}
    made_of = {key: known.get(key, 0) for key in needs - needed.keys()}  # what a cluster holds already
    for key, task in needed.items():
        input_bytes = sum(made_of[need] for need in task.dependencies)
        made_of[key] = known.get(key, input_bytes)
    used_in: dict[Key, int] = {}
    sizes = {key: made_of[key] for key in needs - needed.keys()}
    for key in reversed(needed):
        bound = made_of[key] if _puts_together(needed[key]) else used_in.get(key, 0)
        sizes[key] = known.get(key, min(made_of[key], bound) if needed[key].dependencies else bound)
        for need in needed[key].dependencies:
            used_in[need] = max(used_in.get(need, 0), sizes[key])
    return sizes


def _group_bytes(group: Sequence[Key], needed: Mapping[Key, Any], sizes: Sizes, work: Sizes) -> int:
    """Tasks that run as one keep what they were given until the end, and what they make while it is used."""
    inside = frozenset(group)
    inputs = {need for key in group for need in needed[key].dependencies} - inside
    # Dask runs the tasks of a group depth first: one branch after the other.
    order: dict[Key, None] = {}
    waiting = [group[-1]]
    while waiting:
        key = waiting[-1]
        missing = [need for need in needed[key].dependencies if need in inside and need not in order]
        if missing:
            waiting.append(missing[0])
        else:
            order[waiting.pop()] = None
    stored = {key: inside & needed[key].dependencies for key in order}
    most = 0
    for key, kept, _ in _kept_results(stored, sizes):
        nbytes = sizes[key] + sum(sizes[need] for need in needed[key].dependencies)
        most = max(most, kept + sizes[key] + work_bytes(needed[key], nbytes, work))
    return sum(sizes[key] for key in inputs) + most


def _kept_results(stored: Mapping[Key, frozenset[Key]], sizes: Sizes) -> Iterator[tuple[Key, int, int]]:
    """Yield each task with the bytes of results that are kept when it starts, and of those kept after it.

    ``stored`` has tasks in order, with what each is given. A result is kept until its last user has run;
    that of the task itself is not counted.
    """
    uses_left = Counter(need for needs in stored.values() for need in needs)
    held = 0
    for key, needs in stored.items():
        before = held
        uses_left.subtract(needs)
        held -= sum(sizes[need] for need in needs if not uses_left[need])
        yield key, before, held
        if uses_left[key]:
            held += sizes[key]


def work_bytes(task: Any, nbytes: int, work: Sizes) -> int:
    """Bytes that a task takes beside ``nbytes``, which it is given and makes."""
    function = getattr(task, "func", None)
    if task.key in work:
        return work[task.key] + PIECES_BYTES
    if function is None:  # data that are there already
        return 0
    known = traits(function)
    if known.copies:
        return PIECES_BYTES
    share = known.share(*task.args) if callable(known.share) else known.share
    return int(share * nbytes) + PIECES_BYTES


def tasks_in_order(optimized: Optimized) -> dict[Key, frozenset[Key]]:
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
