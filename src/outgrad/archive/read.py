"""Reading an archive: opened from one commit without touching an array; data come through a light handle."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from outgrad.archive import commits
from outgrad.archive.layout import users
from outgrad.archive.seams import Array, Rows, merge_rows
from outgrad.archive.spec import ArraySpec, BlockSpec, Commit, Kind, SegmentSpec
from outgrad.archive.stores import ByteStore, Checksums, ChunkCache, ChunkError, SegmentStore
from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    DamagedArchiveError,
    NewerFormatError,
    ValidationError,
)
from outgrad.kernels.chunk import Chunk
from outgrad.labels import Labels
from outgrad.labels.packing import Table
from outgrad.plan.outline import Outline
from outgrad.plan.requests import Request
from outgrad.tensor.metadata import BlockMetadata

KEPT_ARCHIVES = 16
"""Parsed commits kept a process."""

SHOWN_USERS = 3
LAST_ROW = 2**63


class OpenArchive:
    """One version of an archive in this process: its parsed commit, and how to get at its chunks."""

    def __init__(self, root: Path, found: commits.Found) -> None:
        self.root = root
        self.found = found
        self.segment = only_segment(root, found.commit)
        self._store = SegmentStore(ByteStore.local(root, read_only=True), self.segment.prefix)
        self._tables = ChunkCache()

    @cached_property
    def _manifest(self) -> Array:
        manifest = self.segment.manifest
        assert manifest is not None, "only a plan has no manifest"
        rows = manifest.array.shape[0]
        try:
            return self._store.read_rows(manifest.array, manifest.checksums, 0, rows)
        except ChunkError as error:
            raise self.explain(error) from error

    def checksums(self, array: int) -> Checksums:
        """What the CRC32C of each chunk of an array should be."""
        bases = self.segment.chunk_bases
        return self._manifest[bases[array] : bases[array + 1]]

    def read_rows(self, array: int, start: int, stop: int, *, is_table: bool = False) -> Array:
        """Read rows of an array into new memory.

        Raises
        ------
        DamagedArchiveError
            If a storage chunk is missing, damaged or not the one that was committed.
        """
        cache = self._tables if is_table else None
        try:
            return self._store.read_rows(
                self.segment.arrays[array], self.checksums(array), start, stop, cache
            )
        except ChunkError as error:
            raise self.explain(error, array) from error

    def read_table(self, number: int, start: int, stop: int) -> Table:
        """Read rows of a label table."""
        place = self.segment.tables[number].place
        return self.read_rows(place.array, place.first + start, place.first + stop, is_table=True)

    def explain(self, error: ChunkError, array: int | None = None) -> ArchiveError:
        """Say which chunk of which array of which block is unusable, and what to do."""
        if not commits.commit_path(self.root, self.found.commit.version).exists():
            return overwritten(self.root)
        needed = self.needed_for(array, error.chunk)
        named = needed[0] if needed else error.array.path
        more = f" (needed for {', '.join(needed[:SHOWN_USERS])}{_more(needed)})" if len(needed) > 1 else ""
        return DamagedArchiveError(
            f"read {self.root}: storage chunk {error.chunk} of {named}{more} {error.reason}; "
            f"the file is {self.segment.prefix}{error.array.chunk_key(error.chunk)}; restore it from a copy "
            "or write the archive again; `outgrad verify` lists all damage"
        )

    def needed_for(self, array: int | None, chunk: int) -> list[str]:
        """Metatensor's paths of what has rows in a storage chunk."""
        if array is None:
            return []
        start, stop = self.segment.arrays[array].chunk_range(chunk)
        found = (user.path for user in self._users[array] if user.start < stop and start < user.stop)
        return list(dict.fromkeys(found))

    @cached_property
    def _users(self) -> list[Any]:
        return users(self.segment)


def _more(needed: Sequence[str]) -> str:
    return f" and {len(needed) - SHOWN_USERS} more" if len(needed) > SHOWN_USERS else ""


def only_segment(root: Path, commit: Commit) -> SegmentSpec:
    """The segment of an archive that was saved at once; appended ones need a later release."""
    if len(commit.segments) > 1:
        raise NewerFormatError(
            f"open {root}: the archive consists of {len(commit.segments)} segments, and this is "
            f"{commits.SOFTWARE}, which reads archives of one; update it (pip install --upgrade outgrad)"
        )
    return commit.segments[0]


def overwritten(root: Path) -> ArchiveError:
    if not root.exists():
        return ArchiveNotFoundError(f"read {root}: the archive was removed since it was opened")
    return ArchiveError(f"read {root}: the archive was overwritten since it was opened; open it again")


_opened: OrderedDict[tuple[str, str], OpenArchive] = OrderedDict()
_lock = threading.Lock()


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
    root = Path(path)
    try:
        found = commits.read_version(root, version)
    except FileNotFoundError:
        raise overwritten(root) from None
    if found.token != token:
        raise overwritten(root)
    return remember(OpenArchive(root, found))


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
        return [
            _chunk(archive.segment.blocks[request.block], iter(request.ranges), arrays)
            for request in requests
        ]

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
    block: BlockSpec,
    ranges: Iterator[tuple[int, int]],
    arrays: Iterator[Array],
    parent_start: int | None = None,
) -> Chunk:
    """Put the arrays of a block together; parents are numbered from the start of the parent's rows."""
    start, _ = next(ranges)
    values = next(arrays)
    table = None if parent_start is None else _local(next(arrays), parent_start)
    gradients = {
        parameter: _chunk(gradient, ranges, arrays, start) for parameter, gradient in block.gradients.items()
    }
    return Chunk(values, gradients, table)


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
    archive = remember(OpenArchive(root, commits.read_newest(root)))
    commit, token = archive.found.commit, archive.found.token
    reader = ZarrReader(str(root), commit.version, token)
    segment = archive.segment
    labels = _Labels(segment, reader)
    return Opened(
        kind=commit.kind,
        info=dict(commit.info),
        keys=labels.keys(),
        metadata=tuple(_metadata(block, labels) for block in segment.blocks),
        outlines=tuple(_outline(block, segment.arrays) for block in segment.blocks),
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
        self._segment = segment
        self._reader = reader
        self._all = [
            Labels.from_source(table.names, table.rows, table.digest, TableSource(reader, number))
            for number, table in enumerate(segment.tables)
        ]

    def __getitem__(self, number: int) -> Labels:
        return self._all[number]

    def keys(self) -> Labels:
        table = self._segment.tables[self._segment.keys]
        if self._segment.key_values is None:
            return self._all[self._segment.keys]
        values = np.array(self._segment.key_values, dtype=np.int32).reshape(table.rows, len(table.names))
        try:
            return Labels(table.names, values)
        except ValidationError as error:
            raise DamagedArchiveError(f"open {self._reader.path}: the keys are not valid: {error}") from error


def _metadata(block: BlockSpec, labels: _Labels) -> BlockMetadata:
    return BlockMetadata(
        labels[block.samples],
        tuple(labels[number] for number in block.components),
        labels[block.properties],
        {parameter: _metadata(gradient, labels) for parameter, gradient in block.gradients.items()},
    )


def _outline(block: BlockSpec, arrays: Sequence[ArraySpec]) -> Outline:
    spec = arrays[block.values.array]
    return Outline(
        np.array(block.edges, dtype=np.int64),
        spec.shape[1:],
        spec.dtype,
        {parameter: _outline(gradient, arrays) for parameter, gradient in block.gradients.items()},
    )
