"""Which rows of a table several selections choose, in one pass for all selections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from outgrad.data.chunk import Table
from outgrad.data.positions import Index
from outgrad.data.rows import lift
from outgrad.labels.rows import find_rows, unique_rows


class Selections(NamedTuple):
    """Positions of all selections: selection n has ``rows[edges[n]:edges[n + 1]]``, in this order."""

    rows: Index
    edges: Index

    @classmethod
    def of(cls, selections: Sequence[Index]) -> Selections:
        """Put the positions of each selection together."""
        edges = np.cumsum([0, *(len(rows) for rows in selections)])
        return cls(np.concatenate([np.zeros(0, np.int64), *selections]), edges)

    def rows_of(self, n: int) -> Index:
        """The positions of one selection."""
        return self.rows[self.edges[n] : self.edges[n + 1]]


def in_order_of_selections(table: Table, selections: Sequence[Table]) -> list[Index]:
    """Return where the rows of each selection are in ``table``, whose rows are unique, in their order.

    >>> table, selections = np.array([[7], [3]]), [np.array([[3], [7]]), np.array([[5]])]
    >>> [rows.tolist() for rows in in_order_of_selections(table, selections)]
    [[1, 0], []]
    """
    rows = find_rows(table, np.concatenate(selections))
    ends = np.cumsum([len(selection) for selection in selections])
    return [selected[selected >= 0] for selected in np.split(rows, ends[:-1])]


def in_order_of_table(table: Table, selections: Sequence[Table]) -> list[Index]:
    """Return the rows of ``table`` that are equal to any row of each selection, in the order of the table.

    >>> table, selections = np.array([[7], [3], [7]]), [np.array([[3], [7]]), np.array([[7]])]
    >>> [rows.tolist() for rows in in_order_of_table(table, selections)]
    [[0, 1, 2], [0, 2]]
    """
    distinct, number = unique_rows(table)
    wanted = find_rows(distinct, np.concatenate(selections))
    is_in_table = wanted >= 0
    selection_of = np.repeat(np.arange(len(selections)), [len(rows) for rows in selections])[is_in_table]
    # Every wanted row takes along all rows of the table that are equal to it, as parents take gradient rows.
    rows, pairs = lift(wanted[is_in_table], number[:, None].astype(np.int32))
    selection = selection_of[pairs[:, 0]]
    counts = np.bincount(selection, minlength=len(selections))
    return list(np.split(rows[np.lexsort((rows, selection))], np.cumsum(counts)[:-1]))


def by_distinct_rows(tables: Sequence[Table]) -> tuple[Table, list[Selections]]:
    """Return the distinct rows of several tables, sorted, and where each of them is in each table.

    >>> distinct, (selections,) = by_distinct_rows([np.array([[7], [3], [7]])])
    >>> distinct.tolist(), selections.rows.tolist(), selections.edges.tolist()
    ([[3], [7]], [1, 0, 2], [0, 1, 3])
    """
    distinct, number = unique_rows(np.concatenate(tables))
    ends = np.cumsum([len(table) for table in tables])
    selections = []
    for numbers in np.split(number, ends[:-1]):
        counts = np.bincount(numbers, minlength=len(distinct))
        edges = np.concatenate([[0], np.cumsum(counts)])
        selections.append(Selections(np.argsort(numbers, kind="stable"), edges))
    return distinct, selections


def targets_by_occurrence(rows: Index, count: int) -> list[Index]:
    """Return where each of ``count`` rows goes the first time that it occurs, the second time, and so on.

    >>> [positions.tolist() for positions in targets_by_occurrence(np.array([2, 0, 2]), 3)]
    [[1, -1, 0], [-1, -1, 2]]
    """
    order = np.argsort(rows, kind="stable")
    is_first = np.concatenate([[True], np.diff(rows[order]) > 0])[: len(rows)]
    first = np.flatnonzero(is_first)
    times = np.arange(len(rows)) - first[np.cumsum(is_first) - 1]
    targets: list[Index] = []
    for time in range(int(times.max(initial=0)) + 1):
        targets.append(np.full(count, -1, dtype=np.int64))
        chosen = order[times == time]
        targets[-1][rows[chosen]] = chosen
    return targets
