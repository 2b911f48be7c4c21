"""Check that the label tables of an archive are what its commit says, in bounded memory."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

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


class OffsetsCheck(NamedTuple):
    """Offsets of a gradient: where they are, the table of its samples, and how many rows its parent has."""

    samples: int
    parent_rows: int
    first: FirstRow


def readable_tables(segment: OpenSegment, unreadable: Unreadable) -> list[int]:
    """Numbers of the tables without a storage chunk in ``unreadable``, which is another problem."""
    return [
        number
        for number, table in enumerate(segment.spec.tables)
        if not _is_unreadable(segment, table.first, table.rows, unreadable)
    ]


def readable_offsets(
    segment: OpenSegment, right: Container[int], unreadable: Unreadable
) -> list[OffsetsCheck]:
    """Offsets that can be compared: their tables are among those that are right."""
    found: dict[OffsetsCheck, None] = {}
    for block in segment.spec.blocks:
        for _, parent in block.walk():
            for gradient in parent.gradients.values():
                first, rows = gradient.offsets, segment.spec.tables[parent.samples].rows
                if first is None or gradient.samples not in right or parent.samples not in right:
                    continue
                if not _is_unreadable(segment, first, rows + 1, unreadable):
                    found[OffsetsCheck(gradient.samples, rows, first)] = None
    return list(found)


def _is_unreadable(segment: OpenSegment, first: FirstRow, rows: int, unreadable: Unreadable) -> bool:
    if not unreadable:
        return False
    chunks = segment.spec.arrays[first.array].chunks_of(first.row, first.row + rows)
    return any((first.array, chunk) in unreadable for chunk in (None, *chunks))


def _slices(segment: OpenSegment, number: int) -> Iterator[tuple[int, Table]]:
    table = segment.spec.tables[number]
    step = max(1, SLICE_BYTES // max(1, 4 * len(table.names)))
    for start in range(0, table.rows, step):
        yield start, segment.read_unchecked(number, start, min(start + step, table.rows))


def table_mistake(segment: OpenSegment, number: int) -> str:
    """In what a table is not what the commit says; "" if it is."""
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


def has_right_offsets(segment: OpenSegment, check: OffsetsCheck) -> bool:
    """Compare stored offsets with those of a table of gradient samples; one that is not sorted has none."""
    samples, parent_rows, first = check
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
