"""Layers that are being built, and the one place where their tasks are named: after everything that they do.

What two tasks do is the same if it is written as the same bytes. Pickle writes them, since it leaves nothing
out, with three changes: equal objects are written alike, whether they are one object or two; arrays and
labels are written as hashes; and functions from outside are written with their code, not only with their
name. What cannot be written has a name that nothing else has.
"""

from __future__ import annotations

import gc
import pickle
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from hashlib import sha256
from itertools import chain, repeat
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import cloudpickle
import numpy as np
import numpy.typing as npt
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from outgrad._forks import in_every_child
from outgrad.data.chunk import Chunk
from outgrad.data.outline import Frame
from outgrad.graph.dask_names import DataNode, Key, Task, TaskRef

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


# ---- what names are made of: a hash of content, of any object, to the last bit ----
Content = tuple[Any, ...]

INLINE_BYTES = 256
"""Smaller arrays are written as they are: a hash of their own takes longer."""

DIGITS = 32
"""Hexadecimal digits of a name, 128 bits."""


def digest(content: Any) -> str:
    """Name some content: 32 hexadecimal digits, the same in every process."""
    return str(_hash(content).hexdigest()[:DIGITS])


def _hash(content: Any) -> Any:
    state = sha256(usedforsecurity=False)
    _Encoder(_Sink(state.update)).dump(content)
    return state


class Shared:
    """An object that many tasks have: it is hashed once, not for each of them."""

    __slots__ = ()


class _Sink(NamedTuple):
    """A file that is not kept."""

    write: Callable[[Any], Any]


def _marker(*content: Any) -> None:
    """What stands before the content of an object that is not written as pickle does it."""


class _Encoder(pickle.Pickler):
    """Writes content so that it is the same where its bytes are, and only there."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=5)
        self.memo = {id(_marker): (0, _marker)}
        self.fast = True  # no references to what was written before: they tell how objects are shared
        self._once: dict[int, tuple[Any, Content]] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Write every object that is not a number, text, tuple, list or dict."""
        content = _CONTENT.get(type(obj)) or _find_content(type(obj))
        if content not in _SHARED:
            return _marker, content(obj)
        known = self._once.get(id(obj))
        if known is None:
            written = content(obj)
            if content is not _array_content:  # which is short in itself
                written = "hash", _hash(written).digest()
            known = self._once[id(obj)] = obj, written  # the object too: its id is not given to another one
        return _marker, known[1]


# ---- objects that we know ----
def _array_content(array: npt.NDArray[Any]) -> Content:
    """The order in memory is written too: it may change the last bits of sums."""
    dtype = array.dtype
    if dtype.hasobject:
        return _by_value(array)
    head = ("array", _dtype_content(dtype), array.shape)
    if array.nbytes <= INLINE_BYTES:
        return *head, array.tobytes()
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return *head, "F", _bytes_hash(array.T)
    return *head, "C", _bytes_hash(np.ascontiguousarray(array))


def _bytes_hash(array: npt.NDArray[Any]) -> bytes:
    flat: Any = array.reshape(-1).view(np.uint8)
    return sha256(flat, usedforsecurity=False).digest()


def _dtype_content(dtype: np.dtype[Any]) -> Content:
    if dtype.hasobject or dtype.fields is not None or dtype.metadata:
        return _by_value(dtype)
    return "dtype", dtype.str


def _scalar_content(number: np.generic) -> Content:
    if number.dtype.hasobject:
        return _by_value(number)
    return "scalar", number.dtype, number.tobytes()


def _complex_content(number: complex) -> Content:
    return "complex", number.real, number.imag


def _function_content(function: Callable[..., Any]) -> Content:
    module, name = function.__module__, function.__qualname__
    return ("function", module, name) if _is_ours(module) and "<" not in name else _by_value(function)


def _is_ours(module: str | None) -> bool:
    return module is not None and module.split(".")[0] == "outgrad"


def _find_content(kind: type) -> Callable[[Any], Content]:
    """Find out how objects of a class are written that are met for the first time."""
    if issubclass(kind, np.generic):
        content: Callable[[Any], Content] = _scalar_content
    elif issubclass(kind, np.dtype):
        content = _dtype_content
    elif not _is_ours(kind.__module__):
        return _tokenized if hasattr(kind, "__dask_tokenize__") else _by_value
    else:
        content = _content_of_ours(kind)
    _CONTENT[kind] = content
    if issubclass(kind, Shared):
        _SHARED.add(content)
    return content


def _content_of_ours(kind: type) -> Callable[[Any], Content]:
    """Classes of ours are named tuples, dataclasses and enumerations, or say how they are named."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if hasattr(kind, "__dask_tokenize__"):
        return _tokenized
    if issubclass(kind, Enum):
        return lambda member: (name, member.name)
    if hasattr(kind, "_fields"):
        return lambda values: (name, *values)
    if not is_dataclass(kind) or "__reduce__" in vars(kind):
        return _by_value
    names = [field.name for field in fields(kind)]
    if len(names) == 1:
        return lambda values: (name, getattr(values, names[0]))
    return lambda values, get=attrgetter(*names): (name, *get(values))  # type: ignore[misc]


def _chunk_content(chunk: Chunk) -> Content:
    return "chunk", chunk.values, chunk.gradients, chunk.table


def _frame_content(frame: Frame) -> Content:
    return "frame", frame.trailing, frame.dtype, frame.dimensions, frame.gradients


# ---- objects from outside ----
def _tokenized(obj: Any) -> Content:
    """Objects that say to Dask what they are named after."""
    kind = type(obj)
    return "tokenized", kind.__module__, kind.__qualname__, obj.__dask_tokenize__()


def _by_value(obj: Any) -> Content:
    """Write all that makes up an object; what cannot be written is named once and never again."""
    is_function = isinstance(obj, types.FunctionType)
    for candidate in (_unnamed(obj), obj) if is_function else (obj,):
        buffers: list[pickle.PickleBuffer] = []
        try:
            written = cloudpickle.dumps(candidate, protocol=5, buffer_callback=buffers.append)
        except Exception:  # objects from outside may raise anything
            continue
        rest = [sha256(buffer.raw(), usedforsecurity=False).digest() for buffer in buffers]
        code = cloudpickle.dumps(obj.__code__) if is_function else b""
        return "written", written, code, rest
    return "unique", uuid.uuid4().hex


def _unnamed(function: types.FunctionType) -> types.FunctionType:
    """The same function under a name under which it cannot be imported, so that its code is written.

    A module may be edited and loaded again, or be a different one in the process of another user.
    """
    copy = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__dict__.update(function.__dict__)
    copy.__qualname__ = function.__qualname__
    copy.__module__ = "__main__"
    return copy


_CONTENT: dict[type, Callable[[Any], Content]] = {
    np.ndarray: _array_content,
    complex: _complex_content,
    types.FunctionType: _function_content,
    Chunk: _chunk_content,
    Frame: _frame_content,
}
"""By class, how its objects are written. Only classes of ours and of NumPy are remembered."""

_SHARED: set[Callable[[Any], Content]] = {
    _array_content,
    _chunk_content,
    _frame_content,
    _function_content,
    _tokenized,
    _by_value,
}
"""How objects of many tasks are written, or those that take long: each of them is hashed once."""
