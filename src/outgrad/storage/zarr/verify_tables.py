"""Check that the label tables of an archive are what its commit says, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from outgrad.data.chunk import Table
from outgrad.labels.rows import begin_digest, has_repeated_rows, sorted_ties
from outgrad.storage.zarr.format import MIB, FirstRow
from outgrad.storage.zarr.label_tables import OTHER_DIGEST, REPEATED_ROW
from outgrad.storage.zarr.opened import OpenArchive
from outgrad.storage.zarr.repeated_rows import row_hashes

SLICE_BYTES = 16 * MIB
UNIQUE_BYTES = 64 * MIB
"""Rows of a table that is not sorted are compared in passes of about this size."""


Unreadable = set[tuple[int, int | None]]
"""Storage chunks as (number of the array, number of the chunk); None if more of the array were not read."""


def table_mistakes(archive: OpenArchive, unreadable: Unreadable) -> Iterator[tuple[str, str]]:
    """Yield the path of each table, or of a gradient's offsets, that is not what the commit says, and why.

    Tables with a storage chunk in ``unreadable`` are left out.
    """
    segment = archive.segment
    wrong: set[int] = set()
    for number, table in enumerate(segment.tables):
        if _is_unreadable(archive, table.first, table.rows, unreadable):
            wrong.add(number)
            continue
        mistake = _table_mistake(archive, number)
        if mistake:
            wrong.add(number)
            yield archive.table_paths(number)[0], f"is not what the commit says: {mistake}"
    checked: set[tuple[int, int, FirstRow]] = set()
    for block in segment.blocks:
        for _, parent in block.walk():
            for gradient in parent.gradients.values():
                if gradient.offsets is None or wrong & {gradient.samples, parent.samples}:
                    continue
                key = gradient.samples, parent.samples, gradient.offsets
                parent_rows = segment.tables[parent.samples].rows
                if key in checked or _is_unreadable(archive, gradient.offsets, parent_rows + 1, unreadable):
                    continue  # what is unreadable is another problem, which is listed already
                if not _has_right_offsets(archive, gradient.samples, parent_rows, gradient.offsets):
                    yield archive.table_paths(gradient.samples)[0], "does not fit its offsets"
                checked.add(key)


def _is_unreadable(archive: OpenArchive, first: FirstRow, rows: int, unreadable: Unreadable) -> bool:
    chunks = archive.segment.arrays[first.array].chunks_of(first.row, first.row + rows)
    return any((first.array, chunk) in unreadable for chunk in (None, *chunks))


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
            return mistake
        if is_sorted:
            ties = sorted_ties(rows if last is None else np.concatenate([last, rows]))
            is_sorted, last = ties is not None, rows[-1:]
            if ties is not None and ties.any():
                return REPEATED_ROW
    if digest.hexdigest() != table.digest:
        return OTHER_DIGEST
    if is_sorted:
        return ""
    # In each pass, the rows whose hashes have one remainder: equal rows meet in the same one.
    passes = -(-4 * table.rows * len(table.names) // UNIQUE_BYTES)
    for remainder in range(passes):
        compared = [
            rows if passes == 1 else rows[row_hashes(rows) % np.uint64(passes) == remainder]
            for _, rows in _slices(archive, number)
        ]
        if has_repeated_rows(np.concatenate(compared)):
            return REPEATED_ROW
    return ""


def _has_right_offsets(archive: OpenArchive, samples: int, parent_rows: int, first: FirstRow) -> bool:
    """Compare stored offsets with those of a table of gradient samples; one that is not sorted has none."""
    counts = np.zeros(parent_rows + 1, dtype=np.int64)
    last = 0
    for _, rows in _slices(archive, samples):
        column = rows[:, 0]
        if column[0] < last or (column[1:] < column[:-1]).any():
            return False
        low, last = int(column[0]), int(column[-1])
        counts[low + 1 : last + 2] += np.bincount(column - low)
    offsets = np.cumsum(counts, out=counts)
    step = SLICE_BYTES // offsets.itemsize
    for start in range(0, parent_rows + 1, step):
        stop = min(start + step, parent_rows + 1)
        stored = archive.read_rows(first.array, first.row + start, first.row + stop, is_table=True)
        if not np.array_equal(stored, offsets[start:stop]):
            return False
    return True
