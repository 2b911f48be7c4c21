"""Label tables as they are read: compared with what the commit says of them, once a process.

A checksum shows that bytes are those that were written, and nothing about who wrote them. Labels are compared
by their digests, without a read; so a table with another content than its digest says gives wrong sums. A
table of up to ``WHOLE_BYTES`` is compared before any of its rows is used; a larger one when it is read as a
whole, or when its slices, which may come from several threads, add up to the whole.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cached_property

from outgrad._forks import forgets_in_child, fork_safe_lock
from outgrad.labels.rows import begin_digest, has_repeated_rows, table_digest
from outgrad.labels.types import Table
from outgrad.storage.zarr.format import MIB, SegmentSpec, TableSpec

WHOLE_BYTES = MIB
"""A table of this size is one storage chunk, which is read for any row of it."""
WAITING_BYTES = 16 * MIB
"""Slices that came before those in front of them; beyond this, the table is no longer followed."""

OTHER_DIGEST = "its rows are not those whose digest the commit has"


class TableChecks:
    """What is known of the tables of one opened archive."""

    def __init__(self, segment: SegmentSpec) -> None:
        self._segment = segment
        self._trusted: set[int] = set()
        self._followed: dict[int, _Followed] = {}
        self._lock = fork_safe_lock()
        forgets_in_child(self)

    def forget_threads(self) -> None:
        """Leave digests that threads of the parent may have been at work on."""
        self._followed = {}

    def mistake(self, number: int, start: int, rows: Table, read_all: Callable[[], Table]) -> str:
        """What is wrong with rows of a table that were just read, from row ``start`` on; "" if nothing is."""
        if number in self._trusted:
            return ""
        table = self._segment.tables[number]
        if len(rows) == table.rows or 4 * table.rows * len(table.names) <= WHOLE_BYTES:
            found = self._whole_mistake(number, rows if len(rows) == table.rows else read_all())
        else:
            found = self._slice_mistake(number, start, rows)
        return found

    def _whole_mistake(self, number: int, rows: Table) -> str:
        table = self._segment.tables[number]
        found = OTHER_DIGEST if table_digest(table.names, rows) != table.digest else ""
        found = found or self.sample_mistake(number, 0, rows)
        found = found or ("it has a row twice" if has_repeated_rows(rows) else "")
        if not found:
            self._trusted.add(number)
        return found

    def _slice_mistake(self, number: int, start: int, rows: Table) -> str:
        found = self.sample_mistake(number, start, rows)
        if found:
            return found
        with self._lock:
            followed = self._followed.setdefault(number, _Followed(self._segment.tables[number]))
        is_right = followed.add(start, rows)
        if is_right:
            self._trusted.add(number)
        return OTHER_DIGEST if is_right is False else ""

    def sample_mistake(self, number: int, start: int, rows: Table) -> str:
        """What is wrong with the ``sample`` column of rows of a gradient's table; "" for other tables.

        Plans are made from the chunk edges, so each row has to lie in the chunk of its parent, also where its
        chunk is never asked for.
        """
        for edges, above in self._cuts.get(number, ()):
            found = _cut_mistake(rows, start, edges, above)
            if found:
                return found
        return ""

    @cached_property
    def _cuts(self) -> dict[int, set[tuple[tuple[int, ...], tuple[int, ...]]]]:
        """Of each table of a gradient's samples, the chunk edges of gradients that use it, and of parents."""
        found: dict[int, set[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
        for block in self._segment.blocks:
            for _, parent in block.walk():
                for gradient in parent.gradients.values():
                    found.setdefault(gradient.samples, set()).add((gradient.edges, parent.edges))
        return found


def _cut_mistake(rows: Table, start: int, edges: tuple[int, ...], above: tuple[int, ...]) -> str:
    """Which row is not in the chunk of its parent; "" if all are."""
    stop = start + len(rows)
    for chunk in range(max(0, bisect_right(edges, start) - 1), bisect_left(edges, stop)):
        lower, upper = max(edges[chunk], start), min(edges[chunk + 1], stop)
        found = _outside(rows[lower - start : upper - start], lower, above[chunk], above[chunk + 1])
        if found:
            return found
    return ""


def _outside(rows: Table, start: int, lower: int, upper: int) -> str:
    """Which row, counted from ``start``, has a ``sample`` outside of [lower, upper); "" if none has."""
    column = rows[:, 0]
    if len(rows) == 0 or (lower <= column.min() and column.max() < upper):
        return ""
    at = int(((column < lower) | (column >= upper)).argmax())
    return (
        f"row {start + at} has sample {column[at]}, which is not in [{lower}, {upper}), the rows of its "
        "chunk by the edges in the commit"
    )


class _Followed:
    """The digest of a large table, as its slices come."""

    def __init__(self, table: TableSpec) -> None:
        self._table = table
        self._digest = begin_digest(table.names, table.rows)
        self._row = 0
        self._waiting: dict[int, Table] = {}
        self._lock = fork_safe_lock()

    def add(self, start: int, rows: Table) -> bool | None:
        """Take a slice; return whether the whole table is right, once all of it was there."""
        with self._lock:
            if start > self._row:
                self._keep(start, rows)
                return None
            self._take(start, rows)
            while (ready := min(self._waiting, default=self._row + 1)) <= self._row:
                self._take(ready, self._waiting.pop(ready))
            return None if self._row < self._table.rows else self._digest.hexdigest() == self._table.digest

    def _take(self, start: int, rows: Table) -> None:
        self._digest.update(rows[self._row - start :].astype("<i4", order="C").data)
        self._row = max(self._row, start + len(rows))

    def _keep(self, start: int, rows: Table) -> None:
        kept = sum(each.nbytes for each in self._waiting.values())
        if kept + rows.nbytes <= WAITING_BYTES:
            self._waiting[start] = rows.copy()
