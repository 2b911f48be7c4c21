"""The class that names rows: samples, components, properties and keys are labels."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, SupportsIndex, final, overload

import numpy as np

from outgrad._foreign import kind_of
from outgrad.errors import ValidationError
from outgrad.labels import display
from outgrad.labels.checks import (
    as_int32,
    check_shape,
    column_index,
    normalize_column,
    normalize_names,
    normalize_values,
)
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.rows import RowIndex, sliced_digest
from outgrad.labels.saving import Saving
from outgrad.labels.sets import check_unique, common_rows, kept_rows, locate_rows, number_kept, union_rows
from outgrad.labels.types import Positions, Table
from outgrad.late import late

DIGEST_ROWS = 2**20
"""Rows that are read at once for a digest."""
LARGE_BYTES = 2**20
"""Tables from this size on are not read to the end for a selection, if their source knows where to look."""
FIRST_ROWS = 64
"""Rows that are compared before all are: labels that differ mostly differ in these."""


class Source(Protocol):
    """Where the values of labels are kept; it must pickle small, since labels travel with it."""

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop) as an (n, d) array of int32."""
        ...


@final
class Labels(Saving):
    """A list of unique entries, each an integer for every named dimension.

    Labels do not change; methods that would change them return new ones. Two labels are equal if they have
    the same names in the same order and the same entries in the same order.

    Parameters
    ----------
    names : str or iterable of str
        Names of the d dimensions: letters, digits and underscores, not starting with a digit.
    values : (n, d) integers
        One row for each entry; kept as 32-bit integers. A writable array is copied.
    assume_unique : bool
        Do not check that entries are unique, if the caller knows that they are.

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

    __slots__ = ("__weakref__", "_count", "_digest", "_index", "_names", "_source", "_values")
    # Comparing with an array is a comparison of two different things, not of their elements.
    __array_ufunc__ = None

    _kind = "labels"

    _names: tuple[str, ...]
    _count: int
    _values: Table | None
    """None until they are read from the source."""
    _digest: str | None
    _source: Source | None
    _index: RowIndex | None
    """Where each row is, made when the first position is asked for."""

    # ---- making labels ----
    def __init__(self, names: str | Iterable[str], values: Any, assume_unique: bool = False) -> None:
        checked = normalize_names(names)
        table = normalize_values(checked, values)
        if not assume_unique:
            check_unique("Labels: rows", checked, table)
        self._fill(checked, len(table), table)

    def _fill(
        self,
        names: tuple[str, ...],
        count: int,
        values: Table | None = None,
        digest: str | None = None,
        source: Source | None = None,
    ) -> None:
        self._names, self._count = names, count
        self._values, self._digest, self._source = values, digest, source
        self._index = None

    @classmethod
    def _make(cls, names: tuple[str, ...], values: Table) -> Labels:
        """Make labels of values that are known to be valid and are not used elsewhere."""
        values.flags.writeable = False
        labels = object.__new__(cls)
        labels._fill(names, len(values), values)
        return labels

    @staticmethod
    def single() -> Labels:
        """Return labels with one entry without meaning: name ``_``, value 0.

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
            raise ValidationError(
                f"Labels.range: a number of entries is not negative, found {end=}; pass 0 or more"
            )
        return Labels._make(normalize_names((name,)), np.arange(end, dtype=np.int32)[:, None])

    @classmethod
    def from_source(
        cls, names: str | Iterable[str], count: int, digest: str | None, source: Source
    ) -> Labels:
        """Return labels whose values stay where they are until they are used.

        Names, length, shape, digest and comparison need no read.

        Parameters
        ----------
        names : str or iterable of str
            Names of the d dimensions.
        count : int
            Number of entries n.
        digest : str or None
            The 32 hex characters of :attr:`digest` for these names and values; None if they are not known,
            and computed, in slices, if they are asked for.
        source : object
            Has ``read(start, stop)``, which returns rows as an array of int32, and can be pickled. It may
            have a ``content``: labels of sources whose contents are equal are equal.

        Returns
        -------
        Labels
            The labels; nothing was read.

        Raises
        ------
        ValidationError
            If the digest does not have 32 hex characters, or the count is negative.

        Examples
        --------
        >>> kept = Labels.range("atom", 3)
        >>> labels = Labels.from_source("atom", 3, kept.digest, source=kept)
        >>> labels == kept, labels.is_loaded
        (True, False)
        >>> labels["atom"], labels.is_loaded
        (array([0, 1, 2], dtype=int32), True)
        """
        if digest is not None and (len(digest) != 32 or not set(digest) <= set("0123456789abcdef")):
            raise ValidationError(
                f"Labels.from_source: a digest has 32 hex characters, found {digest!r}; "
                "pass the digest of labels with these names and values"
            )
        if count < 0:
            raise ValidationError(
                f"Labels.from_source: a number of entries is not negative, found {count=}; pass 0 or more"
            )
        checked = normalize_names(names)
        check_shape(checked, count)
        labels = object.__new__(cls)
        labels._fill(checked, int(count), digest=digest, source=source)
        return labels

    @staticmethod
    def from_pandas(table: Any) -> Labels:
        """Return the labels in the columns of a DataFrame, or in the levels of an index.

        Parameters
        ----------
        table : pandas.DataFrame, pandas.Index or pandas.MultiIndex
            One column or level of integers for each dimension. The index of a DataFrame is ignored.

        Returns
        -------
        Labels
            One entry for each row.

        Raises
        ------
        ImportError
            If pandas is not installed.
        TypeError
            If ``table`` is neither, a name is not a string, or a column is not of integers.
        ValidationError
            If names are invalid or repeated, an entry is repeated or a value does not fit into 32 bits.

        Examples
        --------
        >>> import pandas
        >>> frame = pandas.DataFrame({"system": [0, 0], "atom": [4, 5]})
        >>> Labels.from_pandas(frame.query("atom > 4"))[0]
        LabelsEntry(system=0, atom=5)
        """
        labels: Labels = late("interop.pandas", "labels_from_pandas")(table)
        return labels

    # ---- what they are ----
    @property
    def names(self) -> list[str]:
        """Names of the dimensions, as a new list."""
        return list(self._names)

    @property
    def values(self) -> Table:
        """The (n, d) int32 table, read-only; it is read from the source on first use."""
        values = self._values
        if values is None:
            values = self._values = self._read(0, self._count)
        return values

    def _read(self, start: int, stop: int) -> Table:
        assert self._source is not None, "labels have values or a source"
        array = np.asarray(self._source.read(start, stop))
        expected = (stop - start, len(self._names))
        if array.shape != expected:
            raise ValidationError(
                f"Labels: the source of {list(self._names)} returned shape {array.shape} for rows "
                f"[{start}, {stop}) instead of {expected}; it is corrupted, write it again"
            )
        rows = as_int32(self._names, array).view()
        rows.flags.writeable = False
        return rows

    @property
    def shape(self) -> tuple[int, int]:
        """Number of entries and number of dimensions; needs no read."""
        return self._count, len(self._names)

    @property
    def nbytes(self) -> int:
        """Bytes of the values; needs no read."""
        return 4 * self._count * len(self._names)

    @property
    def is_loaded(self) -> bool:
        """Whether the values are in memory."""
        return self._values is not None

    @property
    def is_stored(self) -> bool:
        """Whether the values can be read from a source, so that the labels pickle small."""
        return self._source is not None

    @property
    def digest(self) -> str:
        """32 hex characters that are equal for equal labels: BLAKE2b of names, shape and values."""
        if self._digest is None:
            step = self._count if self._values is not None else DIGEST_ROWS
            starts = range(0, self._count, max(1, step))
            rows = (self.read(start, min(start + step, self._count)) for start in starts)
            self._digest = sliced_digest(self._names, self._count, rows)
        return self._digest

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    # ---- entries ----
    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[LabelsEntry]:
        return (LabelsEntry._make(self._names, row) for row in self.values)

    @overload
    def __getitem__(self, dimension: str) -> Table: ...

    @overload
    def __getitem__(self, dimension: SupportsIndex) -> LabelsEntry: ...

    def __getitem__(self, dimension: str | SupportsIndex) -> Table | LabelsEntry:
        return self.column(dimension) if isinstance(dimension, str) else self.entry(dimension)

    def column(self, dimension: str) -> Table:
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
            raise TypeError(
                f"column: a dimension is a name, found {kind_of(dimension)}; use one of {list(self._names)}"
            )
        number = column_index(self._names, dimension)  # before values are read for a wrong name
        return self.values[:, number]

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
                f"Labels: an index must be one name or one integer, found {kind_of(index)}; "
                "for several entries index labels.values, or use slice_rows(start, stop)"
            ) from None
        if not -len(self) <= position < len(self):
            raise IndexError(
                f"Labels: index {position} is out of range for {display.counted(len(self), 'entry')}"
            )
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
        if isinstance(entry, LabelsEntry) and entry._names != self._names:
            raise ValidationError(
                f"position: the entry has names {entry.names}, these labels have {list(self._names)}; "
                "pass the values alone if their order is that of the labels"
            )
        try:
            row = [operator.index(number) for number in entry]
        except TypeError:
            raise TypeError(
                f"position: an entry is a LabelsEntry or a sequence of integers, found {entry!r}; "
                f"pass one integer for each of {list(self._names)}"
            ) from None
        if len(row) != len(self._names):
            raise ValidationError(
                f"position: an entry has {display.counted(len(self._names), 'value')}, found {len(row)}; "
                f"pass one integer for each of {list(self._names)}"
            )
        if self._index is None:
            self._index = RowIndex(self.values)
        position = self._index.find_one(row)
        return None if position < 0 else position

    def __contains__(self, entry: LabelsEntry | Sequence[int]) -> bool:
        return self.position(entry) is not None

    def read(self, start: int, stop: int) -> Table:
        """Return some rows; if the values are not in memory, only these are read, and they are not kept.

        Parameters
        ----------
        start, stop : int
            The rows [start, stop), counted from 0.

        Returns
        -------
        (stop - start, d) array of int32
            The rows, read-only.

        Raises
        ------
        IndexError
            If the rows are out of range.

        Examples
        --------
        >>> Labels.range("atom", 5).read(1, 3)
        array([[1], [2]], dtype=int32)
        """
        if not 0 <= start <= stop <= self._count:
            raise IndexError(
                f"Labels: rows [{start}, {stop}) are out of range for {display.counted(self._count, 'entry')}"
            )
        if self._values is not None:
            return self._values[start:stop]
        return self._read(start, stop)

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
            If the rows are out of range.

        Examples
        --------
        >>> Labels.range("atom", 5).slice_rows(1, 3)["atom"]
        array([1, 2], dtype=int32)
        """
        return Labels._make(self._names, self.read(start, stop))

    def slices(self, starts: Sequence[int], stops: Sequence[int]) -> list[Labels]:
        """Return the rows [start, stop) of each pair as labels; the values are read first.

        Parameters
        ----------
        starts, stops : sequence of int
            The rows of each; they are not checked.

        Returns
        -------
        list of Labels
            They share the values.

        Examples
        --------
        >>> [labels.values.tolist() for labels in Labels.range("atom", 3).slices([0, 1], [1, 3])]
        [[[0]], [[1], [2]]]
        """
        names, values = self._names, self.values
        slices = []
        for start, stop in zip(starts, stops, strict=True):
            labels = object.__new__(Labels)
            labels._fill(names, stop - start, values[start:stop])
            slices.append(labels)
        return slices

    # ---- sets ----
    def union(self, other: Labels) -> Labels:
        """Return all entries of both: those of these labels, then the new ones of ``other``.

        Parameters
        ----------
        other : Labels
            Labels with the same names in the same order.

        Returns
        -------
        Labels
            The union.

        Raises
        ------
        ValidationError
            If the names differ.

        Examples
        --------
        >>> Labels("n", [[4], [1]]).union(Labels("n", [[0], [1]]))["n"]
        array([4, 1, 0], dtype=int32)
        """
        return self.union_and_mapping(other)[0]

    def union_and_mapping(self, other: Labels) -> tuple[Labels, Positions, Positions]:
        """Return the union, and the positions in it of the entries of both.

        Parameters
        ----------
        other : Labels
            Labels with the same names in the same order.

        Returns
        -------
        Labels
            The union, see :meth:`union`.
        (n,) array of int64
            Where each entry of these labels is in the union.
        (m,) array of int64
            Where each entry of ``other`` is in the union.

        Raises
        ------
        ValidationError
            If the names differ.

        Examples
        --------
        >>> union, first, second = Labels("n", [[4], [1]]).union_and_mapping(Labels("n", [[0], [1]]))
        >>> first, second
        (array([0, 1]), array([2, 1]))
        """
        self._check_operand("union", other)
        identity = np.arange(len(self), dtype=np.int64)
        if self == other:
            return self, identity, identity.copy()
        table, mapping = union_rows(self.values, other.values)
        return self._with_rows(table), identity, mapping

    def intersection(self, other: Labels) -> Labels:
        """Return the entries in both, in the order of the smaller of the two; of these labels on ties.

        Parameters
        ----------
        other : Labels
            Labels with the same names in the same order.

        Returns
        -------
        Labels
            The intersection.

        Raises
        ------
        ValidationError
            If the names differ.

        Examples
        --------
        >>> Labels("n", [[4], [1], [2]]).intersection(Labels("n", [[2], [4], [7], [8]]))["n"]
        array([4, 2], dtype=int32)
        """
        self._check_operand("intersection", other)
        if self == other:
            return self
        small, large = sorted((self, other), key=len)
        kept, _ = common_rows(small.values, large.values)
        return self._with_rows(kept_rows(small.values, kept))

    def intersection_and_mapping(self, other: Labels) -> tuple[Labels, Positions, Positions]:
        """Return the intersection, and the positions in it of the entries of both.

        Parameters
        ----------
        other : Labels
            Labels with the same names in the same order.

        Returns
        -------
        Labels
            The intersection, see :meth:`intersection`.
        (n,) array of int64
            Where each entry of these labels is in the intersection, -1 if it is not.
        (m,) array of int64
            The same for ``other``.

        Raises
        ------
        ValidationError
            If the names differ.

        Examples
        --------
        >>> common, first, second = Labels("n", [[4], [1]]).intersection_and_mapping(Labels("n", [[1]]))
        >>> first, second
        (array([-1,  0]), array([0]))
        """
        self._check_operand("intersection", other)
        if self == other:
            identity = np.arange(len(self), dtype=np.int64)
            return self, identity, identity.copy()
        small, large = sorted((self, other), key=len)
        kept, positions = common_rows(small.values, large.values)
        from_small = number_kept(kept)
        from_large = np.append(from_small, -1)[positions]  # −1 takes the last
        mappings = (from_small, from_large) if small is self else (from_large, from_small)
        return self._with_rows(kept_rows(small.values, kept)), *mappings

    def difference(self, other: Labels) -> Labels:
        """Return the entries of these labels that are not in ``other``, in the order of these labels.

        Parameters
        ----------
        other : Labels
            Labels with the same names in the same order.

        Returns
        -------
        Labels
            The difference.

        Raises
        ------
        ValidationError
            If the names differ.

        Examples
        --------
        >>> Labels("n", [[4], [1], [2]]).difference(Labels("n", [[1]]))["n"]
        array([4, 2], dtype=int32)
        """
        self._check_operand("difference", other)
        kept = ~common_rows(self.values, other.values)[0]
        return self._with_rows(kept_rows(self.values, kept))

    def difference_and_mapping(self, other: Labels) -> tuple[Labels, Positions]:
        """Return the difference, and the positions in it of the entries of these labels.

        Parameters
        ----------
        other : Labels
            Labels with the same names in the same order.

        Returns
        -------
        Labels
            The difference, see :meth:`difference`.
        (n,) array of int64
            Where each entry of these labels is in the difference, -1 if it is not.

        Raises
        ------
        ValidationError
            If the names differ.

        Examples
        --------
        >>> rest, mapping = Labels("n", [[4], [1], [2]]).difference_and_mapping(Labels("n", [[1]]))
        >>> mapping
        array([ 0, -1,  1])
        """
        self._check_operand("difference", other)
        kept = ~common_rows(self.values, other.values)[0]
        return self._with_rows(kept_rows(self.values, kept)), number_kept(kept)

    def _check_operand(self, operation: str, other: object) -> None:
        if not isinstance(other, Labels):
            raise TypeError(f"{operation}: the other must be Labels, found {kind_of(other)}")
        if self._names != other._names:
            raise ValidationError(
                f"{operation}: the names must be the same in the same order, found {list(self._names)} and "
                f"{list(other._names)}; rename or permute one of them"
            )

    def _with_rows(self, table: Table) -> Labels:
        """Return labels of the rows that a set operation gave.

        If there are as many rows as in these labels, they are the same rows in the same order: then these
        labels themselves are returned, with their digest and source.
        """
        return self if len(table) == len(self) else Labels._make(self._names, table)

    def select(self, selection: Labels | LabelsEntry) -> Positions:
        """Return the positions of the entries that match the selection.

        With the same names in the same order, positions are in the order of the selection. With some
        of the names, or another order, they are in the order of these labels: an entry matches if
        its values of these names are in the selection. A selection without names matches
        every entry, a selection without entries none.

        Parameters
        ----------
        selection : Labels or LabelsEntry
            Allowed values of some or all dimensions.

        Returns
        -------
        (k,) array of int64
            Positions of the matching entries.

        Raises
        ------
        ValidationError
            If the selection has a name that these labels do not have.

        Examples
        --------
        >>> labels = Labels(["system", "atom"], [[0, 1], [0, 2], [1, 1]])
        >>> labels.select(Labels("atom", [[1], [7]]))
        array([0, 2])
        >>> labels.select(Labels(["system", "atom"], [[1, 1], [0, 1]]))
        array([2, 0])
        """
        if isinstance(selection, LabelsEntry):
            names, rows = selection._names, selection.values[None, :]
        elif isinstance(selection, Labels):
            names, rows = selection._names, selection.values
        else:
            raise TypeError(
                f"select: the selection must be Labels or a LabelsEntry, found {kind_of(selection)}"
            )
        unknown = [name for name in names if name not in self._names]
        if unknown:
            raise ValidationError(
                f"select: {unknown} are not among the names of the labels; "
                f"select by some of {list(self._names)}"
            )
        if not names:
            return np.arange(len(self), dtype=np.int64)
        if len(rows) == 0:
            return np.empty(0, dtype=np.int64)
        numbers, table = self._candidates(names, rows)
        if names == self._names:
            positions = locate_rows(table, rows)
            positions = positions[positions >= 0]
        else:
            columns = [self._names.index(name) for name in names]
            positions = np.flatnonzero(locate_rows(rows, table[:, columns]) >= 0)
        return positions if numbers is None else numbers[positions]

    def _candidates(self, names: tuple[str, ...], rows: Table) -> tuple[Positions | None, Table]:
        """Rows among which all are that a selection matches, with their positions; None: all rows.

        A source that knows where some numbers may be reads only those parts of a large table.
        """
        find = getattr(self._source, "candidates", None) if self._values is None else None
        found = None if find is None or self.nbytes < LARGE_BYTES else find(names, rows)
        return (None, self.values) if found is None else found

    def take(self, positions: Any) -> Labels:
        """Return some entries; of values that are not in memory only these are read.

        Parameters
        ----------
        positions : (k,) integers
            Positions of the entries, each at most once.

        Returns
        -------
        Labels
            The entries, in this order.

        Raises
        ------
        IndexError
            If a position is out of range.

        Examples
        --------
        >>> Labels.range("atom", 5).take([3, 1])["atom"]
        array([3, 1], dtype=int32)
        """
        chosen = np.asarray(positions, dtype=np.int64)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < self._count:
            raise IndexError(
                f"Labels: positions are out of range for {display.counted(self._count, 'entry')}"
            )
        if len(chosen) == self._count and np.array_equal(chosen, np.arange(self._count)):
            return self
        if self._values is not None or 4 * len(chosen) > self._count:
            return Labels._make(self._names, self.values[chosen])
        starts = np.flatnonzero(np.diff(chosen, prepend=-2) != 1)
        lasts = np.append(starts[1:], len(chosen)) - 1
        runs = zip(chosen[starts].tolist(), chosen[lasts[: len(starts)]].tolist(), strict=True)
        read = [self.read(first, last + 1) for first, last in runs]
        return Labels._make(self._names, np.concatenate([np.empty((0, len(self._names)), np.int32), *read]))

    # ---- columns ----
    def insert(self, index: SupportsIndex, name: str, values: Any) -> Labels:
        """Return labels with one more dimension, before position ``index``.

        Parameters
        ----------
        index : int
            Position of the new dimension; negative ones count from the end, as in ``list.insert``.
        name : str
            Its name.
        values : (n,) integers
            Its value in each entry.

        Returns
        -------
        Labels
            The new labels.

        Raises
        ------
        ValidationError
            If the name exists already or there is not one value for each entry.
        IndexError
            If ``index`` is out of range.

        Examples
        --------
        >>> Labels("atom", [[4], [5]]).insert(0, "system", [0, 0]).names
        ['system', 'atom']
        """
        before = operator.index(index)
        count = len(self._names)
        if not -count <= before <= count:
            raise IndexError(
                f"insert: position {before} is out of range for {display.counted(count, 'dimension')}; "
                f"use {-count} to {count}"
            )
        names = normalize_names((*self._names[:before], name, *self._names[before:]))
        column = normalize_column(name, values, len(self))
        table = np.concatenate([self.values[:, :before], column[:, None], self.values[:, before:]], axis=1)
        return Labels._make(names, table)

    def append(self, name: str, values: Any) -> Labels:
        """Return labels with one more dimension, after the others.

        Parameters
        ----------
        name : str
            Name of the new dimension.
        values : (n,) integers
            Its value in each entry.

        Returns
        -------
        Labels
            The new labels.

        Raises
        ------
        ValidationError
            If the name exists already or there is not one value for each entry.

        Examples
        --------
        >>> Labels("system", [[0], [1]]).append("atom", [7, 7]).values.tolist()
        [[0, 7], [1, 7]]
        """
        return self.insert(len(self._names), name, values)

    def permute(self, dimensions_indexes: Sequence[int]) -> Labels:
        """Return labels with the dimensions in another order.

        Parameters
        ----------
        dimensions_indexes : sequence of int
            Position in these labels of each dimension of the new ones.

        Returns
        -------
        Labels
            The new labels.

        Raises
        ------
        ValidationError
            If not every dimension is named once.

        Examples
        --------
        >>> Labels(["system", "atom"], [[0, 4]]).permute([1, 0])[0]
        LabelsEntry(atom=4, system=0)
        """
        count = len(self._names)
        order = [operator.index(index) for index in dimensions_indexes]
        if sorted(n % count if -count <= n < count else n for n in order) != list(range(count)):
            raise ValidationError(
                f"permute: found positions {order}, but each of {list(self._names)} is needed once; pass "
                f"e.g. {list(reversed(range(count)))}"
            )
        return Labels._make(tuple(self._names[n] for n in order), np.take(self.values, order, axis=1))

    def remove(self, name: str) -> Labels:
        """Return labels without one dimension.

        Parameters
        ----------
        name : str
            Name of the dimension to leave out.

        Returns
        -------
        Labels
            The new labels.

        Raises
        ------
        ValueError
            If there is no such dimension.
        ValidationError
            If entries are no longer unique, or no dimension would be left.

        Examples
        --------
        >>> Labels(["system", "atom"], [[0, 4], [0, 5]]).remove("system").names
        ['atom']
        """
        number = column_index(self._names, name)
        if len(self._names) == 1 and len(self):
            raise ValidationError(
                f"remove: found no dimension besides {name!r} in labels with "
                f"{display.counted(len(self), 'entry')}; use Labels.single() for one entry without meaning"
            )
        names = self._names[:number] + self._names[number + 1 :]
        table = np.delete(self.values, number, axis=1)
        check_unique("remove: rows", names, table)
        return Labels._make(names, table)

    def rename(self, old: str, new: str) -> Labels:
        """Return labels with one dimension renamed.

        Parameters
        ----------
        old : str
            Its name now.
        new : str
            Its new name.

        Returns
        -------
        Labels
            The new labels; they share the values.

        Raises
        ------
        ValueError
            If there is no dimension ``old``.
        ValidationError
            If ``new`` is not a valid name or is used already.

        Examples
        --------
        >>> Labels(["structure", "atom"], [[0, 4]]).rename("structure", "system").names
        ['system', 'atom']
        """
        number = column_index(self._names, old)
        names = normalize_names((*self._names[:number], new, *self._names[number + 1 :]))
        return Labels._make(names, self.values)

    # ---- conversion ----
    def to_pandas(self) -> Any:
        """Return the entries as a table of pandas.

        ``pandas.MultiIndex.from_frame`` makes an index of it.

        Returns
        -------
        pandas.DataFrame
            A column of int32 for each dimension, and a row for each entry, numbered from 0. It is a copy;
            labels that are stored are read, and stay where they are.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> labels = Labels(["system", "atom"], [[0, 4], [0, 5], [1, 4]])
        >>> print(labels.to_pandas().query("atom == 4"))
           system  atom
        0       0     4
        2       1     4
        """
        return late("interop.pandas", "labels_to_pandas")(self)

    def to(
        self, device: str | None = None, *, arrays: str | None = None, non_blocking: bool = False
    ) -> Labels:
        """Return these labels; only NumPy arrays on the CPU are supported.

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
                f"to: labels are NumPy arrays on the CPU, found {device=}, {arrays=}; use 'cpu', 'numpy'"
            )
        return self

    # ---- display ----
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
        return display.table_text(self._names, *self._shown(max_entries), indent)

    def _shown(self, max_entries: int) -> tuple[Table, Table | None]:
        """Return the first rows, and the last ones if some between are left out."""
        head, tail = display.head_and_tail(len(self), max_entries)
        elided = head + tail < len(self)
        return self.read(0, head), self.read(len(self) - tail, len(self)) if elided else None

    def __str__(self) -> str:
        return display.labels_text(self._names, *self._shown(display.STR_ENTRIES))

    def __repr__(self) -> str:
        return display.labels_text(self._names, *self._shown(-1))

    def _repr_html_(self) -> str:
        return display.labels_html(self._names, len(self), *self._shown(display.HTML_ENTRIES))

    # ---- comparison and copies ----
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Labels):
            return NotImplemented
        if self is other:
            return True
        if self._names != other._names or self._count != other._count:
            return False
        if self._values is not None and self._values is other._values:
            return True
        if self._digest is not None and other._digest is not None:
            return self._digest == other._digest
        content = getattr(self._source, "content", None)
        if content is not None and content == getattr(other._source, "content", None):
            return True
        if self._values is not None and other._values is not None:
            # One pass over the values is cheaper than hashing either.
            first, second = self._values, other._values
            return np.array_equal(first[:FIRST_ROWS], second[:FIRST_ROWS]) and np.array_equal(first, second)
        return self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __copy__(self) -> Labels:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Labels:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        values = self._values if self._source is None else None
        return _rebuild, (self._names, self._count, values, self._digest, self._source)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "outgrad.Labels", self.digest


def _rebuild(
    names: tuple[str, ...], count: int, values: Table | None, digest: str | None, source: Source | None
) -> Labels:
    """Make labels from their pickled state, without checking it again."""
    labels = object.__new__(Labels)
    if values is not None:
        values.flags.writeable = False
    labels._fill(names, count, values, digest, source)
    return labels
