"""Which rows of a growing table occur twice: 8 bytes a row are kept, however many columns there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows
from outgrad.labels.types import Table
from outgrad.storage.zarr.edges import slices

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

_MIX = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(table: Table) -> Hashes:
    """64 bits for each row of a table (n, d): equal rows have equal ones."""
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

    So there are few runs to look into, and a row is merged into a longer run few times. It does not change:
    with more rows it is another one.
    """

    runs: tuple[Hashes, ...] = ()

    def among(self, hashes: Hashes) -> Rows:
        """Return which of ``hashes``, by position, are here already."""
        found = np.zeros(len(hashes), np.bool_)
        for run in self.runs:
            places = np.searchsorted(run, hashes)
            found |= run[np.minimum(places, len(run) - 1)] == hashes
        return np.flatnonzero(found)

    def with_rows(self, hashes: Hashes) -> SeenRows:
        """Return these rows and others; ``hashes`` are sorted."""
        if not len(hashes):
            return self
        runs = [*self.runs, hashes]
        while len(runs) > 1 and len(runs[-2]) < 2 * len(runs[-1]):
            last = runs.pop()
            runs[-1] = np.sort(np.concatenate([runs[-1], last]), kind="stable")  # merges what is sorted
        return SeenRows(tuple(runs))


def hashed_alike(hashes: Hashes, order: Rows) -> Rows:
    """Positions of hashes that occur more than once; ``order`` sorts them."""
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    several = np.zeros(len(hashes), np.bool_)
    several[1:] |= same
    several[:-1] |= same
    return np.sort(order[several])


def rows_at(labels: Labels, positions: Rows) -> Table:
    """Some entries, by ascending positions; labels that are not in memory are read in slices."""
    found, first = [], 0
    for rows in slices(labels):
        own = positions[(positions >= first) & (positions < first + len(rows))] - first
        found.append(rows[own])
        first += len(rows)
    return np.concatenate(found)


def first_repeated(rows: Table) -> tuple[int, int] | None:
    """Places of the first row that occurs before, or None."""
    places = find_rows(rows, rows)
    later = np.flatnonzero(places != np.arange(len(rows)))
    return (int(places[later[0]]), int(later[0])) if len(later) else None
