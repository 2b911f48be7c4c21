"""Label tables as they are read: compared with what the commit says of them, once a process.

A checksum shows that bytes are those that were written, and nothing about who wrote them. Labels are compared
by their digests, without a read; so a table whose content does not match its digest gives wrong sums. A table
of up to ``WHOLE_BYTES`` is compared before any of its rows is used; a larger one when it is read at once, or
when its slices, which may come from several threads, add up to all of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cached_property

from outgrad._forks import forgets_in_child, fork_safe_lock
from outgrad.data.chunk import Table
from outgrad.labels.rows import begin_digest, has_repeated_rows, table_digest
from outgrad.storage.zarr.format import MIB, SegmentSpec, TableSpec

WHOLE_BYTES = MIB // 16
"""A table of this size is one chunk, which is read for any row of it."""
WAITING_BYTES = 16 * MIB
"""Slices that came before those that precede them; beyond this, the table is no longer followed."""

REPEATED_ROW = "a row occurs twice"
OTHER_DIGEST = "the digest of its rows is not the one in the commit"


class TableChecks:
    """What is known of the tables of one open archive."""

    def __init__(self, segment: SegmentSpec) -> None:
        self._segment = segment
        self._trusted: set[int] = set()
        self._followed: dict[int, _Followed] = {}
        self._lock = fork_safe_lock()
        forgets_in_child(self)

    def forget_threads(self) -> None:
        """Drop digests that threads of the parent process may have been updating."""
        self._followed = {}

    def mistake(self, number: int, start: int, rows: Table, read_all: Callable[[], Table]) -> str:
        """What is wrong with rows of a table that were just read, from row ``start`` on; "" if nothing is."""
        if number in self._trusted:
            return ""
        table = self._segment.tables[number]
        if len(rows) == table.rows or 4 * table.rows * len(table.names) <= WHOLE_BYTES:
            all_rows = rows if len(rows) == table.rows else read_all()
            if table_digest(table.names, all_rows) != table.digest:
                return OTHER_DIGEST
            mistake = self.sample_mistake(number, 0, all_rows)
            if not mistake and has_repeated_rows(all_rows):
                mistake = REPEATED_ROW
            is_right: bool | None = not mistake
        else:
            mistake = self.sample_mistake(number, start, rows)
            if mistake:
                return mistake
            with self._lock:
                followed = self._followed.setdefault(number, _Followed(table))
            is_right = followed.add(start, rows)
            mistake = OTHER_DIGEST if is_right is False else ""
        if is_right:
            self._trusted.add(number)
        return mistake

    def sample_mistake(self, number: int, start: int, rows: Table) -> str:
        """What is wrong with the ``sample`` column of rows of a gradient's table; "" for other tables.

        Plans are made from the chunk edges, so each row has to lie in the chunk of its parent, also where its
        chunk is never asked for.
        """
        for edges, parent_edges in self._chunk_edges.get(number, ()):
            stop = start + len(rows)
            for chunk in range(max(0, bisect_right(edges, start) - 1), bisect_left(edges, stop)):
                first, last = max(edges[chunk], start), min(edges[chunk + 1], stop)
                column = rows[first - start : last - start, 0]
                lower, upper = parent_edges[chunk], parent_edges[chunk + 1]
                if len(column) and not (lower <= column.min() and column.max() < upper):
                    index = int(((column < lower) | (column >= upper)).argmax())
                    return (
                        f"row {first + index} has sample {column[index]}, which is not in "
                        f"[{lower}, {upper}), the rows of its chunk by the edges in the commit"
                    )
        return ""

    @cached_property
    def _chunk_edges(self) -> dict[int, set[tuple[tuple[int, ...], tuple[int, ...]]]]:
        """Of each table of a gradient's samples, the chunk edges of gradients that use it, and of parents."""
        edges: dict[int, set[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
        for block in self._segment.blocks:
            for _, parent in block.walk():
                for gradient in parent.gradients.values():
                    edges.setdefault(gradient.samples, set()).add((gradient.edges, parent.edges))
        return edges


class _Followed:
    """The digest of a large table, as its slices come."""

    def __init__(self, table: TableSpec) -> None:
        self._table = table
        self._digest = begin_digest(table.names, table.rows)
        self._row = 0
        self._waiting: dict[int, Table] = {}
        self._waiting_bytes = 0
        self._lock = fork_safe_lock()

    def add(self, start: int, rows: Table) -> bool | None:
        """Take a slice; return whether the table is right, once all of it has come."""
        with self._lock:
            if start > self._row:
                if start not in self._waiting and self._waiting_bytes + rows.nbytes <= WAITING_BYTES:
                    self._waiting[start] = rows.copy()
                    self._waiting_bytes += rows.nbytes
                return None
            self._take(start, rows)
            while (ready := min(self._waiting, default=self._row + 1)) <= self._row:
                waiting = self._waiting.pop(ready)
                self._waiting_bytes -= waiting.nbytes
                self._take(ready, waiting)
            return None if self._row < self._table.rows else self._digest.hexdigest() == self._table.digest

    def _take(self, start: int, rows: Table) -> None:
        self._digest.update(rows[self._row - start :].astype("<i4", order="C").data)
        self._row = max(self._row, start + len(rows))
