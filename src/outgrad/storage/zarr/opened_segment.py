"""One segment in this process: its chunks and tables, and errors that name what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from outgrad.data.chunk import Array, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.data.positions import Index
from outgrad.errors import ArchiveError, DamagedArchiveError, ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.store import Store
from outgrad.storage.zarr.format import RECORD_DTYPE, ArraySpec, BlockSpec, SegmentSpec
from outgrad.storage.zarr.label_tables import OTHER_DIGEST, TableChecks
from outgrad.storage.zarr.outside import OutsideArrays, allowed_root
from outgrad.storage.zarr.row_names import NamedRows, named_rows
from outgrad.storage.zarr.storage_chunks import (
    CACHED_CHUNKS,
    ChunkCache,
    ChunkError,
    ChunkRecords,
    Records,
    SegmentStore,
)
from outgrad.storage.zarr.table_ranges import system_column
from outgrad.tree import GradientPath, fold

SHOWN_USERS = 3
READ_ROWS = 2**20
"""Rows of a table that are read at once."""
KEPT_OFFSETS = 16
"""Chunks of offsets that are kept for the next call."""
VERIFY_ADVICE = (
    "restore it from a copy or write the archive again; `outgrad verify` lists all damage, and mends it with "
    "--repair-from COPY"
)


class OpenSegment:
    """A segment of an archive that is open.

    Parameters
    ----------
    store : Store
        Of the archive.
    spec : SegmentSpec
        What the commit says about the segment.
    replaced : callable
        Returns an error if the commit is not there any more, and None if it is.
    cache : OpenFiles
        Chunks of tables, those of all segments of an archive.
    roots : sequence of str
        Folders in which it may refer to files, besides that of the archive.
    archive : str, optional
        The archive whose commit says this, if the segment is in another one: files are relative to it.
    """

    def __init__(
        self,
        store: Store,
        spec: SegmentSpec,
        replaced: Callable[[], ArchiveError | None] = lambda: None,
        cache: ChunkCache | None = None,
        roots: Sequence[str] = (),
        archive: str | None = None,
    ) -> None:
        self.spec = spec
        self._roots = roots
        self._archive = store.name if archive is None else archive
        self.table_checks = TableChecks(spec)
        self._replaced = replaced
        self.store = store
        self._name = store.name
        self.chunks = SegmentStore(store, spec.prefix)
        self._tables: ChunkCache = OpenFiles(CACHED_CHUNKS) if cache is None else cache
        self._manifest: OpenFiles[int, ChunkRecords] = OpenFiles(sys.maxsize)

    # ---- chunks ----
    def records(self, array: int, first: int, last: int) -> ChunkRecords:
        """What the manifest says of the chunks [first, last) of an array."""
        base = self.spec.chunk_bases[array]
        return self._manifest_rows(base + first, base + last)

    def records_of(self, array: int) -> Records:
        """What looks up the records of an array."""
        return partial(self.records, array)

    def _manifest_rows(self, start: int, stop: int) -> ChunkRecords:
        manifest = self.spec.manifest
        assert manifest is not None, "only a plan has no manifest"
        array = manifest.array
        numbers = array.chunks_of(start, stop)

        def read(number: int) -> ChunkRecords:
            try:
                rows = self.chunks.read_rows(array, manifest.records, *array.chunk_range(number))
            except ChunkError as error:
                raise self.explain(error) from error
            # Format version 1 lists checksums alone; its chunks are whole objects, whatever their size.
            return np.stack([rows, 0 * rows], axis=1) if rows.ndim == 1 else rows

        if not numbers:
            return np.empty((0, 2), RECORD_DTYPE)
        first = numbers.start * array.chunk_rows
        joined = [self._manifest.get(number, partial(read, number)) for number in numbers]
        return (joined[0] if len(joined) == 1 else np.concatenate(joined))[start - first : stop - first]

    def read_rows(
        self,
        array: int,
        start: int,
        stop: int,
        *,
        is_table: bool = False,
        keep: bool = False,
        out: Array | None = None,
    ) -> Array:
        """Read rows of an array into ``out``, or into new memory; with ``keep``, the next read finds them
        there.

        Raises
        ------
        DamagedArchiveError
            If a chunk is missing, corrupted or not the one that was committed.
        """
        cache = self._tables if is_table else None
        spec = self.spec.arrays[array]
        if spec.pieces is not None:
            return self._outside.read_rows(spec, start, stop, out)
        try:
            return self.chunks.read_rows(spec, self.records_of(array), start, stop, cache, out, keep=keep)
        except ChunkError as error:
            raise self.explain(error, array) from error

    @cached_property
    def _outside(self) -> OutsideArrays:
        """The files in which some of the arrays are."""
        tables = self.spec.files
        assert tables is not None, "arrays with pieces have files, as was checked"
        paths, files, pieces = (
            self.read_rows(number, 0, self.spec.arrays[number].shape[0])
            for number in (tables.paths, tables.files, tables.pieces)
        )
        root = allowed_root(self._archive, tables.root, self._roots)
        return OutsideArrays(self._archive, root, paths, files, pieces)

    def outside_problems(self, array: ArraySpec) -> Iterator[str]:
        """Read all of an array that is in other files; yield what is wrong with them."""
        return self._outside.problems(array)

    # ---- tables ----
    def read_table(self, number: int, start: int, stop: int, *, keep: bool = False) -> Table:
        """Read rows of a label table, and compare them with what the commit says.

        Raises
        ------
        DamagedArchiveError
            If they are not what the commit says, or cannot be read.
        """
        rows = self.read_unchecked(number, start, stop, keep=keep)
        self.check_table(number, start, rows)
        return rows

    def read_unchecked(self, number: int, start: int, stop: int, *, keep: bool = False) -> Table:
        """Read rows of a label table as they are stored."""
        array, first = self.spec.tables[number].first
        return self.read_rows(array, first + start, first + stop, is_table=True, keep=keep)

    def check_table(self, number: int, start: int, rows: Table) -> None:
        """Compare rows of a label table, which were read from row ``start`` on, with what the commit says."""
        count = self.spec.tables[number].rows
        mistake = self.table_checks.mistake(
            number, start, rows, lambda: self.read_unchecked(number, 0, count)
        )
        if mistake:
            raise DamagedArchiveError(
                f"read {self._name}: {self.table_paths(number)[0]} is not what the commit says: {mistake}; "
                f"{VERIFY_ADVICE}"
            )

    def rows_between(
        self, number: int, low: int, high: int, numbers: Table | None = None
    ) -> Iterator[tuple[int, int]]:
        """Ranges of rows of a table of samples in which a system from ``low`` to ``high`` may be, or one of
        some sorted ``numbers``.

        They are found in the ranges of chunks, without reading the table; neighbours are one, up to a limit.
        """
        table = self.spec.tables[number]
        if table.bounds is not None:
            smallest, largest = table.bounds[system_column(table.names)]
            if high < smallest or largest < low:
                return
        array, row = table.first
        size = self.spec.arrays[array].chunk_rows
        chunks = self.spec.arrays[array].chunks_of(row, row + table.rows)
        may_hold = np.ones(len(chunks), np.bool_)
        if table.ranges is not None:
            ranges = self.read_rows(
                table.ranges.array, table.ranges.row, table.ranges.row + len(chunks), is_table=True
            )
            may_hold = (ranges[:, 0] <= high) & (ranges[:, 1] >= low)
            if numbers is not None:
                following = np.minimum(np.searchsorted(numbers, ranges[:, 0]), len(numbers) - 1)
                may_hold &= (numbers[following] >= ranges[:, 0]) & (numbers[following] <= ranges[:, 1])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], may_hold, [False]]).astype(np.int8)))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            start = max(0, (chunks[first]) * size - row)
            stop = min(table.rows, chunks[last - 1] * size + size - row)
            for position in range(start, stop, READ_ROWS):
                yield position, min(position + READ_ROWS, stop)

    def rows_with(self, number: int, column: int, numbers: Table) -> Iterator[tuple[Index, Table]]:
        """Positions and rows of a table of samples whose number in a column is one of some sorted ones.

        In the column that identifies systems, only chunks are read in which one of them may be.
        """
        table = self.spec.tables[number]
        is_system = column == system_column(table.names)
        low, high = int(numbers[0]), int(numbers[-1])
        if is_system:
            ranges = list(self.rows_between(number, low, high, numbers))
        else:
            starts = range(0, table.rows, READ_ROWS)
            ranges = [(start, min(start + READ_ROWS, table.rows)) for start in starts]
        # Few rows are asked for at once, and kept: the labels of what is found are read next.
        keep = sum(stop - start for start, stop in ranges) <= READ_ROWS
        each = self.store.each if keep else map
        read = each(lambda between: self.read_table(number, *between, keep=keep), ranges)
        for (start, _), rows in zip(ranges, read, strict=True):
            values = rows[:, column]
            if (values[1:] >= values[:-1]).all():
                firsts, lasts = (np.searchsorted(values, numbers, side=side) for side in ("left", "right"))
                counts = lasts - firsts
                chosen = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
            else:
                places = np.minimum(np.searchsorted(numbers, values), len(numbers) - 1)
                chosen = np.flatnonzero(numbers[places] == values)
            if len(chosen):
                yield start + chosen, rows[chosen]

    def first_rows(self, block: BlockSpec, path: GradientPath, parents: Index) -> Index | None:
        """The first row of a gradient that belongs to each row of its parent, or to one after it.

        None if its rows are not sorted; all of them belong to all parents.
        """
        spec, parent_rows = block.at(path), self.spec.tables[block.at(path[:-1]).samples].rows
        if spec.offsets is None:
            rows = self.spec.tables[spec.samples].rows
            is_end = (parents == 0) | (parents == parent_rows)
            return np.where(parents == 0, 0, rows) if is_end.all() else None
        array, row = spec.offsets
        found = np.empty(len(parents), np.int64)
        size = self.spec.arrays[array].chunk_rows
        chunks = (parents + row) // size
        order = np.argsort(chunks, kind="stable")
        of_chunks = np.split(order, np.flatnonzero(np.diff(chunks[order])) + 1)  # each is read once
        # Of many none is kept: new memory for each takes as long as decoding it.
        is_kept = len(of_chunks) <= KEPT_OFFSETS

        def read(chosen: Index) -> Table:
            own = parents[chosen]
            first = int(own.min())
            offsets = self.read_rows(array, row + first, row + int(own.max()) + 1, is_table=is_kept)
            return offsets[own - first]

        for chosen, offsets in zip(of_chunks, self.store.each(read, of_chunks), strict=True):
            found[chosen] = offsets
        return found

    def labels(self, number: int) -> Labels:
        """A complete label table, in memory."""
        table = self.spec.tables[number]
        return Labels(table.names, self.read_table(number, 0, table.rows), assume_unique=True)

    def metadata(self) -> list[BlockMetadata]:
        """The labels of each block; tables are read when they are used."""

        def stored(number: int) -> Labels:
            table = self.spec.tables[number]
            source = _SegmentTable(self, number)
            return Labels.from_source(table.names, table.rows, table.digest, source)

        def labels(block: BlockSpec, gradients: dict[str, BlockMetadata]) -> BlockMetadata:
            components = tuple(stored(number) for number in block.components)
            return BlockMetadata(stored(block.samples), components, stored(block.properties), gradients)

        return [fold(labels, block) for block in self.spec.blocks]

    def keys(self) -> Labels:
        """The keys of the segment, which most commits hold.

        Raises
        ------
        DamagedArchiveError
            If they cannot be keys, or their digest is not the one in the commit.
        """
        table = self.spec.tables[self.spec.keys]
        if self.spec.key_values is None:
            values = self.read_table(self.spec.keys, 0, table.rows)
        else:
            values = np.array(self.spec.key_values, dtype=np.int32).reshape(table.rows, len(table.names))
        try:
            keys = Labels(table.names, values)
        except ValidationError as error:
            raise self._no_keys(str(error)) from error
        if keys.digest != table.digest:
            raise self._no_keys(OTHER_DIGEST)
        return keys

    def _no_keys(self, reason: str) -> DamagedArchiveError:
        return DamagedArchiveError(f"open {self._name}: the keys are not valid: {reason}; {VERIFY_ADVICE}")

    # ---- what is damaged ----
    def table_paths(self, number: int) -> list[str]:
        """Metatensor's paths of the tables that share the rows of one."""
        table = self.spec.tables[number]
        array, first = table.first
        paths = self.needed_for_rows(array, first, first + table.rows)
        return paths or [f"table {number}"]

    def explain(self, error: ChunkError, array: int | None = None) -> ArchiveError:
        """Say which chunk of which array of which block is unusable, and what to do."""
        replaced = self._replaced()
        if replaced is not None:
            return replaced
        needed = self.needed_for(array, error.chunk)
        name = needed[0] if needed else error.array.path
        more = f" and {len(needed) - SHOWN_USERS} more" if len(needed) > SHOWN_USERS else ""
        others = f" (needed for {', '.join(needed[:SHOWN_USERS])}{more})" if len(needed) > 1 else ""
        shard = error.chunk // error.array.chunks_per_shard
        return DamagedArchiveError(
            f"read {self._name}: storage chunk {error.chunk} of {name}{others} {error.reason}; "
            f"the file is {self.spec.prefix}{error.array.shard_key(shard)}; {VERIFY_ADVICE}"
        )

    def needed_for(self, array: int | None, chunk: int) -> list[str]:
        """Metatensor's paths of what has rows in a chunk."""
        if array is None:
            return []
        return self.needed_for_rows(array, *self.spec.arrays[array].chunk_range(chunk))

    def needed_for_rows(self, array: int, start: int, stop: int) -> list[str]:
        """Metatensor's paths of what has some of the rows [start, stop) of an array."""
        return list(dict.fromkeys(each.path for each in self.named_between(array, start, stop)))

    def named_between(self, array: int, start: int, stop: int) -> Iterator[NamedRows]:
        """What has some of the rows [start, stop) of an array."""
        starts, stops, named = self._named_rows[array]
        overlapping: Iterable[int] = np.flatnonzero((starts < stop) & (start < stops))
        return (named[index] for index in overlapping)

    @cached_property
    def _named_rows(self) -> list[tuple[Array, Array, list[NamedRows]]]:
        """For each array what its rows are; starts and stops as arrays: many chunks may be corrupted."""
        return [
            (
                np.array([each.start for each in rows], dtype=np.int64),
                np.array([each.stop for each in rows], dtype=np.int64),
                rows,
            )
            for rows in named_rows(self.spec)
        ]


@dataclass(frozen=True, eq=False)
class _SegmentTable:
    """A label table, for labels that stay in this process."""

    segment: OpenSegment
    number: int

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        return self.segment.read_table(self.number, start, stop)
