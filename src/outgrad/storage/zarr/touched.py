"""Whose rows are in a damaged chunk: the block, its rows in the version, and the systems of these rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property

from outgrad.errors import ArchiveError, MemoryLimitError
from outgrad.storage.zarr.damage import Between, DamagedRows
from outgrad.storage.zarr.joined_blocks import JoinedBlock
from outgrad.storage.zarr.opened import OpenArchive
from outgrad.storage.zarr.opened_segment import READ_ROWS, OpenSegment
from outgrad.storage.zarr.row_names import NamedRows
from outgrad.storage.zarr.table_ranges import system_column


class TouchedRows:
    """What the rows of one version are needed for."""

    def __init__(self, archive: OpenArchive) -> None:
        self._archive = archive
        self._keys: dict[int, list[dict[str, int]]] = {}

    def of(self, number: int, array: int, rows: Between) -> Iterator[DamagedRows]:
        """Who has rows of an array of the segment with this number."""
        segment = self._archive.segments[number]
        for each in segment.named_between(array, *rows):
            start, stop = (max(rows[0], each.start) - each.start, min(rows[1], each.stop) - each.start)
            systems = None
            if each.kind == "values":
                with suppress(ArchiveError, MemoryLimitError):  # the samples are damaged too
                    systems = _systems(segment, each, start, stop)
            before = 0 if each.kind == "others" else self._rows_before(number, each)
            yield DamagedRows(
                each.path, (before + start, before + stop), self._key(number, each.block), systems
            )

    def _key(self, number: int, block: int | None) -> dict[str, int]:
        if block is None or self._archive.stored.commit.kind != "map":
            return {}
        if number not in self._keys:
            self._keys[number] = []
            with suppress(ArchiveError, MemoryLimitError):
                keys = self._archive.segments[number].keys()
                self._keys[number] = [dict(zip(keys.names, row, strict=True)) for row in keys.values.tolist()]
        known = self._keys[number]
        return known[block] if known else {}

    def _rows_before(self, number: int, each: NamedRows) -> int:
        """Rows of the block in the segments before."""
        joined = self._joined.get((number, -1 if each.block is None else each.block))
        return 0 if joined is None else int(joined[0].starts[each.gradient][joined[1]])

    @cached_property
    def _joined(self) -> dict[tuple[int, int], tuple[JoinedBlock, int]]:
        """The block of each block of a segment, and which of its parts that is."""
        found: dict[tuple[int, int], tuple[JoinedBlock, int]] = {}
        numbers = [
            {id(block): number for number, block in enumerate(segment.spec.blocks)}
            for segment in self._archive.segments
        ]
        with suppress(ArchiveError, MemoryLimitError):  # segments that do not fit, which is reported
            for joined in self._archive.joined.blocks:
                for part, (segment, block) in enumerate(joined.parts):
                    found[segment, numbers[segment][id(block)]] = joined, part
        return found


def _systems(segment: OpenSegment, each: NamedRows, start: int, stop: int) -> Between | None:
    """The first and the last system of rows of the values of a block or a gradient."""
    block = segment.spec.blocks[-1 if each.block is None else each.block]
    for depth in range(len(each.gradient), 0, -1):  # to the samples that rows of gradients belong to
        found = _extent(segment, block.at(each.gradient[:depth]).samples, 0, start, stop)
        if found is None:
            return None
        start, stop = found[0], found[1] + 1
    table = segment.spec.tables[block.samples]
    column = system_column(table.names)
    if table.bounds is not None and stop - start == table.rows:
        return table.bounds[column]
    return _extent(segment, block.samples, column, start, stop)


def _extent(segment: OpenSegment, table: int, column: int, start: int, stop: int) -> Between | None:
    """The smallest and the largest number in a column of some rows of a table; None if there are none."""
    if not 0 <= start < stop <= segment.spec.tables[table].rows:
        return None
    found: Between | None = None
    for first in range(start, stop, READ_ROWS):
        numbers = segment.read_unchecked(table, first, min(first + READ_ROWS, stop))[:, column]
        low, high = int(numbers.min()), int(numbers.max())
        found = (low, high) if found is None else (min(found[0], low), max(found[1], high))
    return found
