"""Rows of integers as one int64 key each, which keeps equality and lexicographic order.

Sorting and searching rows is then as fast as sorting and searching integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from outgrad._threads import for_pieces

Table = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

KEY_LIMIT = 2**63 - 1
"""Keys stay below this: the largest int64."""

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
            keys *= inside
        return keys, inside

    def _ranked(self, table: Table) -> tuple[Keys, Mask | None]:
        """Keys where some of them are ranks on the way, and which rows have all of these ranks."""
        keys, inside = np.zeros(len(table), dtype=np.int64), None
        for step, column in zip(self.steps, table.T, strict=True):
            if step.ranks is not None:
                keys = locate(step.ranks, keys)
                inside = _both(inside, keys >= 0)
            _extend(keys, step, column)
        return keys, inside

    def apply_one(self, row: Sequence[int]) -> int:
        """Return the key of one row, −1 if it could not occur: many times faster than a table of one row."""
        key = 0
        for step, value in zip(self.steps, row, strict=True):
            if not 0 <= value - step.minimum < step.width:
                return -1
            if step.ranks is not None:
                key = place_of(step.ranks, key)
                if key < 0:
                    return -1
            key = key * step.width + value - step.minimum
        return key


def place_of(ranks: Keys, key: int) -> int:
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


def _columns(rows: Table) -> Table:
    """A few rows with their columns side by side in memory: these stay in the cache."""
    return np.ascontiguousarray(rows.T)


def _ranges(table: Table) -> list[tuple[int, int]]:
    """Return the least value of each column, and how many integers there are from it to the greatest."""
    if len(table) == 0:
        return [(0, 1)] * table.shape[1]
    found: list[tuple[Table, Table]] = []

    def look(rows: slice) -> None:
        columns = _columns(table[rows])
        found.append((columns.min(axis=1), columns.max(axis=1)))

    for_pieces(look, len(table), PIECE_ROWS)
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

    def fill(rows: slice) -> None:
        own = keys[rows]
        for step, column in zip(steps, _columns(table[rows]), strict=True):
            own *= step.width
            own += column
        own -= offset

    for_pieces(fill, len(table), PIECE_ROWS)
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


def locate(ordered: Keys, keys: Keys) -> Positions:
    """Return the position of each key among sorted ones, −1 for those that are not there.

    Many keys are searched in sorted order: neighbours then touch the same memory, 10 times faster.
    """
    if len(keys) < MANY_ROWS or not (keys[1:] < keys[:-1]).any():
        return _located(ordered, keys)
    needles, order = sort_keys(keys, int(keys.max()) + 1)
    found = np.empty(len(keys), dtype=np.int64)
    found[order] = _located(ordered, needles)
    return found


def _located(ordered: Keys, keys: Keys) -> Positions:
    at: Positions = np.searchsorted(ordered, keys)
    np.minimum(at, len(ordered) - 1, out=at)
    np.copyto(at, -1, where=ordered[at] != keys)
    return at


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
    tagged = keys << bits
    tagged |= np.arange(len(keys), dtype=np.int64)
    tagged.sort()
    order = tagged & ((1 << bits) - 1)
    tagged >>= bits
    return tagged, order


def _argsort(keys: Keys) -> tuple[Keys, Positions]:
    order = np.argsort(keys)
    ordered = keys[order]
    if (ordered[1:] == ordered[:-1]).any():
        # The fast sort is not stable; without equal keys that makes no difference.
        order = np.argsort(keys, kind="stable")
    return ordered, order


def group_keys(keys: Keys, extent: int) -> tuple[Positions, Positions]:
    """Return the first position (U,) of each distinct key, in key order, and the number (n,) of each key."""
    ordered, order = sort_keys(keys, extent)
    new = starts(ordered[1:] != ordered[:-1], len(keys))
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(new, dtype=np.int64) - 1
    return order[new], inverse


def starts(changes: Mask, count: int) -> Mask:
    """Put True before the changes between neighbours: the first row always starts a group."""
    return np.concatenate([np.ones(min(1, count), dtype=np.bool_), changes])


def _ranks(keys: Keys, extent: int) -> tuple[Keys, Keys]:
    """Return the sorted distinct keys, and the rank of each key among them."""
    first, ranks = group_keys(keys, extent)
    return keys[first], ranks
