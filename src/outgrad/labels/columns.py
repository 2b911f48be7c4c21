"""Labels with another set of dimensions: insert, append, permute, remove, rename."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Self, SupportsIndex

import numpy as np

from outgrad.errors import ValidationError
from outgrad.labels.check import check_unique, normalize_column, normalize_names
from outgrad.labels.entry import column_index
from outgrad.labels.stored import StoredLabels


class LabelColumns(StoredLabels):
    """The operations of labels as a table of columns."""

    __slots__ = ()

    def insert(self, index: SupportsIndex, name: str, values: Any) -> Self:
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
        >>> from outgrad import Labels
        >>> Labels("atom", [[4], [5]]).insert(0, "system", [0, 0]).names
        ['system', 'atom']
        """
        place = operator.index(index)
        count = len(self._names)
        if not -count <= place <= count:
            raise IndexError(f"insert got position {place} for labels with {count} dimension(s)")
        names = normalize_names((*self._names[:place], name, *self._names[place:]))
        column = normalize_column(name, values, len(self))
        table = np.concatenate([self.values[:, :place], column[:, None], self.values[:, place:]], axis=1)
        return self._make(names, table)

    def append(self, name: str, values: Any) -> Self:
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
        >>> from outgrad import Labels
        >>> Labels("system", [[0], [1]]).append("atom", [7, 7]).values.tolist()
        [[0, 7], [1, 7]]
        """
        return self.insert(len(self._names), name, values)

    def permute(self, dimensions_indexes: Sequence[int]) -> Self:
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
        >>> from outgrad import Labels
        >>> Labels(["system", "atom"], [[0, 4]]).permute([1, 0])[0]
        LabelsEntry(atom=4, system=0)
        """
        count = len(self._names)
        picks = [operator.index(index) for index in dimensions_indexes]
        if sorted(pick % count if -count <= pick < count else pick for pick in picks) != list(range(count)):
            raise ValidationError(
                f"permute needs each position of {list(self._names)} once, found {picks}; pass e.g. "
                f"{list(reversed(range(count)))}"
            )
        return self._make(tuple(self._names[pick] for pick in picks), np.take(self.values, picks, axis=1))

    def remove(self, name: str) -> Self:
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
        >>> from outgrad import Labels
        >>> Labels(["system", "atom"], [[0, 4], [0, 5]]).remove("system").names
        ['atom']
        """
        place = column_index(self._names, name)
        if len(self._names) == 1 and len(self):
            raise ValidationError(
                f"remove cannot leave out {name!r}, the only dimension of labels with {len(self)} entries; "
                "use Labels.single() for one entry without meaning"
            )
        names = self._names[:place] + self._names[place + 1 :]
        table = np.delete(self.values, place, axis=1)
        check_unique(names, table)
        return self._make(names, table)

    def rename(self, old: str, new: str) -> Self:
        """Return labels with one dimension called otherwise.

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
            If ``new`` is no valid name or is used already.

        Examples
        --------
        >>> from outgrad import Labels
        >>> Labels(["structure", "atom"], [[0, 4]]).rename("structure", "system").names
        ['system', 'atom']
        """
        place = column_index(self._names, old)
        names = normalize_names((*self._names[:place], new, *self._names[place + 1 :]))
        return self._make(names, self.values)
