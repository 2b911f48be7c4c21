"""Samples that are in two parts of a block: parts are only read where their ranges overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from outgrad.data.chunk import Table
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows
from outgrad.storage.zarr.edges import slices
from outgrad.storage.zarr.joined_blocks import JoinedBlock
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.table_ranges import system_column


def common_sample(block: JoinedBlock, samples: Labels) -> tuple[int, Table] | None:
    """The first row of a block, in the first part with one, that is one of ``samples``, and its number."""
    parts: set[int] = set()
    for rows in slices(samples):
        parts.update(block.parts_near(rows.min(axis=0), rows.max(axis=0)))
    for part in sorted(parts):
        number, spec = block.parts[part]
        table = block.segments[number].spec.tables[spec.samples]
        if samples._digest is not None and samples.digest == table.digest:  # nothing needs to be read there
            return int(block.starts[()][part]), samples.read(0, 1)[0]
        found = _first_common(block.segments[number], spec.samples, samples)
        if found is not None:
            return int(block.starts[()][part]) + found[0], found[1]
    return None


def _first_common(segment: OpenSegment, number: int, samples: Labels) -> tuple[int, Table] | None:
    """The first row of a table that is one of ``samples``, and its position."""
    table = segment.spec.tables[number]
    for rows in slices(samples):
        candidates = rows
        if table.bounds is not None:
            bounds = np.array(table.bounds)
            candidates = rows[((rows >= bounds[:, 0]) & (rows <= bounds[:, 1])).all(axis=1)]
        if not len(candidates):
            continue
        column = candidates[:, system_column(table.names)]
        for start, stop in segment.rows_between(number, int(column.min()), int(column.max())):
            stored = segment.read_table(number, start, stop)
            positions = find_rows(candidates, stored)
            if (positions >= 0).any():
                index = int((positions >= 0).argmax())
                return start + index, stored[index]
    return None


def repeated_sample(
    block: JoinedBlock, labels: Callable[[int, int], Labels]
) -> tuple[int, int, Table] | None:
    """The first two parts that have a sample in common, with that sample; None if there are none.

    ``labels`` returns those of a table of a segment.
    """
    for later, (number, spec) in enumerate(block.parts):
        low, high = block.bounds[later].T
        for earlier in block.parts_near(low, high):
            if earlier < later:
                segment, other = block.parts[earlier]
                samples = labels(number, spec.samples)
                found = _first_common(block.segments[segment], other.samples, samples)
                if found is not None:
                    return earlier, later, found[1]
    return None
