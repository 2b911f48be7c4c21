"""Dimensions that move between keys, samples and properties: tables put side by side and united."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from outgrad.labels.tables import unique_rows

Index = npt.NDArray[np.integer]
Table = npt.NDArray[np.int32]


def product(outer: Table, inner: Table) -> Table:
    """Put every row of ``inner`` behind every row of ``outer``; the inner one runs fastest.

    >>> product(np.array([[8], [6]]), np.array([[0], [1]])).tolist()
    [[8, 0], [8, 1], [6, 0], [6, 1]]
    """
    return np.hstack([np.repeat(outer, len(inner), axis=0), np.tile(inner, (len(outer), 1))])


def beside(table: Table, row: Table) -> Table:
    """Put the same ``row`` (d,) behind every row of ``table``."""
    return np.hstack([table, np.broadcast_to(row, (len(table), len(row)))])


def distinct_rows(table: Table) -> tuple[Table, Index]:
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


def unite(tables: Sequence[Table], sort: bool) -> tuple[Table, list[Index]]:
    """Return the distinct rows of all tables, sorted or as they appear, and where each table's rows are."""
    table = tables[0] if len(tables) == 1 else np.concatenate(tables)
    rows, places = unique_rows(table) if sort else distinct_rows(table)
    starts = np.cumsum([len(own) for own in tables])[:-1]
    return rows, list(np.split(places.astype(np.int32, copy=False), starts))


def members(number: Index) -> list[Index]:
    """List the places of each number 0, 1, …, in their order.

    >>> [places.tolist() for places in members(np.array([0, 1, 0]))]
    [[0, 2], [1]]
    """
    return list(np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1]))
