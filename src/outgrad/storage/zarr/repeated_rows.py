"""Which rows of a growing table occur twice: 8 bytes a row are kept, whatever the number of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Table
from outgrad.data.positions import Index
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows
from outgrad.storage.zarr.edges import slices

Hashes = npt.NDArray[np.uint64]

_MIX = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(table: Table) -> Hashes:
    """64 bits for each row of a table (n, d): equal rows have equal ones.

    The factor is 2^64 divided by the golden ratio (Fibonacci hashing); the shift brings high bits down again.
    """
    hashes = np.zeros(len(table), dtype=np.uint64)
    for column in table.T:
        hashes ^= column.astype(np.uint32)
        hashes *= _MIX
        hashes ^= hashes >> np.uint64(29)
    return hashes


def label_hashes(labels: Labels) -> Hashes:
    """The hashes of all entries; labels that are not in memory are read in slices."""
    return np.concatenate([*map(row_hashes, slices(labels)), np.zeros(0, np.uint64)])


@dataclass(frozen=True)
class SeenRows:
    """Hashes of rows, as sorted runs, each longer than twice the next.

    So there are few runs to search, and a row is merged into a longer run only a few times. It does not
    change: :meth:`with_rows` returns another one.
    """

    runs: tuple[Hashes, ...] = ()

    def among(self, hashes: Hashes) -> Index:
        """Return which of ``hashes``, by position, are here already."""
        is_seen = np.zeros(len(hashes), np.bool_)
        for run in self.runs:
            positions = np.searchsorted(run, hashes)
            is_seen |= run[np.minimum(positions, len(run) - 1)] == hashes
        return np.flatnonzero(is_seen)

    def with_rows(self, hashes: Hashes) -> SeenRows:
        """Return these rows and others; ``hashes`` are sorted."""
        if not len(hashes):
            return self
        runs = [*self.runs, hashes]
        while len(runs) > 1 and len(runs[-2]) < 2 * len(runs[-1]):
            last = runs.pop()
            runs[-1] = np.sort(np.concatenate([runs[-1], last]), kind="stable")  # merges what is sorted
        return SeenRows(tuple(runs))


def hashed_alike(hashes: Hashes, order: Index) -> Index:
    """Positions of hashes that occur more than once; ``order`` sorts them."""
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    several = np.zeros(len(hashes), np.bool_)
    several[1:] |= same
    several[:-1] |= same
    return np.sort(order[several])


def rows_at(labels: Labels, positions: Index) -> Table:
    """Some entries, by ascending positions; labels that are not in memory are read in slices."""
    chosen, first = [], 0
    for rows in slices(labels):
        inside = (positions >= first) & (positions < first + len(rows))
        chosen.append(rows[positions[inside] - first])
        first += len(rows)
    return np.concatenate(chosen)


def first_repeated(rows: Table) -> tuple[int, int] | None:
    """Positions of the first row that occurred before: there, and here; None if there is none."""
    positions = find_rows(rows, rows)
    repeated = np.flatnonzero(positions != np.arange(len(rows)))
    return (int(positions[repeated[0]]), int(repeated[0])) if len(repeated) else None
