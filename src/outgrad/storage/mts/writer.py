"""Write ``.mts`` files: each task writes its rows in place, and the file appears when it is complete."""

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
    ARRAY_RECORD,
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
USE_ZARR = "save to a .zarr path instead"


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

    All members are stored uncompressed and their sizes are known, so it is known where every array lies
    before the first value is computed. Pickled, a writer becomes a :class:`RowWriter`, which is all that
    tasks need.

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
        Whether a file that exists is replaced, once the new one is complete.
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
        kind: layout.FileKind = "map",
        durable: bool = True,
    ) -> None:
        self._file = PartialFile(path, overwrite, durable)
        if info and kind == "block":
            raise FileFormatError(f"save {str(path)!r}: a file of one block has no info; save a map instead")
        self._info = dict(info)
        _info_content(str(path), info)  # refused now rather than when all else has been written
        self._entries = tuple(_planned_entries(str(path), kind, keys, metadata, outlines))
        members: list[StoredMember] = []
        offset = 0
        for entry in self._entries:
            members.append(StoredMember(entry.name, entry.nbytes, offset))
            name_bytes = len(members[-1].raw_name)
            if name_bytes > zipfiles.LARGEST_NAME:
                raise FileFormatError(
                    f"save {str(path)!r}: the name of a gradient takes {name_bytes} bytes, more than the "
                    f"{zipfiles.LARGEST_NAME} that a ZIP file can hold; use a shorter name, or {USE_ZARR}"
                )
            offset = members[-1].stop
        self._members = tuple(members)
        self._end_offset = offset
        self._crcs: dict[str, int] = {}
        arrays = sum(entry.outline is not None for entry in self._entries)
        self.rows = RowWriter(self._file.path, self._end_offset, arrays, len(outlines))

    def __reduce__(self) -> tuple[Any, ...]:
        return RowWriter, (self.rows.path, self.rows.records_offset, self.rows.arrays, self.rows.blocks)

    def start(self) -> None:
        """Lay out the file next to the target: headers and label tables, with room for values."""
        self._file.require_free()
        records: list[tuple[int, ...]] = []
        first_arrays: list[int] = []
        with self._file.create() as stream:
            for entry, member in zip(self._entries, self._members, strict=True):
                if stream.tell() != member.header_offset:  # the member before is values, not written yet
                    stream.seek(member.header_offset)
                stream.write(zipfiles.local_header(member))
                stream.write(entry.header)
                crc = zlib.crc32(entry.header)
                self._crcs[entry.name] = crc
                if entry.labels is not None:
                    self._crcs[entry.name] = _write_labels(stream, entry.labels, crc)
                elif entry.outline is not None:
                    if not entry.path:
                        first_arrays.append(len(records))
                    start, outline = member.start + len(entry.header), entry.outline
                    dtype = npy.ELEMENT_TYPES.index(npy.element_type(outline.dtype))
                    shape = outline.shape[0], outline.row_bytes
                    records.append((start, *shape, dtype, crc, path_crc(entry.path)))
            # Where the ZIP directory will be: tasks look up there where their rows go.
            stream.seek(self._end_offset)
            stream.write(np.array(records, dtype=ARRAY_RECORD).tobytes())
            stream.write(np.array(first_arrays, dtype=np.int64).tobytes())

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> WrittenRows:
        """Write one chunk for each request; see :meth:`RowWriter.write`."""
        return self.rows.write(requests, chunks)

    def seams(self, parts: Sequence[Sequence[Request]]) -> list[Seam]:
        """Return no seams: every row has its bytes in the file, independent of the task that writes it."""
        return []

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Never called, since there are no seams."""
        raise AssertionError("an .mts file has no seams")

    def prepare(self, receipts: Sequence[Written], texts: Mapping[str, str] = NO_TEXTS) -> Unpublished:
        """Check that every row was written, finish the file and flush it; return what is to be published.

        The info is the last member, where the records of arrays were: ``texts`` are known only now.

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
                content = _info_content(str(self._file.target), info)
                member = StoredMember(layout.INFO, len(content), self._end_offset, zlib.crc32(content))
                stored = zipfiles.local_header(member) + content
                write_at(descriptor, stored, member.header_offset, self._file.path)
                members.append(member)
            end_offset = members[-1].stop
            end = zipfiles.directory(members, end_offset)
            write_at(descriptor, end, end_offset, self._file.path)
            os.ftruncate(descriptor, end_offset + len(end))
        finally:
            os.close(descriptor)
        self._file.prepare()
        return self._file

    def abort(self) -> None:
        """Remove what was written; an older file at the path stays."""
        self._file.abort()

    def _array_crcs(self, receipts: Sequence[Written]) -> dict[str, int]:
        """Combine the checksums of consecutive rows of each array, from its header to its last row."""
        # A task that ran twice has written the same twice.
        written = {rows for receipt in receipts if isinstance(receipt, WrittenRows) for rows in receipt.rows}
        by_array = {number: list(rows) for number, rows in groupby(sorted(written), attrgetter("array"))}
        arrays = [(entry.name, entry.outline) for entry in self._entries if entry.outline is not None]
        crcs: dict[str, int] = {}
        for number, (name, outline) in enumerate(arrays):
            crc, done = self._crcs[name], 0
            for rows in by_array.get(number, []):
                if rows.start != done:
                    break
                nbytes = (rows.stop - rows.start) * outline.row_bytes
                crc = rows.crc if rows.start == 0 else zipfiles.combine_crc(crc, rows.crc, nbytes)
                done = rows.stop
            else:
                if done == outline.shape[0]:
                    crcs[name] = crc
                    continue
            raise UnfinishedArchiveError(
                f"save {str(self._file.target)!r}: rows of {name!r} were not written once each, from row "
                f"{done} of {outline.shape[0]} on; save again: what was at this path is unchanged"
            )
        return crcs


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
        self._header = _table_entry(str(path), "labels", labels).header

    def start(self) -> None:
        """Write the complete file next to the target."""
        self._file.require_free()
        with self._file.create() as stream:
            stream.write(self._header)
            _write_labels(stream, self._labels, 0)

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


def _write_labels(stream: BinaryIO, labels: Labels, crc: int) -> int:
    """Write the rows of labels, and continue the checksum of what comes before them."""
    for start in range(0, len(labels), TABLE_ROWS):
        rows = labels.read(start, min(start + TABLE_ROWS, len(labels)))
        content = np.ascontiguousarray(rows, dtype="<i4").tobytes()
        stream.write(content)
        crc = zlib.crc32(content, crc)
    return crc


def _planned_entries(
    path: str,
    kind: layout.FileKind,
    keys: Labels,
    metadata: Sequence[BlockMetadata],
    outlines: Sequence[Outline],
) -> Iterator[_Entry]:
    assert kind == "map" or len(outlines) == 1, "a file of a block has one block"
    if kind == "map":
        assert len(keys) == len(outlines), "a map has one key for each block"
        yield _table_entry(path, layout.KEYS, keys)
    for number, (labels, outline) in enumerate(zip(metadata, outlines, strict=True)):
        yield from _block_entries(path, layout.block_prefix(kind, number), labels, outline)


def _block_entries(path: str, block: str, metadata: BlockMetadata, outline: Outline) -> Iterator[_Entry]:
    for parameters, array in outline.walk():
        if parameters and not layout.is_parameter(parameters[-1]):
            raise FileFormatError(
                f"save {path!r}: the gradient parameter {parameters[-1]!r} cannot be part of a name in the "
                f"file: metatensor loads none with a slash or a zero byte; use another name, or {USE_ZARR}"
            )
        if len(parameters) > layout.MAX_GRADIENT_DEPTH:
            raise FileFormatError(
                f"save {path!r}: the gradients {'/'.join(parameters)!r} are nested deeper than "
                f"{layout.MAX_GRADIENT_DEPTH}; {USE_ZARR}"
            )
        prefix, labels = reduce(layout.gradient_prefix, parameters, block), metadata.at(parameters)
        name = layout.values_name(prefix)
        if npy.element_type(array.dtype) not in npy.ELEMENT_TYPES:
            raise FileFormatError(
                f"save {path!r}: {name!r} has type {array.dtype}, and .mts files hold only "
                f"{', '.join(npy.ELEMENT_TYPES)}; convert it, for example to float64"
            )
        header = npy.encode_array_header(array.dtype, array.shape)
        yield _Entry(name, header, outline=array, path=parameters)
        yield _table_entry(path, layout.samples_name(prefix), labels.samples)
        for number, component in enumerate(labels.components):
            yield _table_entry(path, layout.component_name(prefix, number), component)
        if not parameters:
            yield _table_entry(path, layout.properties_name(prefix), labels.properties)


def _table_entry(path: str, name: str, labels: Labels) -> _Entry:
    if not labels.names:
        raise FileFormatError(
            f"save {path!r}: {name!r} are labels without dimensions, which metatensor cannot load; {USE_ZARR}"
        )
    return _Entry(name, npy.encode_table_header(labels.names, len(labels)), labels=labels)


def _info_content(path: str, info: Mapping[str, str]) -> bytes:
    try:
        return json.dumps(dict(info), indent=2, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FileFormatError(f"save {path!r}: its info is not valid text ({error}); correct it") from None
