"""Reading an archive: opened from one commit without touching an array; data come through a light handle."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Chunk, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Request
from outgrad.labels.labels import Labels
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.zarr.format import ArchiveKind, BlockSpec
from outgrad.storage.zarr.opened import OpenArchive, keys_in_commit, open_again, open_newest
from outgrad.storage.zarr.seams import ArrayRange, merge_ranges
from outgrad.tree import GradientPath, fold

KEPT_ARCHIVES = 16
"""Parsed commits kept a process."""

LAST_ROW = 2**63

_archives: OpenFiles[tuple[str, str], OpenArchive] = OpenFiles(KEPT_ARCHIVES)


def remember(archive: OpenArchive) -> OpenArchive:
    """Keep an opened archive for the tasks of this process."""
    _archives.put((str(archive.root), archive.stored.token), archive)
    return archive


@dataclass(frozen=True)
class ZarrReader:
    """A light handle on one version of an archive: a task carries it, and opens the archive once a process.

    ``token`` names the content and version of the archive, not only its path.
    """

    path: str
    version: int
    token: str

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
        segment = archive.segment
        ranges: list[ArrayRange] = []
        for request in requests:
            walked = zip(segment.blocks[request.block].walk(), request.ranges, strict=True)
            for (path, block), (start, stop) in walked:
                # In this order _build_chunk takes them: values, and of a gradient its table too.
                firsts = (block.values, segment.tables[block.samples].first) if path else (block.values,)
                ranges.extend(ArrayRange(array, first + start, first + stop) for array, first in firsts)
        arrays = iter(_read_merged(archive, ranges))
        return [
            _build_chunk(archive, segment.blocks[request.block], request.ranges, arrays)
            for request in requests
        ]

    def read_table(self, number: int, start: int, stop: int) -> Table:
        """Read rows [start, stop) of a label table of the segment."""
        return self._archive().read_table(number, start, stop)

    def _archive(self) -> OpenArchive:
        again = partial(open_again, Path(self.path), self.version, self.token)
        return _archives.get((self.path, self.token), again)


def _read_merged(archive: OpenArchive, ranges: Sequence[ArrayRange]) -> Iterator[Array]:
    """Yield the rows of each range: views of what was read at once."""
    merged = merge_ranges(ranges)
    data = [archive.read_rows(*rows) for rows in merged]
    for array, start, stop in ranges:
        if start == stop:
            spec = archive.segment.arrays[array]
            yield np.empty((0, *spec.shape[1:]), spec.dtype)
            continue
        index = bisect_right(merged, (array, start, LAST_ROW)) - 1
        yield data[index][start - merged[index].start : stop - merged[index].start]


def _build_chunk(
    archive: OpenArchive,
    block: BlockSpec,
    ranges: Sequence[tuple[int, int]],
    arrays: Iterator[Array],
) -> Chunk:
    """Put the arrays of a block together; parents are numbered from the start of the parent's rows."""
    chunks: dict[GradientPath, Chunk] = {(): Chunk(next(arrays))}
    starts: dict[GradientPath, int] = {}
    for (path, spec), (start, _) in zip(block.walk(), ranges, strict=True):
        starts[path] = start
        if path:
            values, rows = next(arrays), next(arrays)
            archive.check_table(spec.samples, start, rows)
            table = rows.copy()  # several blocks may share the rows that were read
            table[:, 0] -= starts[path[:-1]]
            chunks[path] = Chunk(values, table=table)
            chunks[path[:-1]].gradients[path[-1]] = chunks[path]
    return chunks[()]


@dataclass(frozen=True)
class ArchiveTable:
    """A label table of an archive, from which labels are read when they are first used: small to pickle."""

    reader: ZarrReader
    table: int

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        rows = self.reader.read_table(self.table, start, stop)
        rows.flags.writeable = False
        return rows


@dataclass(frozen=True)
class Opened:
    """What is known of an archive without reading any of its arrays.

    ``outlines`` have the fine chunk edges of the archive; all labels but the keys are read on first use.
    """

    kind: ArchiveKind
    info: dict[str, str]
    keys: Labels
    metadata: tuple[BlockMetadata, ...]
    outlines: tuple[Outline, ...]
    reader: ZarrReader
    version: int
    token: str
    created: str
    software: str
    provenance: dict[str, Any]


def open_archive(path: str | Path) -> Opened:
    """Open the newest version of an archive: one file is read, and no array.

    Raises
    ------
    ArchiveNotFoundError
        If the path does not exist.
    NotAnArchiveError
        If it is not an archive.
    UnfinishedArchiveError
        If it was never committed.
    NewerFormatError
        If a later release wrote it.
    DamagedArchiveError
        If its commit is corrupted.
    """
    root = Path(path).absolute()
    archive = remember(open_newest(root))
    commit, token = archive.stored.commit, archive.stored.token
    reader = ZarrReader(str(root), commit.version, token)
    segment = archive.segment
    # One object a table, however many blocks use it.
    tables = [
        Labels.from_source(table.names, table.rows, table.digest, ArchiveTable(reader, number))
        for number, table in enumerate(segment.tables)
    ]

    def metadata(block: BlockSpec, gradients: dict[str, BlockMetadata]) -> BlockMetadata:
        components = tuple(tables[number] for number in block.components)
        return BlockMetadata(tables[block.samples], components, tables[block.properties], gradients)

    def outline(block: BlockSpec, gradients: dict[str, Outline]) -> Outline:
        spec = segment.arrays[block.values.array]
        return Outline(np.array(block.edges, dtype=np.int64), spec.shape[1:], spec.dtype, gradients)

    keys = keys_in_commit(archive)
    return Opened(
        kind=commit.kind,
        info=dict(commit.info),
        keys=tables[segment.keys] if keys is None else keys,
        metadata=tuple(fold(metadata, block) for block in segment.blocks),
        outlines=tuple(fold(outline, block) for block in segment.blocks),
        reader=reader,
        version=commit.version,
        token=token,
        created=commit.created,
        software=commit.software,
        provenance=commit.provenance,
    )
