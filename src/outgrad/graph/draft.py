"""The one place where tasks are named: after everything that the tasks of their layer do."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from outgrad._forks import in_every_child
from outgrad.graph.dask_names import DataNode, Key, Task, TaskRef
from outgrad.graph.names import digest

TaskFunction = Callable[..., Any]

Sizes = Mapping[Key, int]
"""Bytes, by task."""

DraftKey = tuple[int, int]
"""A task of the layer that is being built: its group, and its number in it."""

Grid = Sequence[tuple[int, ...]] | None
"""Which chunks of an array of several axes tasks make: then keys have a number for each axis. None: tasks are
numbered."""


class Notes(NamedTuple):
    """Bytes of the results of tasks and, where no share is known for them, those on the way."""

    sizes: Sizes
    work: Sizes = MappingProxyType({})

    def __call__(self) -> Notes:
        return self


Note = Callable[[], Notes]
"""Notes are made when they are asked for: most graphs are never projected."""


class SizedLayer(MaterializedLayer):
    """The tasks of one builder, with notes on their memory."""

    def __init__(self, mapping: Mapping[Key, Any], note: Note) -> None:
        super().__init__(mapping)
        self.note = note

    def __reduce__(self) -> tuple[type[SizedLayer], tuple[Mapping[Key, Any], Notes]]:
        """Send the notes along: with a client, its scheduler puts graphs together, and so projects them."""
        return SizedLayer, (self.mapping, Notes(*map(dict, self.note())))


class _Group(NamedTuple):
    """Tasks without names that call one function, their constants, and the keys of what they are given.

    These keys are in ``rows``, one row for each task, or in ``columns``: the n-th task is given the n-th of
    each.
    """

    function: TaskFunction
    data: bool
    constants: list[tuple[Any, ...]]
    columns: Sequence[Sequence[Key]]
    rows: list[Sequence[Key]]

    def refs(self, names: Sequence[str], grid: Grid) -> Iterator[Iterable[TaskRef]]:
        """What each task is given."""
        if self.columns:
            columns = []
            for column in self.columns:
                if any(type(key) is tuple and type(key[0]) is int for key in column):
                    column = [_named(key, names, grid) for key in column]
                columns.append(map(TaskRef, column))  # most are results of other layers, which have names
            return zip(*columns, strict=True)
        if self.rows:
            return ([TaskRef(_named(key, names, grid)) for key in row] for row in self.rows)
        return repeat((), len(self.constants))


@dataclass(frozen=True)
class Layer:
    """A layer that has its names, on top of the graphs of its parents."""

    name: str
    graph: HighLevelGraph
    keys: tuple[Key, ...]
    """Of the tasks that are in no group."""
    names: tuple[str, ...]
    """Of each group."""
    grid: Grid

    def key(self, draft_key: Key) -> Key:
        """The key of a task in the graph; keys of other layers stay what they are."""
        return _named(draft_key, self.names, self.grid)


class Draft:
    """Tasks of a layer that is being built.

    A task is a function, constants, and the keys of what it is given. It has only a number until all of them
    are known; then the layer is named after them all. So two tasks of equal names are equal, and so is all
    that they are made of, which is named in the same way.
    """

    def __init__(self, grid: Grid = None) -> None:
        self._grid = grid
        self._numbers = {"": 0}
        self._groups: list[_Group | None] = [None]

    def add(
        self, function: TaskFunction, constants: tuple[Any, ...], needs: Sequence[Key] = (), group: str = ""
    ) -> DraftKey:
        """Add a task that calls ``function(*constants, *needs)``; all of a group call one function."""
        number = self._number(group)
        tasks = self._groups[number]
        if tasks is None:
            tasks = self._groups[number] = _Group(function, False, [], (), [])
        tasks.constants.append(constants)
        tasks.rows.append(needs)
        return number, len(tasks.rows) - 1

    def add_all(
        self,
        function: TaskFunction,
        constants: Sequence[tuple[Any, ...]],
        needs: Sequence[Sequence[Key]] = (),
        data: bool = False,
        group: str = "",
    ) -> list[DraftKey]:
        """Add a task for each of ``constants``; of ``needs`` the n-th task is given the n-th of each.

        With ``data`` the functions are called now, and the tasks are what they return: these are named
        without being looked at.
        """
        number = self._number(group)
        self._groups[number] = _Group(function, data, list(constants), needs, [])
        return [(number, task) for task in range(len(constants))]

    def _number(self, group: str) -> int:
        number = self._numbers.setdefault(group, len(self._groups))
        if number == len(self._groups):
            self._groups.append(None)
        return number

    def place(self, label: str, parents: Iterable[HighLevelGraph], note: Note, once: bool = False) -> Layer:
        """Name the tasks, and put them on top of the graphs of their parents.

        ``note`` has the memory of tasks by their keys in this draft. Tasks that have effects, as writing a
        file, are named ``once``: a result that is there already cannot stand for them.
        """
        grid = self._grid
        # There may be many groups, but few functions: these are written once, and groups have their numbers.
        functions: dict[TaskFunction, int] = {}
        groups = [
            (name, functions.setdefault(group.function, len(functions)), *group[1:])
            for name, group in self._named_groups(self._numbers)
        ]
        name = f"{label}-{uuid.uuid4().hex if once else digest((list(functions), grid, groups))}"
        names = tuple(f"{group}-{name}" if group else name for group in self._numbers)
        with _no_garbage():
            tasks = dict(self._tasks(names))
        needs = chain.from_iterable(
            chain(*group.columns, *group.rows) for _, group in self._named_groups(names)
        )
        used = {need[0] if isinstance(need, tuple) else need for need in needs}

        def note_by_name() -> Notes:
            return Notes(
                *({_named(key, names, grid): size for key, size in sizes.items()} for sizes in note())
            )

        graph = _on_top(name, tasks, used, parents, note_by_name)
        keys = tuple(key for key in tasks if key[0] is name)  # type: ignore[index]
        return Layer(name, graph, keys, names, grid)

    def _named_groups(self, names: Iterable[Any]) -> Iterator[tuple[Any, _Group]]:
        """Groups with their names; there may be no task that is in no group."""
        return ((name, group) for name, group in zip(names, self._groups, strict=True) if group is not None)

    def _tasks(self, names: Sequence[str]) -> Iterator[tuple[Key, Any]]:
        """All tasks under their names."""
        grid = self._grid
        for name, group in self._named_groups(names):
            function = group.function
            numbers = ((number,) for number in range(len(group.constants))) if grid is None else grid
            keys: list[Key] = [(name, *each) for each in numbers]
            for key, constants, refs in zip(keys, group.constants, group.refs(names, grid), strict=True):
                if group.data:
                    yield key, DataNode(key, function(*constants))
                else:
                    yield key, Task(key, function, *constants, *refs)


_paused: list[bool] = []


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Pause the garbage collector while thousands of tasks are made, none of which is garbage.

    It would go through all objects again each time that their number has grown by a quarter: in a process
    that has imported little, that takes as long as making the tasks.
    """
    if not gc.isenabled():  # paused by the user, or by another thread that makes tasks
        yield
        return
    _paused.append(True)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        _paused.clear()


@in_every_child
def _resume_garbage_collection() -> None:
    """A thread that paused it has not been copied into the child."""
    if _paused:
        gc.enable()
        _paused.clear()


def _named(key: Key, names: Sequence[str], grid: Grid) -> Key:
    """Keys of graphs begin with a name, those of a draft with a number."""
    if type(key) is tuple and type(key[0]) is int:
        group, number = cast(DraftKey, key)
        named: Key = (names[group], number) if grid is None else (names[group], *grid[number])
        return named
    return key


def _on_top(
    name: str, tasks: Mapping[Key, Any], used: set[Any], parents: Iterable[HighLevelGraph], note: Note
) -> HighLevelGraph:
    """Put a layer on top of the graphs of its parents.

    ``used`` has the names of keys on which it builds: mostly those of their layers, but not after persisting.
    """
    layers: dict[str, Any] = {}
    dependencies: dict[str, set[str]] = {}
    tops: set[str] = set()
    for parent in parents:
        layers.update(parent.layers)
        dependencies.update(parent.dependencies)
        tops.update(top_layers(parent))
    used = {each for each in used if not isinstance(each, int)}
    layers[name] = SizedLayer(tasks, note)
    dependencies[name] = (used if used <= layers.keys() else tops) - {name}
    return HighLevelGraph(layers, dependencies)


def top_layers(graph: HighLevelGraph) -> tuple[str, ...]:
    """Names of the layers on which no other layer of ``graph`` builds; Dask keeps them in any order."""
    lower = set().union(*graph.dependencies.values())
    return tuple(name for name in graph.layers if name not in lower)
