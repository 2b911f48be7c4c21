"""Maps of gradient rows: which row of which table goes where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from outgrad.labels.tables import unique_rows

Index = npt.NDArray[np.integer]
Table = npt.NDArray[np.int32]


def merge(tables: Sequence[Table]) -> tuple[Table, list[Index]]:
    """Unite tables of rows: the sorted union, and where each row of each table lies in it."""
    union, inverse = unique_rows(np.concatenate(tables))
    return union, np.split(inverse, np.cumsum([len(table) for table in tables])[:-1])


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
