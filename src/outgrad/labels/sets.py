"""Tables as sets of rows: the check that a table is one, and unions, intersections and products."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from outgrad._threads import several_threads
from outgrad.config import threads
from outgrad.errors import ValidationError
from outgrad.labels.display import row_text
from outgrad.labels.rows import RowIndex, find_rows, has_repeated_rows, take_rows, unique_rows
from outgrad.labels.types import Mask, Positions, RowNumbers, Table


def check_unique(
    rows: str,
    names: Iterable[str],
    table: Table,
    where: Callable[[int, int], str] = "rows {} and {}".format,
    advice: str = "remove one of them, or add a dimension that distinguishes them",
) -> None:
    """Refuse a table in which a row occurs twice.

    ``rows`` begins the message of the error: what was called, and what the rows are, as in "Labels: rows".
    ``where`` describes two positions in the table.
    """
    if not has_repeated_rows(table):
        return
    first_positions = RowIndex(table, expected=len(table)).find(table)
    second = int((first_positions != np.arange(len(table))).argmax())
    first = int(first_positions[second])
    raise ValidationError(
        f"{rows} must be unique, found {row_text(names, table[second])} in {where(first, second)}; {advice}"
    )


# ---- two tables, each without repeated rows ----
# Methods of labels are called by users and not in tasks, and may use all cores.
def locate_rows(table: Table, rows: Table) -> Positions:
    """Return the position of each of ``rows`` in ``table``, -1 if absent, on all cores."""
    with several_threads(threads()):
        return find_rows(table, rows)


def kept_rows(table: Table, kept: Mask) -> Table:
    """Return the rows that are kept, on all cores."""
    with several_threads(threads()):
        return take_rows(table, kept)


def union_rows(first: Table, second: Table) -> tuple[Table, Positions]:
    """Return the rows of ``first`` and then those only in ``second``, and where the second's rows went."""
    mapping = locate_rows(first, second)
    new = mapping < 0
    mapping[new] = np.arange(len(first), len(first) + np.count_nonzero(new))
    return np.concatenate([first, kept_rows(second, new)]), mapping


def common_rows(first: Table, second: Table) -> tuple[Mask, Positions]:
    """Return which rows of ``first`` are in ``second``, and where each row of the second is in the first."""
    positions = locate_rows(first, second)
    marked = np.zeros(len(first) + 1, dtype=np.bool_)
    marked[positions] = True  # −1 marks the last, which is cut off
    return marked[:-1], positions


def number_kept(kept: Mask) -> Positions:
    """Number the kept rows from 0; the others get -1."""
    return np.where(kept, np.cumsum(kept, dtype=np.int64) - 1, -1)


# ---- dimensions that move between keys, samples and properties ----
def product(outer: Table, inner: Table) -> Table:
    """Return each row of ``outer`` with each row of ``inner`` appended; the inner one runs fastest.

    >>> product(np.array([[8], [6]]), np.array([[0], [1]])).tolist()
    [[8, 0], [8, 1], [6, 0], [6, 1]]
    """
    return np.hstack([np.repeat(outer, len(inner), axis=0), np.tile(inner, (len(outer), 1))])


def append_to_rows(table: Table, row: Table) -> Table:
    """Append the same ``row`` (d,) to every row of ``table``."""
    return np.hstack([table, np.broadcast_to(row, (len(table), len(row)))])


def distinct_rows(table: Table) -> tuple[Table, RowNumbers]:
    """Return the distinct rows in the order in which they appear first, and the number of each row in them.

    >>> rows, number = distinct_rows(np.array([[7], [3], [7]], np.int32))
    >>> rows.tolist(), number.tolist()
    ([[7], [3]], [0, 1, 0])
    """
    unique, number = unique_rows(table)
    if len(unique) == len(table):
        return table, np.arange(len(table), dtype=np.int32)
    first = np.empty(len(unique), dtype=np.int64)
    first[number[::-1]] = np.arange(len(table) - 1, -1, -1)  # backwards, so that the first one stays
    order = np.argsort(first)
    rank = np.empty(len(unique), dtype=np.int32)
    rank[order] = np.arange(len(unique), dtype=np.int32)
    return table[first[order]], rank[number]


def unite(tables: Sequence[Table], sort: bool) -> tuple[Table, list[RowNumbers]]:
    """Return the distinct rows of all tables, sorted or as they appear, and where each table's rows are."""
    stacked = tables[0] if len(tables) == 1 else np.concatenate(tables)
    rows, positions = unique_rows(stacked) if sort else distinct_rows(stacked)
    stops = np.cumsum([len(table) for table in tables])[:-1]
    return rows, list(np.split(positions.astype(np.int32, copy=False), stops))


def members(number: RowNumbers) -> list[RowNumbers]:
    """List the positions of each number 0, 1, …, in their order.

    >>> [positions.tolist() for positions in members(np.array([0, 1, 0]))]
    [[0, 2], [1]]
    """
    return list(np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1]))
