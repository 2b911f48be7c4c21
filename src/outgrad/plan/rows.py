"""Maps of gradient rows: which row of which table goes where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from outgrad.labels.tables import is_sorted_rows, unique_rows

Index = npt.NDArray[np.integer]
Table = npt.NDArray[np.int32]


def merge(tables: Sequence[Table]) -> tuple[Table, list[Index]]:
    """Unite tables of rows: the union, and where each row of each table lies in it.

    Rows are sorted, except that those of a parent on which all tables agree keep their order. So the rows
    of one parent do not depend on other parents, and chunks that are united one by one agree with the whole.
    """
    union, inverse = unique_rows(np.concatenate(tables))
    places: list[Index] = list(np.split(inverse, np.cumsum([len(table) for table in tables])[:-1]))
    if all(is_sorted_rows(table) for table in tables):
        return union, places
    order = _agreed_order(tables, union, places)
    moved = np.empty_like(order)
    moved[order] = np.arange(len(order))
    return union[order], [moved[place] for place in places]


def _agreed_order(tables: Sequence[Table], union: Table, places: Sequence[Index]) -> Index:
    """Order of the sorted union in which a parent whose rows are the same in all tables keeps theirs."""
    parents = union[:, 0]
    size = int(parents.max(initial=-1)) + 1
    counts = [np.bincount(table[:, 0], minlength=size) for table in tables]
    agreed = np.all([count == np.bincount(parents, minlength=size) for count in counts], axis=0)
    by_parent = [np.argsort(table[:, 0], kind="stable") for table in tables]
    kept = [
        place[rows[agreed[table[rows, 0]]]]
        for table, place, rows in zip(tables, places, by_parent, strict=True)
    ]
    differs = np.any([other != kept[0] for other in kept], axis=0)
    agreed[parents[kept[0][differs]]] = False
    order = np.arange(len(union))
    order[agreed[parents]] = kept[0][agreed[parents[kept[0]]]]
    return order


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
    order = np.argsort(parents, kind="stable")
    first = np.searchsorted(parents[order], index, side="left")
    count = np.searchsorted(parents[order], index, side="right") - first
    output = np.repeat(np.arange(len(index)), count)
    nth = np.arange(len(output)) - np.repeat(np.cumsum(count) - count, count)
    read = order[first[output] + nth]
    return read, np.column_stack([output.astype(np.int32), table[read, 1:]])
