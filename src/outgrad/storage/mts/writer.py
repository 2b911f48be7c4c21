"""Write ``.mts`` files: each task writes its rows in place, and the file appears when it is whole."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from operator import attrgetter
from typing import Any, BinaryIO

import numpy as np

from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import NO_TEXTS, Request, Seam, Written
from outgrad.errors import FileFormatError, UnfinishedArchiveError
from outgrad.labels.labels import Labels
from outgrad.storage.mts import names as layout
from outgrad.storage.mts import npy
from outgrad.storage.mts import zip as zipfiles
from outgrad.storage.mts.partial import PartialFile
from outgrad.storage.mts.row_writer import (
    PLACE,
    Firsts,
    Places,
    Rows,
    RowWriter,
    WrittenRows,
    path_crc,
    write_at,
)
from outgrad.storage.mts.zip import StoredMember
from outgrad.storage.publishing import Unpublished

TABLE_ROWS = 1 << 16
"""Rows of labels in memory while a table is written."""
CRC_OFFSET = 14
"""Where in a local header the checksum is."""
USE_ZARR = "Save to a .zarr path instead"


@dataclass(frozen=True, eq=False)
class _Entry:
    """What becomes one member: a header, then the rows of labels, or rows of values that tasks will write."""

    name: str
    header: bytes
    labels: Labels | None = None
    outline: Outline | None = None
    path: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        if self.labels is not None:
            return len(self.header) + 4 * len(self.labels) * len(self.labels.names)
        rows = 0 if self.outline is None else self.outline.shape[0] * self.outline.row_bytes
        return len(self.header) + rows


class MtsWriter:
    """Write a map or a block to an ``.mts`` file that metatensor can load.

    All members are stored uncompressed and their sizes are known, so every array has its place before the
    first value is computed. Pickled, a writer becomes a :class:`RowWriter`, which is all that tasks need.

    Parameters
    ----------
    path : path
        The file to write.
    keys : Labels
        One key for each block; not used for a single block.
    metadata : sequence of BlockMetadata
        Labels of the blocks.
    outlines : sequence of Outline
        Shapes and types of the blocks, gradients in the order of their metadata.
    info : mapping of str to str
        Texts kept with a map.
    overwrite : bool
        Whether a file that exists is replaced, once the new one is whole.
    kind : {"map", "block"}
        What is written.
    durable : bool
        Whether the file is flushed to disk before it becomes visible.

    Raises
    ------
    ArchiveExistsError
        If the path exists and ``overwrite`` is false.
    FileFormatError
        If the format cannot hold the names or types.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        keys: Labels,
        metadata: Sequence[BlockMetadata],
        outlines: Sequence[Outline],
        *,
        info: Mapping[str, str],
        overwrite: bool = False,
        kind: layout.Kind = "map",
        durable: bool = True,
    ) -> None:
        self._file = PartialFile(path, overwrite, durable)
        if info and kind == "block":
            raise FileFormatError(
                f"cannot write {str(path)!r}: a file of one block has no info. Save a map instead."
            )
        self._info = dict(info)
        _info_content(str(path), info)  # refused now rather than when all else has been written
        self._entries = tuple(_entries(str(path), kind, keys, metadata, outlines))
        self._members = _placed(str(path), self._entries)
        self._places_at = self._members[-1].stop
        self._crcs: dict[str, int] = {}
        blocks = len(outlines)
        arrays = sum(entry.outline is not None for entry in self._entries)
        self.rows = RowWriter(self._file.path, self._places_at, arrays, blocks)

    def __reduce__(self) -> tuple[Any, ...]:
        return RowWriter, (self.rows.path, self.rows.places_at, self.rows.arrays, self.rows.blocks)

    def start(self) -> None:
        """Lay out the file beside the target: headers and label tables, with room for values."""
        self._file.require_free()
        with self._file.create() as stream:
            for entry, member in zip(self._entries, self._members, strict=True):
                self._start_member(stream, entry, member)
            stream.seek(self._places_at)
            places, firsts = self._places()
            stream.write(places.tobytes() + firsts.tobytes())

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> WrittenRows:
        """Write one chunk for each request; see :meth:`RowWriter.write`."""
        return self.rows.write(requests, chunks)

    def seams(self, parts: Sequence[Sequence[Request]]) -> list[Seam]:
        """Return no seams: rows have a place of their own whatever task writes them."""
        return []

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Never called, since there are no seams."""
        raise AssertionError("an .mts file has no seams")

    def prepare(self, receipts: Sequence[Written], texts: Mapping[str, str] = NO_TEXTS) -> Unpublished:
        """Check that every row was written, finish the file and flush it; return what is to be published.

        The info is the last member, where the places of arrays were: ``texts`` are known only now.

        Checksums of the members are combined from those of the tasks; no value is read again.

        Parameters
        ----------
        receipts : sequence of Written
            What :meth:`write` returned, once for every part.
        texts : mapping of str to str
            What is added to the info.

        Raises
        ------
        UnfinishedArchiveError
            If rows are missing; the message names the first.
        """
        crcs = self._crcs | self._array_crcs(receipts)
        members = [member._replace(crc=crcs[member.name]) for member in self._members]
        descriptor = os.open(self._file.path, os.O_RDWR)
        try:
            for member in members:
                crc = member.crc.to_bytes(4, "little")
                write_at(descriptor, crc, member.header_offset + CRC_OFFSET, self._file.path)
            info = {**self._info, **texts}
            if info:
                content = _info_content(str(self._file.path), info)
                member = StoredMember(layout.INFO, len(content), self._places_at, zlib.crc32(content))
                written = zipfiles.local_header(member) + content
                write_at(descriptor, written, member.header_offset, self._file.path)
                members.append(member)
            end_at = members[-1].stop
            end = zipfiles.directory(members, end_at)
            write_at(descriptor, end, end_at, self._file.path)
            os.ftruncate(descriptor, end_at + len(end))
        finally:
            os.close(descriptor)
        self._file.prepare()
        return self._file

    def abort(self) -> None:
        """Remove what was written; an older file at the path stays."""
        self._file.abort()

    def _start_member(self, stream: BinaryIO, entry: _Entry, member: StoredMember) -> None:
        if stream.tell() != member.header_offset:
            stream.seek(member.header_offset)
        stream.write(zipfiles.local_header(member))
        stream.write(entry.header)
        crc = zlib.crc32(entry.header)
        if entry.labels is not None:
            crc = _write_rows(stream, entry.labels, crc)
        self._crcs[entry.name] = crc

    def _places(self) -> tuple[Places, Firsts]:
        """List where the arrays are, and the number of the first array of each block."""
        rows: list[tuple[int, ...]] = []
        firsts: list[int] = []
        for entry, member in zip(self._entries, self._members, strict=True):
            if entry.outline is None:
                continue
            if not entry.path:
                firsts.append(len(rows))
            shape, row_bytes = entry.outline.shape, entry.outline.row_bytes
            start, dtype = member.start + len(entry.header), npy.DTYPES.index(_element(entry.outline.dtype))
            rows.append((start, shape[0], row_bytes, dtype, zlib.crc32(entry.header), path_crc(entry.path)))
        return np.array(rows, dtype=PLACE), np.array(firsts, dtype=np.int64)

    def _array_crcs(self, receipts: Sequence[Written]) -> dict[str, int]:
        written = {rows for receipt in receipts if isinstance(receipt, WrittenRows) for rows in receipt.rows}
        by_array = {number: list(rows) for number, rows in groupby(sorted(written), attrgetter("array"))}
        arrays = [entry for entry in self._entries if entry.outline is not None]
        return {
            entry.name: self._array_crc(entry, by_array.get(number, []))
            for number, entry in enumerate(arrays)
        }

    def _array_crc(self, entry: _Entry, written: list[Rows]) -> int:
        """Combine the checksums of consecutive rows, from the header to the last row."""
        assert entry.outline is not None, "the entry is an array"
        crc, done = self._crcs[entry.name], 0
        for rows in written:
            if rows.start != done:
                break
            nbytes = (rows.stop - rows.start) * entry.outline.row_bytes
            crc = rows.crc if rows.start == 0 else zipfiles.combine_crc(crc, rows.crc, nbytes)
            done = rows.stop
        else:
            if done == entry.outline.shape[0]:
                return crc
        raise UnfinishedArchiveError(
            f"cannot finish {str(self._file.target)!r}: rows of {entry.name!r} were not written once each, "
            f"from row {done} of {entry.outline.shape[0]} on. Save again: what was at this path is unchanged."
        )


class LabelsWriter:
    """Write labels as a bare ``.npy`` structured array, which metatensor loads with ``load_labels``.

    The client writes all of it: there are no values, and so no tasks.

    Parameters
    ----------
    path : path
        The file to write.
    labels : Labels
        What to write, a slice at a time.
    overwrite, durable : bool
        As for :class:`MtsWriter`.

    Raises
    ------
    ArchiveExistsError
        If the path exists and ``overwrite`` is false.
    FileFormatError
        If the labels have no dimensions.
    """

    def __init__(
        self, path: str | os.PathLike[str], labels: Labels, overwrite: bool = False, durable: bool = True
    ) -> None:
        self._file = PartialFile(path, overwrite, durable)
        self._labels = labels
        self._header = _table(str(path), "labels", labels).header

    def start(self) -> None:
        """Write the whole file beside the target."""
        self._file.require_free()
        with self._file.create() as stream:
            stream.write(self._header)
            _write_rows(stream, self._labels, 0)

    def seams(self, parts: Sequence[Sequence[Request]]) -> list[Seam]:
        """Return no seams: labels have no chunks."""
        return []

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> Written:
        """Never called, since there are no chunks."""
        raise AssertionError("labels have no chunks")

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Never called, since there are no seams."""
        raise AssertionError("labels have no seams")

    def prepare(self, receipts: Sequence[Written], texts: Mapping[str, str] = NO_TEXTS) -> Unpublished:
        """Flush the file; return what is to be published."""
        self._file.prepare()
        return self._file

    def abort(self) -> None:
        """Remove what was written; an older file at the path stays."""
        self._file.abort()


def _write_rows(stream: BinaryIO, labels: Labels, crc: int) -> int:
    for start in range(0, len(labels), TABLE_ROWS):
        rows = labels.read(start, min(start + TABLE_ROWS, len(labels)))
        content = np.ascontiguousarray(rows, dtype="<i4").tobytes()
        stream.write(content)
        crc = zlib.crc32(content, crc)
    return crc


def _placed(path: str, entries: Sequence[_Entry]) -> tuple[StoredMember, ...]:
    members: list[StoredMember] = []
    offset = 0
    for entry in entries:
        members.append(StoredMember(entry.name, entry.nbytes, offset))
        name_bytes = len(members[-1].raw_name)
        if name_bytes > zipfiles.LARGEST_NAME:
            raise FileFormatError(
                f"cannot write {path!r}: the name of a gradient takes {name_bytes} bytes, more than "
                f"the {zipfiles.LARGEST_NAME} that a ZIP file can hold. Use a shorter name. {USE_ZARR}."
            )
        offset = members[-1].stop
    return tuple(members)


def _entries(
    path: str,
    kind: layout.Kind,
    keys: Labels,
    metadata: Sequence[BlockMetadata],
    outlines: Sequence[Outline],
) -> Iterator[_Entry]:
    assert kind == "map" or len(outlines) == 1, "a file of a block has one block"
    if kind == "map":
        assert len(keys) == len(outlines), "a map has one key for each block"
        yield _table(path, layout.KEYS, keys)
    for number, (labels, outline) in enumerate(zip(metadata, outlines, strict=True)):
        yield from _block_entries(path, layout.block_prefix(kind, number), labels, outline)


def _block_entries(path: str, block: str, metadata: BlockMetadata, outline: Outline) -> Iterator[_Entry]:
    for below, array in outline.walk():
        if below:
            _check_parameter(path, below)
        prefix, labels = reduce(layout.gradient_prefix, below, block), metadata.at(below)
        yield _array(path, layout.values_name(prefix), array, below)
        yield _table(path, layout.samples_name(prefix), labels.samples)
        for number, component in enumerate(labels.components):
            yield _table(path, layout.component_name(prefix, number), component)
        if not below:
            yield _table(path, layout.properties_name(prefix), labels.properties)


def _array(path: str, name: str, outline: Outline, below: tuple[str, ...]) -> _Entry:
    if _element(outline.dtype) not in npy.DTYPES:
        raise FileFormatError(
            f"cannot write {path!r}: {name!r} has type {outline.dtype}, and .mts files hold only "
            f"{', '.join(npy.DTYPES)}. Convert it, for example to float64."
        )
    return _Entry(name, npy.encode_array_header(outline.dtype, outline.shape), outline=outline, path=below)


def _table(path: str, name: str, labels: Labels) -> _Entry:
    if not labels.names:
        raise FileFormatError(
            f"cannot write {path!r}: {name!r} are labels without dimensions, which metatensor cannot load. "
            f"{USE_ZARR}."
        )
    return _Entry(name, npy.encode_table_header(labels.names, len(labels)), labels=labels)


def _check_parameter(path: str, below: tuple[str, ...]) -> None:
    if not layout.is_parameter(below[-1]):
        raise FileFormatError(
            f"cannot write {path!r}: the gradient parameter {below[-1]!r} cannot be part of a name in the "
            f"file: metatensor loads none with a slash or a zero byte. Use another name. {USE_ZARR}."
        )
    if len(below) > layout.MAX_GRADIENT_DEPTH:
        raise FileFormatError(
            f"cannot write {path!r}: the gradients {'/'.join(below)!r} are nested deeper than "
            f"{layout.MAX_GRADIENT_DEPTH}. {USE_ZARR}."
        )


def _info_content(path: str, info: Mapping[str, str]) -> bytes:
    try:
        return json.dumps(dict(info), indent=2, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FileFormatError(f"cannot write {path!r}: its info is not valid text ({error}).") from None


def _element(dtype: np.dtype[Any]) -> str:
    return f"{dtype.kind}{dtype.itemsize}"
