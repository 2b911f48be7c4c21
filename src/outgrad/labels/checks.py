"""User input to labels, made into checked names and int32 tables: the rules of the constructor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad._foreign import as_plain, kind_of
from outgrad.errors import ValidationError
from outgrad.labels.types import Mask, Table

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INT32 = np.iinfo(np.int32)


# ---- names ----
def normalize_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of dimensions as a tuple; one string is one name, and "" none."""
    if isinstance(names, str):
        names = (names,) if names else ()
    try:
        checked = tuple(names)
    except TypeError:
        raise TypeError(
            f"Labels: names must be strings, found {kind_of(names)}; pass e.g. ['system', 'atom']"
        ) from None
    known: set[str] = set()
    for name in checked:
        if not isinstance(name, str):
            raise TypeError(
                f"Labels: names must be strings, found {name!r} of type {type(name).__name__} among them; "
                "pass e.g. ['system', 'atom']"
            )
        if NAME.fullmatch(name) is None:
            raise ValidationError(
                f"Labels: the name {name!r} is not valid; "
                "use letters, digits and underscores, not starting with a digit"
            )
        if name in known:
            raise ValidationError(
                f"Labels: names must differ, found {name!r} twice in {list(checked)}; rename one"
            )
        known.add(name)
    return checked


def column_index(names: tuple[str, ...], name: str) -> int:
    """Return the position of ``name``."""
    if name not in names:
        raise ValueError(f"Labels: {name!r} is not a dimension; use one of {list(names)}")
    return names.index(name)


# ---- values ----
def normalize_values(names: tuple[str, ...], values: Any) -> Table:
    """Return ``values`` as an (n, d) int32 table that nobody can write to.

    Without rows the shape says nothing more: ``np.empty(0)`` and ``np.empty((0, 2))`` are no entries of any
    names.
    """
    array = as_array(values)
    if array.ndim and len(array) == 0:
        array = np.empty((0, len(names)), np.int32)
    if array.ndim != 2 or array.shape[1] != len(names):
        raise ValidationError(
            f"Labels: names {list(names)} need a 2-D array with {len(names)} column(s), "
            f"found shape {array.shape}; reshape it, e.g. values.reshape(-1, {len(names)})"
        )
    check_shape(names, len(array))
    return frozen(as_int32(names, array))


def check_shape(names: tuple[str, ...], count: int) -> None:
    """Refuse entries without dimensions: all of them would be the same."""
    if not names and count:
        raise ValidationError(
            f"Labels: without dimensions there can be no entries, found {count}; "
            "for one entry use Labels.single()"
        )


def normalize_column(name: str, values: Any, count: int) -> npt.NDArray[np.int32]:
    """Return ``values`` as an int32 column of ``count`` rows."""
    array = as_array(values)
    if array.shape != (count,):
        raise ValidationError(
            f"Labels: the new dimension {name!r} needs one value for each of {count} entries, "
            f"found shape {array.shape}; pass a 1-D array"
        )
    return as_int32((name,), array[:, None])[:, 0]


def as_array(values: Any) -> npt.NDArray[Any]:
    """Return what was given for values as a plain array, of any shape and dtype."""
    try:
        return as_plain("Labels: values", values)
    except ValidationError:
        raise
    except ValueError as error:
        raise ValidationError(f"Labels: values must be a rectangular table of integers: {error}") from None


def as_int32(names: Sequence[str], array: npt.NDArray[Any]) -> Table:
    """Cast an (n, d) array to int32, refusing what would change."""
    if array.dtype == np.int32:
        return array.astype(np.int32, copy=False)
    if array.dtype.kind not in "biu" and array.size:
        fractional = array != np.floor(array) if array.dtype.kind == "f" else np.zeros(array.shape, np.bool_)
        row, column = _first(fractional)
        raise TypeError(
            f"Labels: values must be integers, found dtype {array.dtype}: {array[row, column]!s} in row "
            f"{row} of column {names[column]!r}; convert them with values.astype(np.int32)"
        )
    if array.dtype.kind in "iu" and array.size and (array.min() < INT32.min or array.max() > INT32.max):
        row, column = _first((array < INT32.min) | (array > INT32.max))
        raise ValidationError(
            f"Labels: values must fit into 32-bit integers, found {array[row, column]} in row {row} of "
            f"column {names[column]!r}; renumber this column to stay within {INT32.min} and {INT32.max}"
        )
    return array.astype(np.int32)


def _first(mask: Mask) -> tuple[int, int]:
    """Return row and column of the first True, row by row."""
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    return row, column


def frozen(table: Table) -> Table:
    """Return a C-contiguous read-only table; copied unless nobody can write to this one."""
    if type(table) is np.ndarray and table.flags.c_contiguous:
        # A read-only view is no promise: whoever has an array from which the memory is borrowed can still
        # write to it. The search ends at a writable array, or at the owner of the memory.
        owner: Any = table
        while isinstance(owner, np.ndarray) and not owner.flags.writeable:
            owner = owner.base
        if owner is None or isinstance(owner, bytes):
            return table
    copy = np.array(table, dtype=np.int32, order="C", copy=True, subok=False)
    copy.flags.writeable = False
    return copy
