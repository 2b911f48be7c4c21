"""Which rows of a table several selections choose: one pass, whatever the number of selections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.chunk import Table
from outgrad.data.positions import Index
from outgrad.data.rows import lift
from outgrad.labels.tables import find_rows, unique_rows


def found_in(table: Table, selections: Sequence[Table]) -> list[Index]:
    """Return where the rows of each selection are in ``table``, whose rows are unique, in their order.

    >>> [own.tolist() for own in found_in(np.array([[7], [3]]), [np.array([[3], [7]]), np.array([[5]])])]
    [[1, 0], []]
    """
    rows = find_rows(table, np.concatenate(selections))
    ends = np.cumsum([len(own) for own in selections])
    return [own[own >= 0] for own in np.split(rows, ends[:-1])]


def matching(table: Table, selections: Sequence[Table]) -> list[Index]:
    """Return the rows of ``table`` that are equal to any row of each selection, in the order of the table.

    >>> [own.tolist() for own in matching(np.array([[7], [3], [7]]), [np.array([[3], [7]]), np.array([[7]])])]
    [[0, 1, 2], [0, 2]]
    """
    distinct, number = unique_rows(table)
    wanted = find_rows(distinct, np.concatenate(selections))
    owner = np.repeat(np.arange(len(selections)), [len(own) for own in selections])[wanted >= 0]
    rows, pairs = lift(wanted[wanted >= 0], number[:, None].astype(np.int32))
    chosen = owner[pairs[:, 0]]
    counts = np.bincount(chosen, minlength=len(selections))
    return list(np.split(rows[np.lexsort((rows, chosen))], np.cumsum(counts)[:-1]))


def groups(tables: Sequence[Table]) -> tuple[Table, list[tuple[Index, Index]]]:
    """Group equal rows of several tables.

    Returns the distinct rows, sorted, and for each table its rows ordered by group, and where each group
    starts among them.

    >>> distinct, ((rows, edges),) = groups([np.array([[7], [3], [7]])])
    >>> distinct.tolist(), rows.tolist(), edges.tolist()
    ([[3], [7]], [1, 0, 2], [0, 1, 3])
    """
    distinct, number = unique_rows(np.concatenate(tables))
    ends = np.cumsum([len(table) for table in tables])
    return distinct, [_group(own, len(distinct)) for own in np.split(number, ends[:-1])]


def _group(number: Index, count: int) -> tuple[Index, Index]:
    edges = np.concatenate([[0], np.cumsum(np.bincount(number, minlength=count))])
    return np.argsort(number, kind="stable"), edges
