"""Maps of gradient rows: which row of which table goes where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Table
from outgrad.data.positions import Index
from outgrad.labels.tables import is_sorted_rows, unique_rows


def merge(
    tables: Sequence[Table], covered: Sequence[Index | None] | None = None
) -> tuple[Table, list[Index]]:
    """Unite tables of rows: the union, and where each row of each table lies in it.

    Rows are sorted, except that those of a parent on which all tables agree keep their order. So the rows
    of one parent do not depend on other parents, and chunks that are united one by one agree with the whole.
    ``covered`` lists the parents that each table knows of (None: all, negative ones do not count); what it
    does not know of, it has no say in.
    """
    union, inverse = unique_rows(np.concatenate(tables))
    places: list[Index] = list(np.split(inverse, np.cumsum([len(table) for table in tables])[:-1]))
    if all(is_sorted_rows(table) for table in tables):
        return union, places
    order = _agreed_order(tables, union, places, covered or [None] * len(tables))
    moved = np.empty_like(order)
    moved[order] = np.arange(len(order))
    return union[order], [moved[place] for place in places]


def _agreed_order(
    tables: Sequence[Table], union: Table, places: Sequence[Index], covered: Sequence[Index | None]
) -> Index:
    """Order of the sorted union in which a parent whose rows are the same in all tables keeps theirs."""
    parents = union[:, 0]
    total = np.bincount(parents)
    known = [_mask(own, len(total)) for own in covered]
    counts = [np.bincount(table[:, 0], minlength=len(total)) for table in tables]
    agreed = np.all([(count == total) | ~mask for count, mask in zip(counts, known, strict=True)], axis=0)
    order, settled, differs = np.arange(len(union)), np.zeros(len(union), bool), np.zeros(len(total), bool)
    for table, place, mask in zip(tables, places, known, strict=True):
        rows = np.argsort(table[:, 0], kind="stable")
        own = place[rows[agreed[table[rows, 0]]]]
        slots = np.flatnonzero((agreed & mask)[parents])
        differs[parents[slots[settled[slots] & (order[slots] != own)]]] = True
        order[slots] = own
        settled[slots] = True
    return np.where(differs[parents], np.arange(len(union)), order)


def _mask(covered: Index | None, size: int) -> npt.NDArray[np.bool_]:
    """Which of ``size`` parents are covered."""
    if covered is None:
        return np.ones(size, dtype=bool)
    mask = np.zeros(size, dtype=bool)
    mask[covered[(covered >= 0) & (covered < size)]] = True
    return mask


def renumber(table: Table, where: Index) -> Table:
    """Replace column 0, the parent row, by its new number ``where[row]``."""
    return np.column_stack([where[table[:, 0]].astype(np.int32, copy=False), table[:, 1:]])


def group(table: Table, where: Index) -> tuple[Table, Index]:
    """Renumber parents by ``where`` and join rows that become equal; sorted rows, and each row's place."""
    return unique_rows(renumber(table, where))


def lift(index: Index, table: Table) -> tuple[Index, Table]:
    """Carry a gather of parent rows over to gradient rows.

    Output parent k is input parent ``index[k]``, and takes along all gradient rows of it. Returns the
    gradient rows read, ordered by k, and their table.
    """
    parents = table[:, 0]
    size = 1 + max(int(parents.max(initial=-1)), int(index.max(initial=-1)))
    counts = np.bincount(parents, minlength=size)
    count = counts[index]
    output = np.repeat(np.arange(len(index), dtype=np.int32), count)
    before = (np.cumsum(counts) - counts)[index] - (np.cumsum(count) - count)
    read = np.arange(len(output)) + np.repeat(before, count)
    if (np.diff(parents) < 0).any():
        read = np.argsort(parents, kind="stable")[read]
    return read, np.column_stack([output, table[read, 1:]])
