"""Reading an archive: opened from one commit without touching an array; data come through a light handle."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from outgrad._forks import fork_safe_lock
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Request
from outgrad.labels.labels import Labels
from outgrad.labels.types import Table
from outgrad.storage.zarr.format import ArraySpec, BlockSpec, Kind, SegmentSpec
from outgrad.storage.zarr.opened import OpenArchive, keys_in_commit, read_again, read_newest
from outgrad.storage.zarr.seams import Array, Rows, merge_rows
from outgrad.tree import GradientPath, fold

KEPT_ARCHIVES = 16
"""Parsed commits kept a process."""

LAST_ROW = 2**63


_opened: OrderedDict[tuple[str, str], OpenArchive] = OrderedDict()
_lock = fork_safe_lock()


def remember(archive: OpenArchive) -> OpenArchive:
    """Keep an opened archive for the tasks of this process."""
    key = str(archive.root), archive.found.token
    with _lock:
        _opened[key] = archive
        _opened.move_to_end(key)
        while len(_opened) > KEPT_ARCHIVES:
            _opened.popitem(last=False)
    return archive


def _recall(path: str, version: int, token: str) -> OpenArchive:
    with _lock:
        archive = _opened.get((path, token))
    if archive is not None:
        return archive
    return remember(read_again(Path(path), version, token))


@dataclass(frozen=True)
class ZarrReader:
    """A light handle on one version of an archive: a task carries it, and opens the archive once a process.

    ``token`` names the content and version of the archive, not only its path.
    """

    path: str
    version: int
    token: str

    def read(self, requests: Sequence[Request]) -> list[Chunk]:
        """Read the chunks asked for; those that are neighbours on disk are read at once.

        Raises
        ------
        DamagedArchiveError
            If a storage chunk is missing, damaged or not the one that was committed.
        ArchiveError
            If the archive was overwritten since it was opened.
        """
        archive = self._archive()
        wanted = [rows for request in requests for rows in _wanted(archive.segment, request)]
        arrays = iter(_read_merged(archive, wanted))
        blocks = archive.segment.blocks
        return [_chunk(archive, blocks[request.block], request.ranges, arrays) for request in requests]

    def read_table(self, number: int, start: int, stop: int) -> Table:
        """Read rows [start, stop) of a label table of the segment."""
        return self._archive().read_table(number, start, stop)

    def _archive(self) -> OpenArchive:
        return _recall(self.path, self.version, self.token)


def _wanted(segment: SegmentSpec, request: Request) -> Iterator[Rows]:
    """The rows of Zarr arrays that a request needs, in the order in which :func:`_chunk` takes them."""
    walked = zip(segment.blocks[request.block].walk(), request.ranges, strict=True)
    for (path, block), (start, stop) in walked:
        yield _rows(*block.values, start, stop)
        if path:
            yield _rows(*segment.tables[block.samples].place, start, stop)


def _rows(array: int, first: int, start: int, stop: int) -> Rows:
    return Rows(array, first + start, first + stop)


def _read_merged(archive: OpenArchive, wanted: Sequence[Rows]) -> Iterator[Array]:
    """Yield the rows of each of ``wanted``: views of what was read at once."""
    merged = merge_rows(wanted)
    data = [archive.read_rows(*rows) for rows in merged]
    for array, start, stop in wanted:
        if start == stop:
            spec = archive.segment.arrays[array]
            yield np.empty((0, *spec.shape[1:]), spec.dtype)
            continue
        at = bisect_right(merged, (array, start, LAST_ROW)) - 1
        yield data[at][start - merged[at].start : stop - merged[at].start]


def _chunk(
    archive: OpenArchive,
    block: BlockSpec,
    ranges: Sequence[tuple[int, int]],
    arrays: Iterator[Array],
) -> Chunk:
    """Put the arrays of a block together; parents are numbered from the start of the parent's rows."""
    found: dict[GradientPath, Chunk] = {(): Chunk(next(arrays))}
    starts: dict[GradientPath, int] = {}
    for (path, spec), (start, _) in zip(block.walk(), ranges, strict=True):
        starts[path] = start
        if path:
            values, table = next(arrays), next(arrays)
            archive.check_table(spec.samples, start, table)
            found[path] = Chunk(values, table=_local(table, starts[path[:-1]]))
            found[path[:-1]].gradients[path[-1]] = found[path]
    return found[()]


def _local(table: Array, parent_start: int) -> Table:
    """Number parents from the start of the chunk. Always a copy: several blocks may share the rows read."""
    rows = table.copy()
    rows[:, 0] -= parent_start
    return rows


@dataclass(frozen=True)
class TableSource:
    """Where the values of stored labels are: small to pickle."""

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

    ``outlines`` have the fine chunk edges of the archive; labels but the keys are read on first use.
    """

    kind: Kind
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
        If it is no archive.
    UnfinishedArchiveError
        If it was never committed.
    NewerFormatError
        If a later release wrote it.
    DamagedArchiveError
        If its commit is damaged.
    """
    root = Path(path).absolute()
    archive = remember(read_newest(root))
    commit, token = archive.found.commit, archive.found.token
    reader = ZarrReader(str(root), commit.version, token)
    segment = archive.segment
    labels = _Labels(segment, reader)
    keys = keys_in_commit(archive)
    return Opened(
        kind=commit.kind,
        info=dict(commit.info),
        keys=labels[segment.keys] if keys is None else keys,
        metadata=tuple(fold(labels.metadata, block) for block in segment.blocks),
        outlines=tuple(fold(partial(_outline, segment.arrays), block) for block in segment.blocks),
        reader=reader,
        version=commit.version,
        token=token,
        created=commit.created,
        software=commit.software,
        provenance=commit.provenance,
    )


class _Labels:
    """The label tables of a segment: one object each, however many blocks use it."""

    def __init__(self, segment: SegmentSpec, reader: ZarrReader) -> None:
        self._all = [
            Labels.from_source(table.names, table.rows, table.digest, TableSource(reader, number))
            for number, table in enumerate(segment.tables)
        ]

    def __getitem__(self, number: int) -> Labels:
        return self._all[number]

    def metadata(self, block: BlockSpec, gradients: dict[str, BlockMetadata]) -> BlockMetadata:
        components = tuple(self[number] for number in block.components)
        return BlockMetadata(self[block.samples], components, self[block.properties], gradients)


def _outline(arrays: Sequence[ArraySpec], block: BlockSpec, gradients: dict[str, Outline]) -> Outline:
    spec = arrays[block.values.array]
    return Outline(np.array(block.edges, dtype=np.int64), spec.shape[1:], spec.dtype, gradients)
