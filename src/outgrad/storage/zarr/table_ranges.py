"""The smallest and the largest number in a table of samples: which samples may be where, without a read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.chunk import Table
from outgrad.data.chunking import SYSTEM_NAMES
from outgrad.storage.zarr.format import ArraySpec

Bounds = tuple[tuple[int, int], ...]
"""The smallest and the largest number in each column."""


def system_column(names: Sequence[str]) -> int:
    """The column that identifies systems; the first one if none does."""
    return next((column for column, name in enumerate(names) if name in SYSTEM_NAMES), 0)


class TableRanges:
    """Grows with the rows of a table, which begins at ``row`` of its array."""

    def __init__(self, array: ArraySpec, row: int, names: Sequence[str]) -> None:
        self._array = array
        self._row = row
        self._column = system_column(names)
        self._low: Table | None = None
        self._high: Table | None = None
        self._chunks: list[Table] = []
        self._last_chunk = -1

    def add(self, rows: Table) -> None:
        """Take the next rows."""
        if not len(rows):
            return
        low, high = rows.min(axis=0), rows.max(axis=0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)
        size = self._array.chunk_rows
        numbers = self._array.chunks_of(self._row, self._row + len(rows))
        starts = np.maximum(np.array(numbers) * size - self._row, 0)
        column = rows[:, self._column]
        found = np.stack([np.minimum.reduceat(column, starts), np.maximum.reduceat(column, starts)], axis=1)
        if self._chunks and numbers.start == self._last_chunk:  # it goes on from the rows before
            last = self._chunks.pop()
            found[0] = min(last[-1, 0], found[0, 0]), max(last[-1, 1], found[0, 1])
            found = np.concatenate([last[:-1], found])
        self._chunks.append(found)
        self._last_chunk = numbers[-1]
        self._row += len(rows)

    @property
    def bounds(self) -> Bounds | None:
        """Of each column; None without rows."""
        if self._low is None or self._high is None:
            return None
        return tuple(zip(self._low.tolist(), self._high.tolist(), strict=True))

    @property
    def chunks(self) -> Table:
        """Of each chunk that has rows of the table, in the column that identifies systems (n, 2)."""
        return np.concatenate([np.empty((0, 2), np.int32), *self._chunks])
