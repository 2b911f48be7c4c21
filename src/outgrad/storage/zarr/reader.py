"""Reading an archive: opened from one commit without touching an array; data come through a light handle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from outgrad.data.chunk import Array, Chunk, RowRange, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Request
from outgrad.labels.labels import Labels
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.store import Store
from outgrad.storage.stores import open_store
from outgrad.storage.zarr.format import ArchiveKind, BlockSpec, Commit
from outgrad.storage.zarr.joined_blocks import JoinedBlock
from outgrad.storage.zarr.opened import OpenArchive, open_again, open_version
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.read_rows import WantedArray, read_all
from outgrad.tree import GradientPath, fold_down

KEPT_ARCHIVES = 16
"""Parsed commits kept a process."""

_archives: OpenFiles[tuple[str, str], OpenArchive] = OpenFiles(KEPT_ARCHIVES)


def remember(archive: OpenArchive) -> OpenArchive:
    """Keep an opened archive for the tasks of this process."""
    _archives.put((archive.store.name, archive.stored.token), archive)
    return archive


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
        wanted = [each for asked in requests for each in _wanted_arrays(blocks[asked.block], asked.ranges)]
        arrays = read_all(archive.segments, wanted)
        return [_build_chunk(archive, blocks[asked.block], asked.ranges, arrays) for asked in requests]

    def read_table(self, segment: int, number: int, start: int, stop: int) -> Table:
        """Read rows [start, stop) of a label table of a segment."""
        return self._archive().segments[segment].read_table(number, start, stop)

    def read_samples(self, block: int, path: GradientPath, start: int, stop: int) -> Table:
        """Read rows [start, stop) of the samples of a block of several parts, or of a gradient of it."""
        archive = self._archive()
        joined = archive.joined.blocks[block]
        out = np.empty((stop - start, len(joined.names(path))), np.int32)
        for part, first, last, into in joined.rows_in_parts(path, start, stop):
            number, spec = joined.parts[part]
            rows = out[into : into + last - first]
            rows[:] = archive.segments[number].read_table(spec.at(path).samples, first, last)
            if path:
                rows[:, 0] += joined.starts[path[:-1]][part]
        return out

    def segment(self, number: int) -> OpenSegment:
        """A segment, for those who look at all that is in it."""
        return self._archive().segments[number]

    def _archive(self) -> OpenArchive:
        again = partial(open_again, open_store(self.path), self.version, self.token)
        archive = _archives.get((self.path, self.token), again)
        return archive if self.segments is None else archive.part(*self.segments)


def _wanted_arrays(block: JoinedBlock, ranges: Sequence[RowRange]) -> Iterator[WantedArray]:
    """The arrays of a chunk, in the order in which :func:`_build_chunk` takes them."""
    for (path, _), (start, stop) in zip(block.first.walk(), ranges, strict=True):
        pieces = list(block.rows_in_parts(path, start, stop))
        if block.properties is None:
            yield block.wanted(path, "values", pieces, stop - start)
        else:  # each part has columns of its own
            for piece in pieces:
                yield block.wanted(path, "values", [piece._replace(into=0)], piece.stop - piece.start)
        if path:
            yield block.wanted(path, "samples", pieces, stop - start)


def _build_chunk(
    archive: OpenArchive, block: JoinedBlock, ranges: Sequence[RowRange], arrays: Iterator[Array]
) -> Chunk:
    """Put the arrays of a block together; parents are numbered from the start of the parent's rows."""
    chunks: dict[GradientPath, Chunk] = {}
    starts: dict[GradientPath, int] = {}
    for (path, _), (start, stop) in zip(block.first.walk(), ranges, strict=True):
        starts[path] = start
        pieces = list(block.rows_in_parts(path, start, stop))
        if block.properties is None:
            values = next(arrays)
        else:
            values = block.filled(path, pieces, stop - start, arrays)
        if not path:
            chunks[path] = Chunk(values)
            continue
        table = next(arrays).copy()  # several blocks may share the rows that were read
        for part, first, last, into in pieces:
            number, spec = block.parts[part]
            rows = table[into : into + last - first]
            archive.segments[number].check_table(spec.at(path).samples, first, rows)
            rows[:, 0] += block.starts[path[:-1]][part] - starts[path[:-1]]
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
        rows = self.reader.read_samples(self.block, self.path, start, stop)
        rows.flags.writeable = False
        return rows


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
    archive = remember(open_version(store, version))
    commit, token = archive.stored.commit, archive.stored.token
    reader = ZarrReader(store.name, commit.version, token, segments)
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
