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

OwnKey = tuple[int, int]
"""A task of the layer that is being built: its group, and its number in it."""


Places = Sequence[tuple[int, ...]] | None
"""Where chunks are in an array of several axes, which its keys tell; else tasks have numbers."""


class Notes(NamedTuple):
    """Bytes of the results of tasks and, where no share is known for them, those on the way."""

    sizes: Sizes
    work: Sizes = MappingProxyType({})


Note = Callable[[], Notes]
"""Notes are made when they are asked for: most graphs are never projected."""


class SizedLayer(MaterializedLayer):
    """The tasks of one builder, with notes on their memory."""

    def __init__(self, mapping: Mapping[Key, Any], note: Note) -> None:
        super().__init__(mapping)
        self.note = note

    def __reduce__(self) -> tuple[type[SizedLayer], tuple[Mapping[Key, Any], _Made]]:
        """A scheduler is told what was noted: it puts graphs together, and so it projects them."""
        return SizedLayer, (self.mapping, _Made(Notes(*map(dict, self.note()))))


class _Made(NamedTuple):
    """Notes that are made already."""

    notes: Notes

    def __call__(self) -> Notes:
        return self.notes


class _Group(NamedTuple):
    """Tasks without names that call one function, their constants, and what they are given.

    What they are given are rows, one for each task, or columns: the n-th task is given the n-th of each.
    """

    function: TaskFunction
    data: bool
    constants: list[tuple[Any, ...]]
    columns: Sequence[Sequence[Key]]
    rows: list[Sequence[Key]]

    def refs(self, names: Sequence[str], places: Places) -> Iterator[Iterable[TaskRef]]:
        """What each task is given."""
        if self.columns:
            columns = (_all_named(column, names, places) for column in self.columns)
            return zip(*(map(TaskRef, column) for column in columns), strict=True)
        if self.rows:
            return ([TaskRef(_named(key, names, places)) for key in row] for row in self.rows)
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
    places: Places

    def key(self, own: Key) -> Key:
        """The key of a task in the graph; keys of other layers stay what they are."""
        return _named(own, self.names, self.places)


class Draft:
    """Tasks of a layer that is being built.

    A task is a function, constants, and the keys of what it is given. It has no name before all of them are
    known, only a number; then the layer is named after them all, so that two tasks of equal names are equal,
    and so is all that they are made of, which is named in the same way.
    """

    def __init__(self, places: Places = None) -> None:
        self._places = places
        self._numbers = {"": 0}
        self._groups: list[_Group | None] = [None]

    def add(
        self, function: TaskFunction, constants: tuple[Any, ...], needs: Sequence[Key] = (), group: str = ""
    ) -> OwnKey:
        """Add a task that calls ``function(*constants, *needs)``; all of a group call one function."""
        number = self._number(group)
        own = self._groups[number]
        if own is None:
            own = self._groups[number] = _Group(function, False, [], (), [])
        own.constants.append(constants)
        own.rows.append(needs)
        return number, len(own.rows) - 1

    def add_all(
        self,
        function: TaskFunction,
        constants: Sequence[tuple[Any, ...]],
        needs: Sequence[Sequence[Key]] = (),
        data: bool = False,
        group: str = "",
    ) -> list[OwnKey]:
        """Add a task for each of ``constants``; of ``needs`` the n-th task is given the n-th of each.

        With ``data`` the functions are called now, and the tasks are what they return: these are named
        without being looked at.
        """
        number = self._number(group)
        self._groups[number] = _Group(function, data, list(constants), needs, [])
        return [(number, each) for each in range(len(constants))]

    def _number(self, group: str) -> int:
        number = self._numbers.setdefault(group, len(self._groups))
        if number == len(self._groups):
            self._groups.append(None)
        return number

    def _named(self, names: Iterable[Any]) -> Iterator[tuple[Any, _Group]]:
        """Groups with their names; there may be no task that is in no group."""
        return ((name, own) for name, own in zip(names, self._groups, strict=True) if own is not None)

    def place(self, label: str, parents: Iterable[HighLevelGraph], note: Note, once: bool = False) -> Layer:
        """Name the tasks, and put them on top of the graphs of their parents.

        ``note`` tells the memory of tasks by the keys of this draft. Tasks that have effects, as writing a
        file, are named ``once``: a result that is there already cannot stand for them.
        """
        name = f"{label}-{uuid.uuid4().hex if once else digest(self._content())}"
        names = tuple(f"{group}-{name}" if group else name for group in self._numbers)
        with _no_garbage():
            tasks = dict(self._tasks(names))
        needs = chain.from_iterable(chain(*own.columns, *own.rows) for _, own in self._named(names))
        used = {need[0] if isinstance(need, tuple) else need for need in needs}
        graph = _on_top(name, tasks, used, parents, _renamed(note, names, self._places))
        keys = tuple(key for key in tasks if key[0] is name)  # type: ignore[index]
        return Layer(name, graph, keys, names, self._places)

    def _content(self) -> Any:
        """All groups; with functions by number, since there may be many groups, but few functions."""
        functions: dict[TaskFunction, int] = {}
        groups = [
            (name, functions.setdefault(own.function, len(functions)), *own[1:])
            for name, own in self._named(self._numbers)
        ]
        return list(functions), self._places, groups

    def _tasks(self, names: Sequence[str]) -> Iterator[tuple[Key, Any]]:
        places = self._places
        for name, group in self._named(names):
            function = group.function
            each = ((number,) for number in range(len(group.constants))) if places is None else places
            keys: list[Key] = [(name, *place) for place in each]
            for key, own, given in zip(keys, group.constants, group.refs(names, places), strict=True):
                yield key, DataNode(key, function(*own)) if group.data else Task(key, function, *own, *given)


_paused: list[bool] = []


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Let Python not look for garbage while thousands of tasks are made, none of which is any.

    It would go through all objects again each time that their number has grown by a quarter: in a process
    that has imported little, that takes as long as making the tasks.
    """
    if not gc.isenabled():  # by the user, or by another thread that makes tasks
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
def _look_for_garbage() -> None:
    """A thread that paused it stays with the parent."""
    if _paused:
        gc.enable()
        _paused.clear()


def _all_named(keys: Sequence[Key], names: Sequence[str], places: Places) -> Sequence[Key]:
    """Most tasks are given results of other layers alone, whose names are known."""
    if any(type(key) is tuple and type(key[0]) is int for key in keys):
        return [_named(key, names, places) for key in keys]
    return keys


def _named(key: Key, names: Sequence[str], places: Places) -> Key:
    """Keys of graphs begin with a name, those of a draft with a number."""
    if type(key) is tuple and type(key[0]) is int:
        group, number = cast(OwnKey, key)
        own: Key = (names[group], number) if places is None else (names[group], *places[number])
        return own
    return key


def _renamed(note: Note, names: Sequence[str], places: Places) -> Note:
    def renamed() -> Notes:
        return Notes(*({_named(key, names, places): size for key, size in own.items()} for own in note()))

    return renamed


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
    used = {own for own in used if not isinstance(own, int)}
    layers[name] = SizedLayer(tasks, note)
    dependencies[name] = (used if used <= layers.keys() else tops) - {name}
    return HighLevelGraph(layers, dependencies)


def top_layers(graph: HighLevelGraph) -> tuple[str, ...]:
    """Names of the layers on which no other layer of ``graph`` builds; Dask keeps them in any order."""
    below = set().union(*graph.dependencies.values())
    return tuple(name for name in graph.layers if name not in below)
