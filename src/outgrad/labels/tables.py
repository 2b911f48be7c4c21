"""Arithmetic on tables of integers, without names: (n, d) int32, whose rows are compared as one key each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from outgrad._threads import allowed_threads, for_pieces
from outgrad.labels.packing import (
    MANY_ROWS,
    PIECE_ROWS,
    Keys,
    Mask,
    Positions,
    Table,
    group_keys,
    locate,
    pack,
    place_of,
    sort_keys,
    starts,
)

DENSE_FACTOR = 8
"""A lookup array may be this many times longer than the rows it serves; beyond that, searching wins."""


class RowIndex:
    """The positions of the rows of a table, to look up many rows at once.

    ``expected`` is the number of rows that will be looked up: many of them pay for a larger lookup
    array. Where a row occurs more than once, its first position is found.
    """

    __slots__ = ("_dense", "_keys", "_order", "_packing")

    def __init__(self, table: Table, expected: int = 0) -> None:
        self._packing, keys = pack(table)
        self._dense: Positions | None = None
        self._keys, self._order = keys, None
        if self._packing.extent <= DENSE_FACTOR * (len(table) + expected):
            self._dense = _dense_lookup(keys, self._packing.extent)
        elif (keys[1:] < keys[:-1]).any():
            self._keys, self._order = sort_keys(keys, self._packing.extent)

    def find(self, rows: Table) -> Positions:
        """Return the positions (m,) of ``rows`` (m, d) in the table, -1 for those that are not there."""
        if len(rows) < MANY_ROWS or allowed_threads() == 1:
            return self._find(rows)
        found = np.empty(len(rows), dtype=np.int64)

        def find(piece: slice) -> None:
            found[piece] = self._find(rows[piece])

        for_pieces(find, len(rows), max(1, -(-len(rows) // allowed_threads())))
        return found

    def _find(self, rows: Table) -> Positions:
        if len(self._keys) == 0:
            return np.full(len(rows), -1, dtype=np.int64)
        keys, inside = self._packing.apply(rows)
        found = self._search(keys) if self._dense is None else self._dense[keys]
        if inside is not None:
            np.copyto(found, -1, where=~inside)
        return found

    def find_one(self, row: Sequence[int]) -> int:
        """Return the position of one row, −1 if it is not there."""
        if len(self._keys) == 0:
            return -1
        key = self._packing.apply_one(row)
        if key < 0:
            return -1
        if self._dense is not None:
            return int(self._dense[key])
        at = place_of(self._keys, key)
        return at if at < 0 or self._order is None else int(self._order[at])

    def _search(self, keys: Keys) -> Positions:
        at = locate(self._keys, keys)
        return at if self._order is None else np.where(at < 0, -1, self._order[at])


def _dense_lookup(keys: Keys, extent: int) -> Positions:
    lookup = np.full(extent, -1, dtype=np.int64)
    # Backwards, so that the first of several equal rows is written last and stays.
    lookup[keys[::-1]] = np.arange(len(keys) - 1, -1, -1, dtype=np.int64)
    return lookup


def taken(table: Table, kept: Mask) -> Table:
    """Return the rows that are kept: NumPy takes positions four times faster than a mask of rows."""
    positions = np.flatnonzero(kept)
    out = np.empty((len(positions), table.shape[1]), dtype=table.dtype)

    def take(rows: slice) -> None:
        np.take(table, positions[rows], axis=0, out=out[rows], mode="clip")

    for_pieces(take, len(out), PIECE_ROWS)
    return out


def find_rows(haystack: Table, needles: Table) -> Positions:
    """Return the position (m,) of each row of ``needles`` (m, d) in ``haystack`` (n, d), -1 if absent.

    Examples
    --------
    >>> haystack = np.array([[0, 4], [1, 5]], dtype=np.int32)
    >>> find_rows(haystack, np.array([[1, 5], [1, 4]], dtype=np.int32)).tolist()
    [1, -1]
    """
    return RowIndex(haystack, expected=len(needles)).find(needles)


def sorted_ties(table: Table) -> Mask | None:
    """Which rows (n - 1,), from the second on, equal the row before; None if the rows are not sorted.

    Rows are compared in pieces that stay in the cache, so that columns are read from memory once.
    """
    tied = np.empty(max(0, len(table) - 1), dtype=np.bool_)
    for start in range(0, len(tied), PIECE_ROWS):
        found = _sorted_ties(table[start : start + PIECE_ROWS + 1])
        if found is None:
            return None
        tied[start : start + PIECE_ROWS] = found
    return tied


def _sorted_ties(table: Table) -> Mask | None:
    tied: Mask | None = None
    for column in table.T:
        before, after = column[:-1], column[1:]
        falls = after < before
        if (falls if tied is None else falls & tied).any():
            return None
        tied = after == before if tied is None else tied & (after == before)
        if not tied.any():
            return tied
    return np.ones(max(0, len(table) - 1), dtype=np.bool_) if tied is None else tied


def is_sorted_rows(table: Table) -> bool:
    """Whether the rows of ``table`` (n, d) are in lexicographic order; repeated rows are allowed.

    Examples
    --------
    >>> is_sorted_rows(np.array([[0, 4], [0, 5], [1, 0]], dtype=np.int32))
    True
    """
    return sorted_ties(table) is not None


def has_repeated_rows(table: Table) -> bool:
    """Whether any row of ``table`` (n, d) occurs more than once."""
    ties = sorted_ties(table)
    if ties is not None:
        return bool(ties.any())
    keys = pack(table)[1]
    keys.sort()
    return bool((keys[1:] == keys[:-1]).any())


def unique_rows(table: Table) -> tuple[Table, Positions]:
    """Return the distinct rows (U, d) in lexicographic order, and the number (n,) of each row in them.

    Examples
    --------
    >>> unique, inverse = unique_rows(np.array([[1, 0], [0, 7], [1, 0]], dtype=np.int32))
    >>> unique.tolist(), inverse.tolist()
    ([[0, 7], [1, 0]], [1, 0, 1])
    """
    ties = sorted_ties(table)
    if ties is not None:
        new = starts(~ties, len(table))
        return table[new], np.cumsum(new, dtype=np.int64) - 1
    packing, keys = pack(table)
    first, inverse = group_keys(keys, packing.extent)
    return table[first], inverse


def table_digest(names: Sequence[str], table: Table) -> str:
    """Return 32 hex characters that name this content: names, shape and values."""
    return sliced_digest(names, len(table), [table])


def sliced_digest(names: Sequence[str], count: int, slices: Iterable[Table]) -> str:
    """Return the digest of a table of ``count`` rows that comes in slices, and is never held as a whole."""
    digest = begin_digest(names, count)
    for rows in slices:
        digest.update(np.ascontiguousarray(rows, dtype="<i4").data)
    return digest.hexdigest()


def begin_digest(names: Sequence[str], count: int) -> hashlib.blake2b:
    """Return the digest of a table of ``count`` rows before its rows, which are little-endian int32."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update("\0".join(names).encode() + b"\0")
    digest.update(np.asarray((count, len(names)), dtype="<i8").tobytes())
    return digest
