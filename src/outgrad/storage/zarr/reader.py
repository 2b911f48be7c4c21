"""Reading an archive: opened from one commit without touching an array; data come through a light handle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from outgrad.data.chunk import Array, Chunk, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.positions import Index
from outgrad.data.requests import Request, Runs
from outgrad.labels.labels import Labels
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.store import Store
from outgrad.storage.stores import open_store
from outgrad.storage.zarr.format import ArchiveKind, BlockSpec, ChunkSizes, Commit
from outgrad.storage.zarr.joined_blocks import JoinedBlock, moved_by
from outgrad.storage.zarr.opened import OpenArchive, open_again, open_version
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.read_rows import WantedArray, read_all
from outgrad.storage.zarr.table_ranges import system_column
from outgrad.tree import GradientPath, fold_down

KEPT_ARCHIVES = 16
"""Parsed commits kept a process."""

_archives: OpenFiles[tuple[str, str], OpenArchive] = OpenFiles(KEPT_ARCHIVES)


@dataclass(frozen=True)
class ZarrReader:
    """A light handle on one version of an archive: a task carries it, and opens the archive once a process.

    ``token`` names the content and version of the archive, not only its path.
    """

    path: str
    version: int
    token: str
    segments: tuple[int, int] | None = None
    """Only the segments [first, last) are read; None for all."""
    roots: tuple[str, ...] = ()
    """Folders in which files may be that it refers to."""

    @property
    def waiting_bytes(self) -> int:
        """One shard at a time is what every task holds; object stores are asked for several."""
        return (open_store(self.path).at_once - 1) * ChunkSizes().shard

    def read(self, requests: Sequence[Request]) -> list[Chunk]:
        """Read the requested chunks; those that are neighbours on disk are read at once.

        Raises
        ------
        DamagedArchiveError
            If a storage chunk is missing, corrupted or not the one that was committed.
        ArchiveError
            If the archive was overwritten since it was opened.
        """
        archive = self._archive()
        blocks = archive.joined.blocks
        chunks = [_ChunkPlan(archive, blocks[each.block], each.all_runs) for each in requests]
        wanted = [array for chunk in chunks for array in chunk.wanted()]
        arrays = read_all(archive.segments, wanted)
        return [chunk.build(arrays) for chunk in chunks]

    def runs_of(self, block: int, rows: Runs) -> Runs | None:
        """Of runs of rows of the values (n, 1, 2), those of all arrays; None if gradients are not sorted."""
        return self._archive().joined.blocks[block].runs_of(rows)

    def table_of(self, block: int, path: GradientPath, runs: Runs) -> ChosenSamples:
        """The labels of the rows of a gradient in some runs."""
        paths = [each for each, _ in self._archive().joined.blocks[block].first.walk()]
        return ChosenSamples(self, block, path, runs[:, [paths.index(path[:-1]), paths.index(path)]])

    def read_table(self, segment: int, number: int, start: int, stop: int) -> Table:
        """Read rows [start, stop) of a label table of a segment."""
        return self._archive().segments[segment].read_table(number, start, stop)

    def read_samples(self, block: int, path: GradientPath, runs: Runs, firsts: Index) -> Table:
        """Read runs (n, 2) of the samples of a block of several parts, or of a gradient of it, whose parents
        are numbered from ``firsts`` (n,) on."""
        archive = self._archive()
        joined = archive.joined.blocks[block]
        pieces = joined.pieces(path, runs)
        out = np.empty((int((runs[:, 1] - runs[:, 0]).sum()), len(joined.names(path))), np.int32)
        for part, first, last, into, _ in pieces:
            number, spec = joined.parts[part]
            out[into : into + last - first] = archive.segments[number].read_table(
                spec.at(path).samples, first, last
            )
        if path:
            joined.number_parents(path, pieces, out, firsts)
        out.flags.writeable = False
        return out

    def parts_of(self, block: int) -> tuple[tuple[int, int, int], ...]:
        """Where the samples of a block are: segments, tables in them, and the first row of each in the
        block."""
        joined = self._archive().joined.blocks[block]
        starts = joined.starts[()].tolist()
        return tuple((n, spec.samples, start) for (n, spec), start in zip(joined.parts, starts, strict=False))

    def candidates(
        self, tables: Sequence[tuple[int, int, int]], names: Sequence[str], rows: Table
    ) -> tuple[Index, Table]:
        """The rows of tables in which one column is as in some of ``rows``, by the chunks where that may be.

        The column is the one that identifies systems, if it is among the ``names`` of the columns of
        ``rows``.
        """
        segments = self._archive().segments
        own_names = segments[tables[0][0]].spec.tables[tables[0][1]].names
        system = own_names[system_column(own_names)]
        name = system if system in names else names[0]
        numbers = np.unique(rows[:, list(names).index(name)])
        positions: list[Index] = [np.empty(0, np.int64)]
        found = [np.empty((0, len(own_names)), np.int32)]
        for segment, table, start in tables:
            for chosen, stored in segments[segment].rows_with(table, own_names.index(name), numbers):
                positions.append(start + chosen)
                found.append(stored)
        return np.concatenate(positions), np.concatenate(found)

    def segment(self, number: int) -> OpenSegment:
        """A segment, for those who look at all that is in it."""
        return self._archive().segments[number]

    def _archive(self) -> OpenArchive:
        again = partial(open_again, open_store(self.path), self.version, self.token, self.roots)
        archive = _archives.get((self.path, self.token), again)
        return archive if self.segments is None else archive.part(*self.segments)


def reader_of(archive: OpenArchive, segments: tuple[int, int] | None = None) -> ZarrReader:
    """A handle on an archive that is open, which this process then need not open again."""
    _archives.put((archive.store.name, archive.stored.token), archive)
    version, token = archive.stored.commit.version, archive.stored.token
    return ZarrReader(archive.store.name, version, token, segments, archive.roots)


class _ChunkPlan:
    """A chunk that is put together: the arrays that it is made of, and where their rows are."""

    def __init__(self, archive: OpenArchive, block: JoinedBlock, runs: Runs) -> None:
        self._archive = archive
        self._block = block
        self._runs = runs
        self._paths = [path for path, _ in block.first.walk()]
        self._pieces = [block.pieces(path, runs[:, number]) for number, path in enumerate(self._paths)]
        self._rows = (runs[:, :, 1] - runs[:, :, 0]).sum(axis=0).tolist()

    def wanted(self) -> Iterator[WantedArray]:
        """The arrays, in the order in which :meth:`build` takes them."""
        block = self._block
        for path, pieces, rows in zip(self._paths, self._pieces, self._rows, strict=True):
            if block.properties is None:
                yield block.wanted(path, "values", pieces, rows)
            else:  # each part has columns of its own
                for piece in pieces:
                    yield block.wanted(path, "values", [piece._replace(into=0)], piece.stop - piece.start)
            if path:
                yield block.wanted(path, "samples", pieces, rows)

    def build(self, arrays: Iterator[Array]) -> Chunk:
        """Put the arrays together; parents are numbered from the start of the chunk."""
        block = self._block
        chunks: dict[GradientPath, Chunk] = {}
        for path, pieces, rows in zip(self._paths, self._pieces, self._rows, strict=True):
            is_plain = block.properties is None
            values = next(arrays) if is_plain else block.filled(path, pieces, rows, arrays)
            if not path:
                chunks[path] = Chunk(values)
                continue
            table = next(arrays).copy()  # several blocks may share the rows that were read
            for part, first, last, into, _ in pieces:
                number, spec = block.parts[part]
                own = table[into : into + last - first]
                self._archive.segments[number].check_table(spec.at(path).samples, first, own)
            parents = self._runs[:, self._paths.index(path[:-1])]
            block.number_parents(path, pieces, table, moved_by(parents))
            chunks[path] = Chunk(values, table=table)
            chunks[path[:-1]].gradients[path[-1]] = chunks[path]
        return chunks[()]


@dataclass(frozen=True)
class ArchiveTable:
    """A label table of a segment, from which labels are read when they are first used: small to pickle."""

    reader: ZarrReader
    segment: int
    table: int

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        rows = self.reader.read_table(self.segment, self.table, start, stop)
        rows.flags.writeable = False
        return rows

    def candidates(self, names: Sequence[str], rows: Table) -> tuple[Index, Table]:
        """All rows that may match a selection, and their positions; other chunks are not read."""
        return self.reader.candidates(((self.segment, self.table, 0),), names, rows)


@dataclass(frozen=True)
class JoinedSamples:
    """The samples of a block of several parts, or of a gradient of it.

    ``content`` names what is in them: it is equal where the parts and their digests are.
    """

    reader: ZarrReader
    block: int
    path: GradientPath
    content: str

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        return self.reader.read_samples(
            self.block, self.path, np.array([[start, stop]]), np.zeros(1, np.int64)
        )

    def candidates(self, names: Sequence[str], rows: Table) -> tuple[Index, Table] | None:
        """All rows that may match a selection, and their positions; None for gradients, whose rows count."""
        return None if self.path else self.reader.candidates(self.reader.parts_of(self.block), names, rows)


@dataclass(frozen=True, eq=False)
class ChosenSamples:
    """The samples of a gradient of some rows of a block; ``runs`` has those of the parent and its own
    ones."""

    reader: ZarrReader
    block: int
    path: GradientPath
    runs: Runs

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        parents, own = self.runs[:, 0], self.runs[:, 1]
        begins = own[:, 0] + moved_by(own)
        runs = np.clip(own, own[:, :1] + (start - begins)[:, None], own[:, :1] + (stop - begins)[:, None])
        has_rows = runs[:, 0] < runs[:, 1]
        return self.reader.read_samples(self.block, self.path, runs[has_rows], moved_by(parents)[has_rows])


@dataclass(frozen=True)
class Opened:
    """What is known of an archive without reading any of its arrays.

    ``outlines`` have the fine chunk edges of the archive; all labels but the keys are read on first use.
    """

    keys: Labels
    metadata: tuple[BlockMetadata, ...]
    outlines: tuple[Outline, ...]
    reader: ZarrReader
    commit: Commit

    @property
    def kind(self) -> ArchiveKind:
        return self.commit.kind

    @property
    def info(self) -> dict[str, str]:
        return dict(self.commit.info)


def open_archive(store: Store, version: int | None = None, segments: tuple[int, int] | None = None) -> Opened:
    """Open a version of an archive, by default the newest, or some segments of it: no array is read.

    Raises
    ------
    ArchiveNotFoundError
        If there is nothing there, or no such version.
    NotAnArchiveError
        If it is not an archive.
    UnfinishedArchiveError
        If it was never committed.
    NewerFormatError
        If a later release wrote it.
    DamagedArchiveError
        If its commit is corrupted.
    """
    archive = open_version(store, version)
    commit, reader = archive.stored.commit, reader_of(archive, segments)
    archive = archive if segments is None else archive.part(*segments)
    tables = _Tables(reader, archive)
    joined = archive.joined
    first = archive.segments[0].spec
    is_stored = len(archive.segments) == 1 and first.key_values is None
    return Opened(
        tables.stored(0, first.keys) if is_stored else joined.keys,
        tuple(tables.metadata(number, block) for number, block in enumerate(joined.blocks)),
        tuple(block.outline for block in joined.blocks),
        reader,
        commit,
    )


class _Tables:
    """The label tables of an archive: one object a table, however many blocks use it."""

    def __init__(self, reader: ZarrReader, archive: OpenArchive) -> None:
        self._reader = reader
        self._archive = archive
        self._labels: dict[tuple[int, int], Labels] = {}

    def stored(self, segment: int, number: int) -> Labels:
        """The labels of one table."""
        if (segment, number) not in self._labels:
            table = self._archive.segments[segment].spec.tables[number]
            source = ArchiveTable(self._reader, segment, number)
            labels = Labels.from_source(table.names, table.rows, table.digest, source)
            self._labels[segment, number] = labels
        return self._labels[segment, number]

    def metadata(self, number: int, block: JoinedBlock) -> BlockMetadata:
        """The labels of a block and its gradients."""
        segment = block.parts[0][0]
        properties = block.properties
        if properties is None:
            properties = self.stored(segment, block.first.properties)

        def labels(
            path: GradientPath, _: object, spec: BlockSpec, gradients: dict[str, BlockMetadata]
        ) -> BlockMetadata:
            components = tuple(self.stored(segment, component) for component in spec.components)
            return BlockMetadata(self._samples(number, block, path), components, properties, gradients)

        return fold_down(labels, block.first)

    def _samples(self, number: int, block: JoinedBlock, path: GradientPath) -> Labels:
        if len(block.parts) == 1:
            return self.stored(block.parts[0][0], block.first.at(path).samples)
        source = JoinedSamples(self._reader, number, path, block.content(path))
        return Labels.from_source(block.names(path), int(block.starts[path][-1]), None, source)
