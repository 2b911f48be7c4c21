"""What names are made of: a hash of content, of any object, to the last bit.

Names of tasks are made in one place, :meth:`outgrad.graph.draft.Draft.place`, of all that tasks do. What two
tasks do is the same if it is written as the same bytes. Pickle writes them, since it leaves nothing out, with
three changes: equal objects are written alike, whether they are one object or two; arrays and labels are
written as hashes; and functions from outside are written with their code, not only with their name. What
cannot be written has a name that nothing else has.
"""

from __future__ import annotations

import pickle
import types
import uuid
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from operator import attrgetter
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Chunk
from outgrad.data.outline import Frame

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
