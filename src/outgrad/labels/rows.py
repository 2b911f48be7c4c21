"""Tables of integers, without names: (n, d) int32, whose rows are found, compared and grouped.

Each row is packed into one int64 key that keeps equality and lexicographic order, so that sorting and
searching rows is as fast as sorting and searching integers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from outgrad._threads import allowed_threads, for_pieces
from outgrad.labels.types import Keys, Mask, Positions, Table

KEY_LIMIT = 2**63 - 1
"""Keys stay below this: the largest int64."""

MANY_ROWS = 10_000
"""From this many rows on, sorting the rows before a search pays, and so do several threads."""

FEW_ROWS = 128
"""Up to so many rows are compared one by one."""

PIECE_ROWS = 16_384
"""Rows that are processed together where temporaries should stay in the cache: 128 KiB of keys."""

DENSE_FACTOR = 8
"""A lookup array may be this many times longer than the rows it serves; beyond that, searching wins."""


# ---- packing: one key for each row ----
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
        for step, column, (minimum, width) in zip(self.steps, table.T, _column_ranges(table), strict=True):
            stop = step.minimum + step.width
            if minimum < step.minimum or minimum + width > stop:
                inside = _both(inside, (column >= step.minimum) & (column < stop))
        if all(step.ranks is None for step in self.steps):
            keys = _keys(self.steps, table)
        else:
            keys = np.zeros(len(table), dtype=np.int64)
            for step, column in zip(self.steps, table.T, strict=True):
                if step.ranks is not None:
                    keys = locate(step.ranks, keys)
                    inside = _both(inside, keys >= 0)
                _extend(keys, step, column)
        if inside is not None:
            keys *= inside
        return keys, inside

    def apply_one(self, row: Sequence[int]) -> int:
        """Return the key of one row, −1 if it could not occur: many times faster than a table of one row."""
        key = 0
        for step, value in zip(self.steps, row, strict=True):
            if not 0 <= value - step.minimum < step.width:
                return -1
            if step.ranks is not None:
                key = locate_one(step.ranks, key)
                if key < 0:
                    return -1
            key = key * step.width + value - step.minimum
        return key


def pack(table: Table) -> tuple[Packing, Keys]:
    """Find a packing for the rows of ``table`` (n, d), and return it with their keys (n,)."""
    ranges = _column_ranges(table)
    extent = prod(width for _, width in ranges)
    if extent <= KEY_LIMIT:
        plain_steps = tuple(Step(minimum, width, None) for minimum, width in ranges)
        return Packing(plain_steps, extent), _keys(plain_steps, table)

    # The columns together are too wide for one int64. Before the column that would overflow, keys become
    # their ranks: as many as there are distinct keys, which is at most the number of rows.
    keys, extent, steps = np.zeros(len(table), dtype=np.int64), 1, []
    for column, (minimum, width) in zip(table.T, ranges, strict=True):
        ranks = None
        if extent * width > KEY_LIMIT:
            first, numbers = group_keys(keys, extent)
            ranks, keys, extent = keys[first], numbers, len(first)
        steps.append(Step(minimum, width, ranks))
        _extend(keys, steps[-1], column)
        extent *= width
    return Packing(tuple(steps), extent), keys


def _side_by_side(rows: Table) -> Table:
    """Copy the columns of a few rows, each to neighbouring memory: these stay in the cache."""
    return np.ascontiguousarray(rows.T)


def _column_ranges(table: Table) -> list[tuple[int, int]]:
    """Return the least value of each column, and how many integers there are from it to the greatest."""
    if len(table) == 0:
        return [(0, 1)] * table.shape[1]
    extremes: list[tuple[Table, Table]] = []

    def look(rows: slice) -> None:
        columns = _side_by_side(table[rows])
        extremes.append((columns.min(axis=1), columns.max(axis=1)))

    for_pieces(look, len(table), PIECE_ROWS)
    minima = np.min([low for low, _ in extremes], axis=0).tolist()
    maxima = np.max([high for _, high in extremes], axis=0).tolist()
    return [(low, high - low + 1) for low, high in zip(minima, maxima, strict=True)]


def _keys(steps: Sequence[Step], table: Table) -> Keys:
    """Return the keys of rows where no step has ranks. Those of rows outside the packing mean nothing."""
    # All minima are subtracted at once: with widths w and minima m of two columns,
    # (a - m0) * w1 + (b - m1) = (a * w1 + b) - (m0 * w1 + m1). Either bracket may exceed an int64. Both wrap
    # modulo 2**64, so their difference, which is below KEY_LIMIT, is right all the same.
    offset = 0
    for step in steps:
        offset = offset * step.width + step.minimum
    offset = (offset + 2**63) % 2**64 - 2**63
    keys = np.zeros(len(table), dtype=np.int64)

    def fill(rows: slice) -> None:
        piece = keys[rows]
        for step, column in zip(steps, _side_by_side(table[rows]), strict=True):
            piece *= step.width
            piece += column
        piece -= offset

    for_pieces(fill, len(table), PIECE_ROWS)
    return keys


def _extend(keys: Keys, step: Step, column: Table) -> None:
    """Append a column to the keys, in place. Rows outside the packing may wrap: they are masked."""
    if step.width > 1:
        keys *= step.width
        keys += column
        keys -= step.minimum


def _both(first: Mask | None, second: Mask) -> Mask:
    return second if first is None else first & second


# ---- keys ----
def locate(ordered: Keys, keys: Keys) -> Positions:
    """Return the position of each key among sorted ones, −1 for those that are not there.

    Many keys are searched in sorted order: neighbours then touch the same memory, 10 times faster.
    """
    if len(keys) < MANY_ROWS or not (keys[1:] < keys[:-1]).any():
        return _located(ordered, keys)
    needles, order = sort_keys(keys, int(keys.max()) + 1)
    positions = np.empty(len(keys), dtype=np.int64)
    positions[order] = _located(ordered, needles)
    return positions


def _located(ordered: Keys, keys: Keys) -> Positions:
    positions: Positions = np.searchsorted(ordered, keys)
    np.minimum(positions, len(ordered) - 1, out=positions)
    np.copyto(positions, -1, where=ordered[positions] != keys)
    return positions


def locate_one(ordered: Keys, key: int) -> int:
    """Return the position of one key among sorted ones, −1 if it is not there."""
    position = int(ordered.searchsorted(key))
    return position if position < len(ordered) and int(ordered[position]) == key else -1


def sort_keys(keys: Keys, extent: int) -> tuple[Keys, Positions]:
    """Return the sorted keys and the stable order that sorts them.

    Where both fit into one int64, the position travels in the low bits of the key: sorting plain
    integers is several times faster than an argsort.
    """
    bits = max(0, len(keys) - 1).bit_length()
    if extent > KEY_LIMIT >> bits:
        order = np.argsort(keys)
        ordered = keys[order]
        if (ordered[1:] == ordered[:-1]).any():
            # The fast sort is not stable; without equal keys that makes no difference.
            order = np.argsort(keys, kind="stable")
        return ordered, order
    tagged = keys << bits
    tagged |= np.arange(len(keys), dtype=np.int64)
    tagged.sort()
    order = tagged & ((1 << bits) - 1)
    tagged >>= bits
    return tagged, order


def group_keys(keys: Keys, extent: int) -> tuple[Positions, Positions]:
    """Return the first position (U,) of each distinct key, in key order, and the number (n,) of each key."""
    ordered, order = sort_keys(keys, extent)
    new = group_starts(ordered[1:] != ordered[:-1], len(keys))
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(new, dtype=np.int64) - 1
    return order[new], inverse


def group_starts(changes: Mask, count: int) -> Mask:
    """Put True before the changes between neighbours: the first row always starts a group."""
    return np.concatenate([np.ones(min(1, count), dtype=np.bool_), changes])


# ---- looking up rows ----
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
        extent = self._packing.extent
        if extent <= DENSE_FACTOR * (len(table) + expected):
            self._dense = np.full(extent, -1, dtype=np.int64)
            # Backwards, so that the first of several equal rows is written last and stays.
            self._dense[keys[::-1]] = np.arange(len(keys) - 1, -1, -1, dtype=np.int64)
        elif (keys[1:] < keys[:-1]).any():
            self._keys, self._order = sort_keys(keys, extent)

    def find(self, rows: Table) -> Positions:
        """Return the positions (m,) of ``rows`` (m, d) in the table, -1 for those that are not there."""
        if len(rows) < MANY_ROWS or allowed_threads() == 1:
            return self._find(rows)
        positions = np.empty(len(rows), dtype=np.int64)

        def find(piece: slice) -> None:
            positions[piece] = self._find(rows[piece])

        for_pieces(find, len(rows), max(1, -(-len(rows) // allowed_threads())))
        return positions

    def _find(self, rows: Table) -> Positions:
        if len(self._keys) == 0:
            return np.full(len(rows), -1, dtype=np.int64)
        keys, inside = self._packing.apply(rows)
        if self._dense is not None:
            positions = self._dense[keys]
        else:
            positions = locate(self._keys, keys)
            if self._order is not None:
                positions = np.where(positions < 0, -1, self._order[positions])
        if inside is not None:
            np.copyto(positions, -1, where=~inside)
        return positions

    def find_one(self, row: Sequence[int]) -> int:
        """Return the position of one row, −1 if it is not there."""
        if len(self._keys) == 0:
            return -1
        key = self._packing.apply_one(row)
        if key < 0:
            return -1
        if self._dense is not None:
            return int(self._dense[key])
        position = locate_one(self._keys, key)
        return position if position < 0 or self._order is None else int(self._order[position])


def find_rows(haystack: Table, needles: Table) -> Positions:
    """Return the position (m,) of each row of ``needles`` (m, d) in ``haystack`` (n, d), -1 if absent.

    Examples
    --------
    >>> haystack = np.array([[0, 4], [1, 5]], dtype=np.int32)
    >>> find_rows(haystack, np.array([[1, 5], [1, 4]], dtype=np.int32)).tolist()
    [1, -1]
    """
    return RowIndex(haystack, expected=len(needles)).find(needles)


def take_rows(table: Table, kept: Mask) -> Table:
    """Return the rows that are kept: NumPy takes positions four times faster than a mask of rows."""
    positions = np.flatnonzero(kept)
    out = np.empty((len(positions), table.shape[1]), dtype=table.dtype)

    def take(rows: slice) -> None:
        np.take(table, positions[rows], axis=0, out=out[rows], mode="clip")

    for_pieces(take, len(out), PIECE_ROWS)
    return out


# ---- order and repetition ----
def sorted_ties(table: Table) -> Mask | None:
    """Which rows (n - 1,), from the second on, equal the row before; None if the rows are not sorted.

    Rows are compared in pieces that stay in the cache, so that columns are read from memory once.
    """
    tied = np.empty(max(0, len(table) - 1), dtype=np.bool_)
    for start in range(0, len(tied), PIECE_ROWS):
        piece = _ties_of_piece(table[start : start + PIECE_ROWS + 1])
        if piece is None:
            return None
        tied[start : start + PIECE_ROWS] = piece
    return tied


def _ties_of_piece(table: Table) -> Mask | None:
    tied: Mask | None = None
    for column in table.T:
        # Only rows that are equal so far can be out of order in this column.
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
    if len(table) < FEW_ROWS:
        return _is_repeated_in_few(table)
    ties = sorted_ties(table)
    if ties is not None:
        return bool(ties.any())
    keys = pack(table)[1]
    keys.sort()
    return bool((keys[1:] == keys[:-1]).any())


def _is_repeated_in_few(table: Table) -> bool:
    """Compare the bytes of rows: for a few rows, each call of NumPy takes longer than this."""
    if len(table) < 2 or table.shape[1] == 0:
        return len(table) > 1
    # NumPy drops zero bytes at the end of a string: of equally long ones, those that differ still do.
    rows = np.frombuffer(table.tobytes(), f"S{table.itemsize * table.shape[1]}").tolist()
    return len(set(rows)) < len(rows)


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
        new = group_starts(~ties, len(table))
        return table[new], np.cumsum(new, dtype=np.int64) - 1
    packing, keys = pack(table)
    first, inverse = group_keys(keys, packing.extent)
    return table[first], inverse


# ---- digests ----
def table_digest(names: Sequence[str], table: Table) -> str:
    """Return 32 hex characters that identify this content: names, shape and values."""
    return sliced_digest(names, len(table), [table])


def sliced_digest(names: Sequence[str], count: int, slices: Iterable[Table]) -> str:
    """Return the digest of a table of ``count`` rows that comes in slices, and is never in memory at once."""
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
