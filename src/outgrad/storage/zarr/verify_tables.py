"""Check that the label tables of an archive are what its commit says, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from outgrad.data.chunk import Table
from outgrad.labels.rows import begin_digest, has_repeated_rows, sorted_ties
from outgrad.storage.zarr.format import MIB, FirstRow
from outgrad.storage.zarr.label_tables import OTHER_DIGEST, REPEATED_ROW
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.repeated_rows import row_hashes

SLICE_BYTES = 16 * MIB
UNIQUE_BYTES = 64 * MIB
"""Rows of a table that is not sorted are compared in passes of about this size."""


Unreadable = set[tuple[int, int | None]]
"""Storage chunks as (number of the array, number of the chunk); None if more of the array were not read."""


def table_mistakes(segment: OpenSegment, unreadable: Unreadable) -> Iterator[tuple[str, str]]:
    """Yield the path of each table, or of a gradient's offsets, that is not what the commit says, and why.

    Tables with a storage chunk in ``unreadable`` are left out.
    """
    wrong: set[int] = set()
    for number, table in enumerate(segment.spec.tables):
        if _is_unreadable(segment, table.first, table.rows, unreadable):
            wrong.add(number)
            continue
        mistake = _table_mistake(segment, number)
        if mistake:
            wrong.add(number)
            yield segment.table_paths(number)[0], f"is not what the commit says: {mistake}"
    checked: set[tuple[int, int, FirstRow]] = set()
    for block in segment.spec.blocks:
        for _, parent in block.walk():
            for gradient in parent.gradients.values():
                if gradient.offsets is None or wrong & {gradient.samples, parent.samples}:
                    continue
                key = gradient.samples, parent.samples, gradient.offsets
                parent_rows = segment.spec.tables[parent.samples].rows
                if key in checked or _is_unreadable(segment, gradient.offsets, parent_rows + 1, unreadable):
                    continue  # what is unreadable is another problem, which is listed already
                if not _has_right_offsets(segment, gradient.samples, parent_rows, gradient.offsets):
                    yield segment.table_paths(gradient.samples)[0], "does not fit its offsets"
                checked.add(key)


def _is_unreadable(segment: OpenSegment, first: FirstRow, rows: int, unreadable: Unreadable) -> bool:
    chunks = segment.spec.arrays[first.array].chunks_of(first.row, first.row + rows)
    return any((first.array, chunk) in unreadable for chunk in (None, *chunks))


def _slices(segment: OpenSegment, number: int) -> Iterator[tuple[int, Table]]:
    table = segment.spec.tables[number]
    step = max(1, SLICE_BYTES // max(1, 4 * len(table.names)))
    for start in range(0, table.rows, step):
        yield start, segment.read_unchecked(number, start, min(start + step, table.rows))


def _table_mistake(segment: OpenSegment, number: int) -> str:
    table = segment.spec.tables[number]
    digest = begin_digest(table.names, table.rows)
    is_sorted, last = True, None
    for start, rows in _slices(segment, number):
        digest.update(np.ascontiguousarray(rows, dtype="<i4").data)
        mistake = segment.table_checks.sample_mistake(number, start, rows)
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
            for _, rows in _slices(segment, number)
        ]
        if has_repeated_rows(np.concatenate(compared)):
            return REPEATED_ROW
    return ""


def _has_right_offsets(segment: OpenSegment, samples: int, parent_rows: int, first: FirstRow) -> bool:
    """Compare stored offsets with those of a table of gradient samples; one that is not sorted has none."""
    counts = np.zeros(parent_rows + 1, dtype=np.int64)
    last = 0
    for _, rows in _slices(segment, samples):
        column = rows[:, 0]
        if column[0] < last or (column[1:] < column[:-1]).any():
            return False
        low, last = int(column[0]), int(column[-1])
        counts[low + 1 : last + 2] += np.bincount(column - low)
    offsets = np.cumsum(counts, out=counts)
    step = SLICE_BYTES // offsets.itemsize
    for start in range(0, parent_rows + 1, step):
        stop = min(start + step, parent_rows + 1)
        stored = segment.read_rows(first.array, first.row + start, first.row + stop, is_table=True)
        if not np.array_equal(stored, offsets[start:stop]):
            return False
    return True
