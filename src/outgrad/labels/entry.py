"""One row of labels."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex, final

import numpy as np

from outgrad._foreign import kind_of
from outgrad.errors import ValidationError
from outgrad.labels import display
from outgrad.labels.checks import as_array, as_int32, column_index, frozen, normalize_names
from outgrad.labels.types import Table


@final
class LabelsEntry:
    """One row of :class:`Labels`: a value for each name.

    Parameters
    ----------
    names : str or iterable of str
        Names of the d dimensions.
    values : (d,) integers
        The value of each dimension.

    Raises
    ------
    ValidationError
        If there is not one value for each name, or one does not fit into 32 bits.

    Examples
    --------
    >>> entry = LabelsEntry(["system", "atom"], [0, 3])
    >>> entry
    LabelsEntry(system=0, atom=3)
    >>> entry["atom"], entry[0], list(entry)
    (3, 0, [0, 3])
    """

    __slots__ = ("_names", "_values")
    __array_ufunc__ = None

    _names: tuple[str, ...]
    _values: Table

    def __init__(self, names: str | Iterable[str], values: Any) -> None:
        self._names = normalize_names(names)
        array = as_array(values)
        if array.shape != (len(self._names),):
            raise ValidationError(
                f"LabelsEntry: names {list(self._names)} need {len(self._names)} value(s), "
                f"found shape {array.shape}; pass one value for each name"
            )
        self._values = frozen(as_int32(self._names, array[None, :]))[0]

    @classmethod
    def _make(cls, names: tuple[str, ...], values: Table) -> LabelsEntry:
        entry = object.__new__(cls)
        entry._names, entry._values = names, values
        return entry

    @property
    def names(self) -> list[str]:
        """Names of the dimensions, as a new list."""
        return list(self._names)

    @property
    def values(self) -> Table:
        """The (d,) int32 values, read-only."""
        return self._values

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[int]:
        return iter(self._values.tolist())

    def __getitem__(self, dimension: str | SupportsIndex) -> int:
        if isinstance(dimension, str):
            return int(self._values[column_index(self._names, dimension)])
        try:
            position = operator.index(dimension)
        except TypeError:
            raise TypeError(
                f"LabelsEntry: an index must be one name or one integer, found {kind_of(dimension)}; "
                "for several values index entry.values"
            ) from None
        return int(self._values[position])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelsEntry):
            return NotImplemented
        return self._names == other._names and np.array_equal(self._values, other._values)

    def __hash__(self) -> int:
        return hash((self._names, self._values.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        return LabelsEntry, (self._names, self._values)

    def print(self) -> str:
        """Return the entry as text.

        Examples
        --------
        >>> LabelsEntry(["system", "atom"], [0, 3]).print()
        '(system=0, atom=3)'
        """
        return display.row_text(self._names, self._values)

    def __repr__(self) -> str:
        return "LabelsEntry" + self.print()

    def _repr_html_(self) -> str:
        return display.entry_html(self._names, self._values)
