"""User input to labels, made into checked names and int32 tables: every rule of the constructor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad._foreign import as_plain
from outgrad.errors import ValidationError
from outgrad.labels.packing import Table
from outgrad.labels.tables import RowIndex, has_repeated_rows

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
INT32 = np.iinfo(np.int32)


def normalize_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of dimensions as a tuple; one string is one name, and "" none."""
    if isinstance(names, str):
        names = (names,) if names else ()
    try:
        found = tuple(names)
    except TypeError:
        raise TypeError(
            f"Labels names must be strings, found {_kind(names)}; pass e.g. ['system', 'atom']"
        ) from None
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"Labels names must be strings, found {name!r} of type {_kind(name)} among them")
    _check_names(found)
    return found


def _check_names(names: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for name in names:
        if NAME.fullmatch(name) is None:
            raise ValidationError(
                f"Labels name {name!r} is not valid; "
                "use letters, digits and underscores, not starting with a digit"
            )
        if name in seen:
            raise ValidationError(
                f"Labels names must differ, found {name!r} twice in {list(names)}; rename one"
            )
        seen.add(name)


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
            f"Labels with names {list(names)} need a 2-D array with {len(names)} column(s), "
            f"found shape {array.shape}; reshape it, e.g. values.reshape(-1, {len(names)})"
        )
    check_shape(names, len(array))
    return frozen(as_int32(names, array))


def check_shape(names: tuple[str, ...], count: int) -> None:
    """Refuse entries without dimensions: all of them would be the same."""
    if not names and count:
        raise ValidationError(
            f"Labels without dimensions can have no entries, found {count}; for one entry use Labels.single()"
        )


def normalize_column(name: str, values: Any, count: int) -> npt.NDArray[np.int32]:
    """Return ``values`` as an int32 column of ``count`` rows."""
    array = as_array(values)
    if array.shape != (count,):
        raise ValidationError(
            f"the new dimension {name!r} needs a 1-D array with one value for each of {count} entries, "
            f"found shape {array.shape}"
        )
    return as_int32((name,), array[:, None])[:, 0]


def as_array(values: Any) -> npt.NDArray[Any]:
    """Return what was given for values as a plain array, of any shape and dtype."""
    try:
        return as_plain("Labels: values", values)
    except ValidationError:
        raise
    except ValueError as error:
        raise ValidationError(f"Labels values must be a rectangular table of integers: {error}") from None


def as_int32(names: Sequence[str], array: npt.NDArray[Any]) -> Table:
    """Cast an (n, d) array to int32, refusing what would change."""
    if array.dtype == np.int32:
        return array.astype(np.int32, copy=False)
    if array.dtype.kind not in "biu" and array.size:
        raise TypeError(_not_integers(names, array))
    if array.dtype.kind in "iu" and array.size and (array.min() < INT32.min or array.max() > INT32.max):
        raise ValidationError(_not_int32(names, array))
    return array.astype(np.int32)


def _not_integers(names: Sequence[str], array: npt.NDArray[Any]) -> str:
    fractional = array != np.floor(array) if array.dtype.kind == "f" else np.zeros(array.shape, np.bool_)
    row, column = _first(fractional)
    return (
        f"Labels values must be integers, found dtype {array.dtype}: {array[row, column]!s} in row {row} of "
        f"column {names[column]!r}; convert them with values.astype(np.int32)"
    )


def _not_int32(names: Sequence[str], array: npt.NDArray[Any]) -> str:
    outside = (array < INT32.min) | (array > INT32.max)
    row, column = _first(outside)
    return (
        f"Labels values must fit into 32-bit integers, found {array[row, column]} in row {row} of column "
        f"{names[column]!r}; renumber this column to stay within {INT32.min} and {INT32.max}"
    )


def _first(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return row and column of the first True, row by row."""
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    return row, column


def frozen(table: Table) -> Table:
    """Return a C-contiguous read-only table; copied unless nobody can write to this one."""
    if type(table) is np.ndarray and table.flags.c_contiguous and _is_immutable(table):
        return table
    copy = np.array(table, dtype=np.int32, order="C", copy=True, subok=False)
    copy.flags.writeable = False
    return copy


def _is_immutable(table: Table) -> bool:
    """Whether neither the array nor any memory it borrows can be written to."""
    owner: Any = table
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return owner is None or isinstance(owner, bytes)


def check_unique(names: tuple[str, ...], table: Table) -> None:
    """Refuse a table in which a row occurs twice."""
    if not has_repeated_rows(table):
        return
    first_positions = RowIndex(table, expected=len(table)).find(table)
    second = int((first_positions != np.arange(len(table))).argmax())
    first = int(first_positions[second])
    raise ValidationError(
        f"Labels rows must be unique, found {row_text(names, table[second])} in rows {first} and {second}; "
        "remove one of them, or add a dimension that tells them apart"
    )


def row_text(names: Iterable[str], row: Table) -> str:
    """Return ``(system=0, atom=3)``."""
    pairs = zip(names, row.tolist(), strict=True)
    return "(" + ", ".join(f"{name}={value}" for name, value in pairs) + ")"


def _kind(thing: object) -> str:
    return type(thing).__name__
