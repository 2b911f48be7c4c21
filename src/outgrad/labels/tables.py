"""Arithmetic on tables of integers, without names: rows are compared as one int64 key each.

A table is (n, d) int32. Packing its columns into one key keeps equality and lexicographic order, and
makes sorting and searching rows as fast as sorting and searching integers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

KEY_LIMIT = 2**63 - 1
"""Keys stay below this: the largest int64."""

DENSE_FACTOR = 8
"""A lookup array may be this many times longer than the rows it serves; beyond that, searching wins."""

MANY_ROWS = 10_000
"""From this many rows on, sorting the rows before a search pays."""


PIECE_ROWS = 16_384
"""Rows that are looked at together where temporaries should stay in the cache."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one column extends the key: ``key * width + (column - minimum)``.

    Where that would overflow, the key so far is first replaced by its rank in ``ranks``, the sorted
    distinct keys that occur: ranks are below 2**31 and a width is at most 2**32, so the result always fits.
    """

    minimum: int
    width: int
    ranks: Keys | None


@dataclass(frozen=True, slots=True)
class Packing:
    """A map from rows to keys in ``[0, extent)`` that keeps equality and lexicographic order."""

    steps: tuple[Step, ...]
    extent: int

    def apply(self, table: Table) -> tuple[Keys, Mask | None]:
        """Return the keys (n,) of rows, and which rows could occur in the packed table at all.

        The mask is None if all could; the key of a row that could not is 0.
        """
        inside: Mask | None = None
        for step, column, found in zip(self.steps, table.T, _ranges(table), strict=True):
            inside = _both(inside, _inside(step, column, found))
        if all(step.ranks is None for step in self.steps):
            keys = _keys(self.steps, table)
        else:
            keys, ranked = self._ranked(table)
            inside = _both(inside, ranked)
        if inside is not None:
            keys[~inside] = 0
        return keys, inside

    def _ranked(self, table: Table) -> tuple[Keys, Mask | None]:
        """Keys where some of them are ranks on the way, and which rows have all of these ranks."""
        keys, inside = np.zeros(len(table), dtype=np.int64), None
        for step, column in zip(self.steps, table.T, strict=True):
            if step.ranks is not None:
                keys, ranked = _rank(step.ranks, keys)
                inside = _both(inside, ranked)
            _extend(keys, step, column)
        return keys, inside

    def apply_one(self, row: Sequence[int]) -> int:
        """Return the key of one row, −1 if it could not occur: many times faster than a table of one row."""
        key = 0
        for step, value in zip(self.steps, row, strict=True):
            if not 0 <= value - step.minimum < step.width:
                return -1
            if step.ranks is not None:
                key = _place(step.ranks, key)
                if key < 0:
                    return -1
            key = key * step.width + value - step.minimum
        return key


def _place(ranks: Keys, key: int) -> int:
    """Return the position of a key in sorted ones, −1 if it is not there."""
    at = int(ranks.searchsorted(key))
    return at if at < len(ranks) and int(ranks[at]) == key else -1


def pack(table: Table) -> tuple[Packing, Keys]:
    """Find a packing for the rows of ``table`` (n, d), and return it with their keys (n,)."""
    ranges = _ranges(table)
    extent = prod(width for _, width in ranges)
    if extent <= KEY_LIMIT:
        steps = tuple(Step(minimum, width, None) for minimum, width in ranges)
        return Packing(steps, extent), _keys(steps, table)
    return _pack_by_ranks(table, ranges)


def _pack_by_ranks(table: Table, ranges: Sequence[tuple[int, int]]) -> tuple[Packing, Keys]:
    keys, extent, steps = np.zeros(len(table), dtype=np.int64), 1, []
    for column, (minimum, width) in zip(table.T, ranges, strict=True):
        ranks = None
        if extent * width > KEY_LIMIT:
            ranks, keys = _ranks(keys, extent)
            extent = len(ranks)
        steps.append(Step(minimum, width, ranks))
        _extend(keys, steps[-1], column)
        extent *= width
    return Packing(tuple(steps), extent), keys


def _pieces(table: Table) -> Iterator[tuple[slice, Table]]:
    """Yield stretches of rows, with their columns side by side in memory: these stay in the cache."""
    for start in range(0, len(table), PIECE_ROWS):
        rows = slice(start, start + PIECE_ROWS)
        yield rows, np.ascontiguousarray(table[rows].T)


def _ranges(table: Table) -> list[tuple[int, int]]:
    """Return the least value of each column, and how many integers there are from it to the greatest."""
    if len(table) == 0:
        return [(0, 1)] * table.shape[1]
    found = [(columns.min(axis=1), columns.max(axis=1)) for _, columns in _pieces(table)]
    minima = np.min([low for low, _ in found], axis=0).tolist()
    maxima = np.max([high for _, high in found], axis=0).tolist()
    return [(low, high - low + 1) for low, high in zip(minima, maxima, strict=True)]


def _keys(steps: Sequence[Step], table: Table) -> Keys:
    """Keys of rows without ranks. Rows outside the packing may wrap: they are masked."""
    keys = np.zeros(len(table), dtype=np.int64)
    offset = 0
    for step in steps:
        offset = offset * step.width + step.minimum
    offset = (offset + 2**63) % 2**64 - 2**63  # as int64 wraps: differences are right all the same
    for rows, columns in _pieces(table):
        own = keys[rows]
        for step, column in zip(steps, columns, strict=True):
            own *= step.width
            own += column
        own -= offset
    return keys


def _extend(keys: Keys, step: Step, column: Table) -> None:
    """Append a column to the keys, in place. Rows outside the packing may wrap: they are masked."""
    if step.width > 1:
        keys *= step.width
        keys += column
        keys -= step.minimum


def _inside(step: Step, column: Table, found: tuple[int, int]) -> Mask | None:
    """Which values lie in the range of the packed column; None if all, as the range that is found says."""
    minimum, width = found
    stop = step.minimum + step.width
    if step.minimum <= minimum and minimum + width <= stop:
        return None
    return (column >= step.minimum) & (column < stop)


def _rank(ranks: Keys, keys: Keys) -> tuple[Keys, Mask]:
    """Return the position of each key in ``ranks``, and whether it is there."""
    at = np.minimum(_searchsorted(ranks, keys), len(ranks) - 1)
    return at, ranks[at] == keys


def _searchsorted(haystack: Keys, needles: Keys) -> Positions:
    """Search many needles in sorted order: neighbours then touch the same memory, 10 times faster."""
    if len(needles) < MANY_ROWS or not (needles[1:] < needles[:-1]).any():
        return np.searchsorted(haystack, needles)
    needles, order = sort_keys(needles, int(needles.max()) + 1)
    found = np.empty(len(needles), dtype=np.int64)
    found[order] = np.searchsorted(haystack, needles)
    return found


def _both(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def sort_keys(keys: Keys, extent: int) -> tuple[Keys, Positions]:
    """Return the sorted keys and the stable order that sorts them.

    Where both fit into one int64, the position travels in the low bits of the key: sorting plain
    integers is several times faster than an argsort.
    """
    bits = max(0, len(keys) - 1).bit_length()
    if extent > KEY_LIMIT >> bits:
        return _argsort(keys)
    tagged = (keys << bits) | np.arange(len(keys), dtype=np.int64)
    tagged.sort()
    return tagged >> bits, tagged & ((1 << bits) - 1)


def _argsort(keys: Keys) -> tuple[Keys, Positions]:
    order = np.argsort(keys)
    ordered = keys[order]
    if (ordered[1:] == ordered[:-1]).any():
        # The fast sort is not stable; without equal keys that makes no difference.
        order = np.argsort(keys, kind="stable")
    return ordered, order


def _group(keys: Keys, extent: int) -> tuple[Positions, Positions]:
    """Return the first position (U,) of each distinct key, in key order, and the number (n,) of each key."""
    ordered, order = sort_keys(keys, extent)
    new = _starts(ordered[1:] != ordered[:-1], len(keys))
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(new, dtype=np.int64) - 1
    return order[new], inverse


def _starts(changes: Mask, count: int) -> Mask:
    """Put True before the changes between neighbours: the first row always starts a group."""
    return np.concatenate([np.ones(min(1, count), dtype=np.bool_), changes])


def _ranks(keys: Keys, extent: int) -> tuple[Keys, Keys]:
    """Return the sorted distinct keys, and the rank of each key among them."""
    first, ranks = _group(keys, extent)
    return keys[first], ranks


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
        elif (np.diff(keys) < 0).any():
            self._keys, self._order = sort_keys(keys, self._packing.extent)

    def find(self, rows: Table) -> Positions:
        """Return the positions (m,) of ``rows`` (m, d) in the table, -1 for those that are not there."""
        if len(self._keys) == 0:
            return np.full(len(rows), -1, dtype=np.int64)
        keys, inside = self._packing.apply(rows)
        found = self._search(keys) if self._dense is None else self._dense[keys]
        if inside is not None:
            found[~inside] = -1
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
        at = _place(self._keys, key)
        return at if at < 0 or self._order is None else int(self._order[at])

    def _search(self, keys: Keys) -> Positions:
        at, present = _rank(self._keys, keys)
        found = at if self._order is None else self._order[at]
        found[~present] = -1
        return found


def _dense_lookup(keys: Keys, extent: int) -> Positions:
    lookup = np.full(extent, -1, dtype=np.int64)
    # Backwards, so that the first of several equal rows is written last and stays.
    lookup[keys[::-1]] = np.arange(len(keys) - 1, -1, -1, dtype=np.int64)
    return lookup


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
        new = _starts(~ties, len(table))
        return table[new], np.cumsum(new, dtype=np.int64) - 1
    packing, keys = pack(table)
    first, inverse = _group(keys, packing.extent)
    return table[first], inverse


def table_digest(names: Sequence[str], table: Table) -> str:
    """Return 32 hex characters that name this content: names, shape and values."""
    return sliced_digest(names, len(table), [table])


def sliced_digest(names: Sequence[str], count: int, slices: Iterable[Table]) -> str:
    """Return the digest of a table of ``count`` rows that comes in slices, and is never held as a whole."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update("\0".join(names).encode() + b"\0")
    digest.update(np.asarray((count, len(names)), dtype="<i8").tobytes())
    for rows in slices:
        digest.update(np.ascontiguousarray(rows, dtype="<i4").data)
    return digest.hexdigest()
