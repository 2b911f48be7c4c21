"""Labels as sets of rows: union, intersection, difference, selection, as index arithmetic on tables."""

from __future__ import annotations

from typing import Self

import numpy as np

from outgrad._foreign import kind_of
from outgrad._threads import several_threads
from outgrad.config import threads
from outgrad.errors import ValidationError
from outgrad.labels.entry import LabelsEntry, column_index
from outgrad.labels.packing import Mask, Positions, Table
from outgrad.labels.stored import StoredLabels
from outgrad.labels.tables import find_rows, taken


def unite(first: Table, second: Table) -> tuple[Table, Positions]:
    """Return the rows of ``first`` and then those only in ``second``, and where the second's rows went."""
    mapping = _found(first, second)
    new = mapping < 0
    mapping[new] = np.arange(len(first), len(first) + np.count_nonzero(new))
    return np.concatenate([first, _taken(second, new)]), mapping


def common_rows(first: Table, second: Table) -> tuple[Mask, Positions]:
    """Return which rows of ``first`` are in ``second``, and where each row of the second is in the first."""
    positions = _found(first, second)
    marked = np.zeros(len(first) + 1, dtype=np.bool_)
    marked[positions] = True  # −1 marks the last, which is cut off
    return marked[:-1], positions


def _found(haystack: Table, needles: Table) -> Positions:
    """Where needles are; these methods are called by users, not in tasks, and may use all cores."""
    with several_threads(threads()):
        return find_rows(haystack, needles)


def _taken(table: Table, kept: Mask) -> Table:
    with several_threads(threads()):
        return taken(table, kept)


def _numbered(kept: Mask) -> Positions:
    """Number the kept rows from 0; the others get -1."""
    return np.where(kept, np.cumsum(kept, dtype=np.int64) - 1, -1)


class LabelSets(StoredLabels):
    """The operations of labels as sets of entries."""

    __slots__ = ()

    def union(self, other: Self) -> Self:
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
        >>> from outgrad import Labels
        >>> Labels("n", [[4], [1]]).union(Labels("n", [[0], [1]]))["n"]
        array([4, 1, 0], dtype=int32)
        """
        return self.union_and_mapping(other)[0]

    def union_and_mapping(self, other: Self) -> tuple[Self, Positions, Positions]:
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
        >>> from outgrad import Labels
        >>> union, first, second = Labels("n", [[4], [1]]).union_and_mapping(Labels("n", [[0], [1]]))
        >>> first, second
        (array([0, 1]), array([2, 1]))
        """
        self._check_operand("union", other)
        identity = np.arange(len(self), dtype=np.int64)
        if self == other:
            return self, identity, identity.copy()
        table, mapping = unite(self.values, other.values)
        return self._or_made(table), identity, mapping

    def intersection(self, other: Self) -> Self:
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
        >>> from outgrad import Labels
        >>> Labels("n", [[4], [1], [2]]).intersection(Labels("n", [[2], [4], [7], [8]]))["n"]
        array([4, 2], dtype=int32)
        """
        self._check_operand("intersection", other)
        if self == other:
            return self
        small, large = sorted((self, other), key=len)
        kept, _ = common_rows(small.values, large.values)
        return self._or_made(_taken(small.values, kept))

    def intersection_and_mapping(self, other: Self) -> tuple[Self, Positions, Positions]:
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
        >>> from outgrad import Labels
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
        of_small = _numbered(kept)
        of_large = np.append(of_small, -1)[positions]  # −1 takes the last
        mappings = (of_small, of_large) if small is self else (of_large, of_small)
        return self._or_made(_taken(small.values, kept)), *mappings

    def difference(self, other: Self) -> Self:
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
        >>> from outgrad import Labels
        >>> Labels("n", [[4], [1], [2]]).difference(Labels("n", [[1]]))["n"]
        array([4, 2], dtype=int32)
        """
        self._check_operand("difference", other)
        kept = ~common_rows(self.values, other.values)[0]
        return self._or_made(_taken(self.values, kept))

    def difference_and_mapping(self, other: Self) -> tuple[Self, Positions]:
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
        >>> from outgrad import Labels
        >>> rest, mapping = Labels("n", [[4], [1], [2]]).difference_and_mapping(Labels("n", [[1]]))
        >>> mapping
        array([ 0, -1,  1])
        """
        self._check_operand("difference", other)
        kept = ~common_rows(self.values, other.values)[0]
        return self._or_made(_taken(self.values, kept)), _numbered(kept)

    def select(self, selection: Self | LabelsEntry) -> Positions:
        """Return the positions of the entries that match the selection.

        With the same names in the same order, positions are in the order of the selection. With some
        of the names, or another order, they are in the order of these labels: an entry matches if
        its values of these names are in the selection. A selection without names matches
        every entry, one without entries none.

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
        >>> from outgrad import Labels
        >>> labels = Labels(["system", "atom"], [[0, 1], [0, 2], [1, 1]])
        >>> labels.select(Labels("atom", [[1], [7]]))
        array([0, 2])
        >>> labels.select(Labels(["system", "atom"], [[1, 1], [0, 1]]))
        array([2, 0])
        """
        names, rows = self._as_selection(selection)
        if not names:
            return np.arange(len(self), dtype=np.int64)
        if len(rows) == 0:
            return np.empty(0, dtype=np.int64)
        if names == self._names:
            positions = _found(self.values, rows)
            return positions[positions >= 0]
        columns = [column_index(self._names, name) for name in names]
        return np.flatnonzero(_found(rows, self.values[:, columns]) >= 0)

    def _as_selection(self, selection: object) -> tuple[tuple[str, ...], Table]:
        if isinstance(selection, LabelsEntry):
            names, rows = tuple(selection.names), selection.values[None, :]
        elif isinstance(selection, StoredLabels):
            names, rows = selection._names, selection.values
        else:
            raise TypeError(f"select needs Labels or a LabelsEntry, found {kind_of(selection)}")
        unknown = [name for name in names if name not in self._names]
        if unknown:
            raise ValidationError(
                f"select got a selection with names {list(names)}, but {unknown} are not among the names "
                f"{list(self._names)}; select by some of these"
            )
        return names, rows

    def _check_operand(self, operation: str, other: object) -> None:
        if not isinstance(other, StoredLabels):
            raise TypeError(f"{operation} needs Labels, found {kind_of(other)}")
        if self._names != other._names:
            raise ValidationError(
                f"{operation} needs labels with the same names in the same order, found "
                f"{list(self._names)} and {list(other._names)}; rename or permute one of them"
            )

    def _or_made(self, table: Table) -> Self:
        """Return labels of the result; these themselves, digest and source included, if no row changed.

        The results above have as many rows as these labels only if they have the same rows in the same order.
        """
        return self if len(table) == len(self) else self._make(self._names, table)
