"""The class that names rows: samples, components, properties and keys are labels."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, final, overload

import numpy as np
import numpy.typing as npt

from outgrad._foreign import kind_of
from outgrad.errors import ValidationError
from outgrad.labels import show
from outgrad.labels.check import check_unique, normalize_names, normalize_values
from outgrad.labels.columns import LabelColumns
from outgrad.labels.entry import LabelsEntry, column_index
from outgrad.labels.packing import Table
from outgrad.labels.saving import Saving
from outgrad.labels.sets import LabelSets
from outgrad.labels.tables import RowIndex


@final
class Labels(LabelSets, LabelColumns, Saving):
    """A list of unique entries, each an integer for every named dimension.

    Labels do not change; whatever changes them returns new ones. Two labels are equal if they have
    the same names in the same order and the same entries in the same order.

    Parameters
    ----------
    names : str or iterable of str
        Names of the d dimensions: letters, digits and underscores, not starting with a digit.
    values : (n, d) integers
        One row for each entry; kept as 32-bit integers. An array that can be written to is copied.
    assume_unique : bool
        Do not check that entries are unique, for a caller who knows.

    Raises
    ------
    ValidationError
        If names are invalid or repeated, the shape does not fit, an entry is repeated or a
        value does not fit into 32 bits.
    TypeError
        If names are not strings or values are not integers.

    Examples
    --------
    >>> labels = Labels(["system", "atom"], [[0, 4], [0, 5]])
    >>> print(labels)
    Labels(
        system  atom
          0      4
          0      5
    )
    >>> labels["atom"]
    array([4, 5], dtype=int32)
    >>> labels[1]
    LabelsEntry(system=0, atom=5)
    """

    _kind = "labels"

    __slots__ = ()

    def __init__(self, names: str | Iterable[str], values: Any, assume_unique: bool = False) -> None:
        checked = normalize_names(names)
        table = normalize_values(checked, values)
        if not assume_unique:
            check_unique(checked, table)
        self._fill(checked, len(table), table)

    @staticmethod
    def single() -> Labels:
        """Return labels with one entry that means nothing: name ``_``, value 0.

        Returns
        -------
        Labels
            The labels.

        Examples
        --------
        >>> Labels.single()[0]
        LabelsEntry(_=0)
        """
        return Labels._make(("_",), np.zeros((1, 1), dtype=np.int32))

    @staticmethod
    def empty(names: str | Iterable[str]) -> Labels:
        """Return labels with these names and no entries.

        Parameters
        ----------
        names : str or iterable of str
            Names of the dimensions.

        Returns
        -------
        Labels
            The labels.

        Examples
        --------
        >>> Labels.empty(["system", "atom"]).shape
        (0, 2)
        """
        checked = normalize_names(names)
        return Labels._make(checked, np.empty((0, len(checked)), dtype=np.int32))

    @staticmethod
    def range(name: str, end: int) -> Labels:
        """Return labels with one dimension and the values 0 to ``end - 1``.

        Parameters
        ----------
        name : str
            Name of the dimension.
        end : int
            Number of entries.

        Returns
        -------
        Labels
            The labels.

        Raises
        ------
        ValidationError
            If ``end`` is negative.

        Examples
        --------
        >>> Labels.range("n", 3)["n"]
        array([0, 1, 2], dtype=int32)
        """
        if end < 0:
            raise ValidationError(f"Labels.range needs the number of entries, found {end=}")
        return Labels._make(normalize_names((name,)), np.arange(end, dtype=np.int32)[:, None])

    def __iter__(self) -> Iterator[LabelsEntry]:
        return (LabelsEntry._make(self._names, row) for row in self.values)

    @overload
    def __getitem__(self, dimension: str) -> npt.NDArray[np.int32]: ...

    @overload
    def __getitem__(self, dimension: SupportsIndex) -> LabelsEntry: ...

    def __getitem__(self, dimension: str | SupportsIndex) -> npt.NDArray[np.int32] | LabelsEntry:
        return self.column(dimension) if isinstance(dimension, str) else self.entry(dimension)

    def column(self, dimension: str) -> npt.NDArray[np.int32]:
        """Return the values of one dimension; ``labels["name"]`` is the same.

        Parameters
        ----------
        dimension : str
            Name of the dimension.

        Returns
        -------
        (n,) array of int32
            Its values, read-only.

        Raises
        ------
        ValueError
            If there is no such dimension.

        Examples
        --------
        >>> Labels(["system", "atom"], [[0, 4], [0, 5]]).column("atom")
        array([4, 5], dtype=int32)
        """
        if not isinstance(dimension, str):
            raise TypeError(f"column needs the name of a dimension, found {kind_of(dimension)}")
        place = column_index(self._names, dimension)
        return self.values[:, place]

    def entry(self, index: SupportsIndex) -> LabelsEntry:
        """Return one entry; ``labels[index]`` is the same.

        Parameters
        ----------
        index : int
            Position of the entry; negative ones count from the end.

        Returns
        -------
        LabelsEntry
            The entry.

        Raises
        ------
        IndexError
            If there is no such entry.
        TypeError
            If ``index`` is not one integer.

        Examples
        --------
        >>> Labels(["system", "atom"], [[0, 4], [0, 5]]).entry(-1)
        LabelsEntry(system=0, atom=5)
        """
        try:
            position = operator.index(index)
        except TypeError:
            raise TypeError(
                f"labels are indexed by one name or one integer, found {kind_of(index)}; "
                "for several entries index labels.values, or use slice_rows(start, stop)"
            ) from None
        if not -len(self) <= position < len(self):
            raise IndexError(f"entry {position} was asked of labels with {len(self)} entries")
        return LabelsEntry._make(self._names, self.values[position])

    def position(self, entry: LabelsEntry | Sequence[int]) -> int | None:
        """Return where an entry is.

        Parameters
        ----------
        entry : LabelsEntry or sequence of int
            A value for each dimension.

        Returns
        -------
        int or None
            The position; None if there is no such entry.

        Raises
        ------
        ValidationError
            If the entry has another number of values, or other names.

        Examples
        --------
        >>> labels = Labels(["system", "atom"], [[0, 4], [0, 5]])
        >>> labels.position([0, 5]), labels.position([1, 5])
        (1, None)
        """
        row = self._as_row(entry)
        if self._index is None:
            self._index = RowIndex(self.values)
        found = self._index.find_one(row)
        return None if found < 0 else found

    def __contains__(self, entry: LabelsEntry | Sequence[int]) -> bool:
        return self.position(entry) is not None

    def _as_row(self, entry: LabelsEntry | Sequence[int]) -> list[int]:
        """Return the numbers of an entry."""
        if isinstance(entry, LabelsEntry) and tuple(entry.names) != self._names:
            raise ValidationError(
                f"position got an entry with names {entry.names}, but these labels have {list(self._names)}"
            )
        try:
            numbers = [operator.index(number) for number in entry]
        except TypeError:
            raise TypeError(
                f"position needs a LabelsEntry or a sequence of integers, found {entry!r}"
            ) from None
        if len(numbers) != len(self._names):
            raise ValidationError(
                f"position needs {len(self._names)} value(s), one for each of {list(self._names)}, "
                f"found {len(numbers)}"
            )
        return numbers

    def slice_rows(self, start: int, stop: int) -> Labels:
        """Return the entries [start, stop) as labels; of values in memory they are a view.

        Parameters
        ----------
        start, stop : int
            The rows, counted from 0.

        Returns
        -------
        Labels
            These entries; if the values are not in memory, only these rows are read.

        Raises
        ------
        IndexError
            If there are no such rows.

        Examples
        --------
        >>> Labels.range("atom", 5).slice_rows(1, 3)["atom"]
        array([1, 2], dtype=int32)
        """
        return Labels._make(self._names, self.read(start, stop))

    def to(
        self, device: str | None = None, *, arrays: str | None = None, non_blocking: bool = False
    ) -> Labels:
        """Return these labels: they are in NumPy arrays on the CPU, and nothing else is offered.

        Parameters
        ----------
        device : str, optional
            "cpu".
        arrays : str, optional
            "numpy".
        non_blocking : bool
            Has no effect.

        Returns
        -------
        Labels
            The same object.

        Raises
        ------
        ValueError
            If anything else is asked for.

        Examples
        --------
        >>> labels = Labels.single()
        >>> labels.to("cpu", arrays="numpy") is labels
        True
        """
        if device not in (None, "cpu") or arrays not in (None, "numpy"):
            raise ValueError(
                f"labels are NumPy arrays on the CPU, found {device=}, {arrays=}; use 'cpu', 'numpy'"
            )
        return self

    def print(self, max_entries: int, indent: int = 0) -> str:
        """Return the names and entries as text, without ``Labels(``.

        Parameters
        ----------
        max_entries : int
            How many entries to show; of more, the first and the last ones are shown. -1 shows all.
        indent : int
            Spaces before every line but the first.

        Returns
        -------
        str
            The lines.

        Examples
        --------
        >>> print("keys:" + Labels.range("n", 9).print(2, indent=5))
        keys: n
              0
              ...
              8
        """
        return show.layout(self._names, *self._shown(max_entries), indent)

    def _shown(self, max_entries: int) -> tuple[Table, Table | None]:
        before, after = show.shown(len(self), max_entries)
        elided = before + after < len(self)
        return self.read(0, before), self.read(len(self) - after, len(self)) if elided else None

    def __str__(self) -> str:
        return show.labels_text(self._names, *self._shown(show.STR_ENTRIES))

    def __repr__(self) -> str:
        return show.labels_text(self._names, *self._shown(-1))

    def _repr_html_(self) -> str:
        return show.labels_html(self._names, len(self), *self._shown(show.HTML_ENTRIES))
