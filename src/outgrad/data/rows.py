"""Maps of gradient rows: which row of which table goes where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.chunk import Table
from outgrad.data.positions import Index
from outgrad.labels.rows import is_sorted_rows, unique_rows


def merge(
    tables: Sequence[Table], covered: Sequence[Index | None] | None = None
) -> tuple[Table, list[Index]]:
    """Unite tables of rows: the union, and where each row of each table lies in it.

    Rows are sorted, except that those of a parent keep their order if all tables have the same rows in the
    same order. So the rows of one parent do not depend on other parents, and chunks that are united one by
    one agree with the complete block. ``covered`` lists the parents that each table knows (None: all;
    negative ones do not count): others need not agree with it.
    """
    union, inverse = unique_rows(np.concatenate(tables))
    positions: list[Index] = list(np.split(inverse, np.cumsum([len(table) for table in tables])[:-1]))
    if all(is_sorted_rows(table) for table in tables):
        return union, positions
    order = _agreed_order(tables, union, positions, covered or [None] * len(tables))
    moved = np.empty_like(order)
    moved[order] = np.arange(len(order))
    return union[order], [moved[in_union] for in_union in positions]


def _agreed_order(
    tables: Sequence[Table], union: Table, positions: Sequence[Index], covered: Sequence[Index | None]
) -> Index:
    """Order of the sorted union in which a parent whose rows are the same in all tables keeps theirs."""
    parents = union[:, 0]
    total = np.bincount(parents)
    known = [
        np.ones(len(total), bool) if parents_known is None else np.isin(np.arange(len(total)), parents_known)
        for parents_known in covered
    ]
    # Rows of a table are distinct, and all are in the union: if a table has as many rows of a parent as the
    # union has, it has the same ones.
    counts = [np.bincount(table[:, 0], minlength=len(total)) for table in tables]
    agreed = np.all([(count == total) | ~mask for count, mask in zip(counts, known, strict=True)], axis=0)
    order, settled, differs = np.arange(len(union)), np.zeros(len(union), bool), np.zeros(len(total), bool)
    for table, in_union, mask in zip(tables, positions, known, strict=True):
        # The table's rows of each agreed parent, in its own order, fill what this parent has of the sorted
        # union: both go through the parents in increasing order, and have equally many rows of each.
        rows = np.argsort(table[:, 0], kind="stable")
        in_table_order = in_union[rows[agreed[table[rows, 0]]]]
        slots = np.flatnonzero((agreed & mask)[parents])
        differs[parents[slots[settled[slots] & (order[slots] != in_table_order)]]] = True
        order[slots] = in_table_order
        settled[slots] = True
    # Where two tables have the rows of a parent in different orders, these are sorted.
    return np.where(differs[parents], np.arange(len(union)), order)


def renumber(table: Table, where: Index) -> Table:
    """Replace column 0, the parent row, by its new number ``where[row]``."""
    return np.column_stack([where[table[:, 0]].astype(np.int32, copy=False), table[:, 1:]])


def group(table: Table, where: Index) -> tuple[Table, Index]:
    """Renumber parents by ``where`` and merge rows that become equal; sorted rows, and where each row is."""
    return unique_rows(renumber(table, where))


def lift(index: Index, table: Table) -> tuple[Index, Table]:
    """Carry a gather of parent rows over to gradient rows.

    Output parent k is input parent ``index[k]``, and takes along all gradient rows of it. Returns the
    gradient rows read, ordered by k, and their table.
    """
    parents = table[:, 0]
    size = 1 + max(int(parents.max(initial=-1)), int(index.max(initial=-1)))
    counts = np.bincount(parents, minlength=size)
    taken = counts[index]
    output = np.repeat(np.arange(len(index), dtype=np.int32), taken)
    # If rows are sorted, those of input parent i start at Σ counts[:i], and those of output parent k at
    # Σ taken[:k]. So a row of output parent k is read as many rows later as the two differ.
    shift = (np.cumsum(counts) - counts)[index] - (np.cumsum(taken) - taken)
    read = np.arange(len(output)) + np.repeat(shift, taken)
    if (np.diff(parents) < 0).any():
        read = np.argsort(parents, kind="stable")[read]
    return read, np.column_stack([output, table[read, 1:]])
