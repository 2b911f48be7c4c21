"""Check that the label tables of an archive are what its commit says, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from outgrad.labels.rows import begin_digest, has_repeated_rows, sorted_ties
from outgrad.labels.types import Table
from outgrad.storage.zarr.edges import Offsets
from outgrad.storage.zarr.format import MIB, Place, TableSpec
from outgrad.storage.zarr.label_tables import OTHER_DIGEST
from outgrad.storage.zarr.opened import OpenArchive
from outgrad.storage.zarr.repeated_rows import row_hashes

SLICE_BYTES = 16 * MIB
UNIQUE_BYTES = 64 * MIB
"""Rows of a table that is not sorted are compared in passes of about this size."""


Unreadable = set[tuple[int, int | None]]
"""Storage chunks as (number of the array, number of the chunk); None: others of the array too."""


def table_mistakes(archive: OpenArchive, unreadable: Unreadable) -> Iterator[tuple[str, str]]:
    """Yield the path of each table, or of a gradient's offsets, that is not what the commit says, and why.

    Tables with a storage chunk in ``unreadable`` are left out.
    """
    segment = archive.segment
    wrong = set()
    for number, table in enumerate(segment.tables):
        if _is_unreadable(archive, table.place, table.rows, unreadable):
            wrong.add(number)
            continue
        mistake = _table_mistake(archive, number)
        if mistake:
            wrong.add(number)
            yield archive.table_paths(number)[0], mistake
    done: set[tuple[int, int, Place]] = set()
    for block in segment.blocks:
        for _, parent in block.walk():
            for gradient in parent.gradients.values():
                if gradient.offsets is None or wrong & {gradient.samples, parent.samples}:
                    continue
                what = gradient.samples, parent.samples, gradient.offsets
                if what not in done and not _has_right_offsets(archive, *what, unreadable):
                    yield archive.table_paths(gradient.samples)[0], "does not fit its offsets"
                done.add(what)


def _is_unreadable(archive: OpenArchive, place: Place, rows: int, unreadable: Unreadable) -> bool:
    chunks = archive.segment.arrays[place.array].chunks_of(place.first, place.first + rows)
    return any((place.array, chunk) in unreadable for chunk in (None, *chunks))


def _slices(archive: OpenArchive, number: int) -> Iterator[tuple[int, Table]]:
    table = archive.segment.tables[number]
    step = max(1, SLICE_BYTES // max(1, 4 * len(table.names)))
    for start in range(0, table.rows, step):
        yield start, archive.read_unchecked(number, start, min(start + step, table.rows))


def _table_mistake(archive: OpenArchive, number: int) -> str:
    table = archive.segment.tables[number]
    digest = begin_digest(table.names, table.rows)
    is_sorted, last = True, None
    for start, rows in _slices(archive, number):
        digest.update(np.ascontiguousarray(rows, dtype="<i4").data)
        mistake = archive.table_checks.sample_mistake(number, start, rows)
        if mistake:
            return f"is not what the commit says: {mistake}"
        if is_sorted:
            ties = sorted_ties(rows if last is None else np.concatenate([last, rows]))
            is_sorted, last = ties is not None, rows[-1:]
            if ties is not None and ties.any():
                return "is not what the commit says: it has a row twice"
    if digest.hexdigest() != table.digest:
        return f"is not what the commit says: {OTHER_DIGEST}"
    if not is_sorted and _has_repeated_rows(archive, number, table):
        return "is not what the commit says: it has a row twice"
    return ""


def _has_repeated_rows(archive: OpenArchive, number: int, table: TableSpec) -> bool:
    """Whether a row occurs twice: in each pass, among the rows whose hashes have one remainder."""
    passes = -(-4 * table.rows * len(table.names) // UNIQUE_BYTES)
    for remainder in range(passes):
        parts = [
            rows if passes == 1 else rows[row_hashes(rows) % np.uint64(passes) == remainder]
            for _, rows in _slices(archive, number)
        ]
        if has_repeated_rows(np.concatenate(parts)):
            return True
    return False


def _has_right_offsets(
    archive: OpenArchive, samples: int, parent: int, place: Place, unreadable: Unreadable
) -> bool:
    rows = archive.segment.tables[parent].rows
    if _is_unreadable(archive, place, rows + 1, unreadable):
        return True  # a line says so already
    offsets = _offsets(archive, samples, rows)
    if offsets is None:
        return False
    step = SLICE_BYTES // offsets.itemsize
    return all(
        np.array_equal(
            archive.read_rows(place.array, place.first + start, place.first + stop, is_table=True),
            offsets[start:stop],
        )
        for start in range(0, rows + 1, step)
        for stop in (min(start + step, rows + 1),)
    )


def _offsets(archive: OpenArchive, number: int, parent_rows: int) -> Offsets | None:
    """The offsets of a table of gradient samples, all rows of the parent; None if it is not sorted."""
    counts = np.zeros(parent_rows + 1, dtype=np.int64)
    last = 0
    for _, rows in _slices(archive, number):
        column = rows[:, 0]
        if column[0] < last or (column[1:] < column[:-1]).any():
            return None
        low, last = int(column[0]), int(column[-1])
        counts[low + 1 : last + 2] += np.bincount(column - low)
    return np.cumsum(counts, out=counts)
