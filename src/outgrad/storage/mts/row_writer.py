"""Rows of arrays written in place into an unfinished ``.mts`` file, by any process."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Array, Chunk
from outgrad.data.requests import Request, Written
from outgrad.errors import ArchiveError, UnfinishedArchiveError
from outgrad.storage.files import naming
from outgrad.storage.mts.npy import ELEMENT_TYPES
from outgrad.storage.open_files import OpenFiles

ARRAY_RECORD = np.dtype(
    [
        ("start", "<i8"),
        ("rows", "<i8"),
        ("row_bytes", "<i8"),
        ("dtype", "<u4"),
        ("header_crc", "<u4"),
        ("path_crc", "<u4"),
    ]
)
"""Where an array lies in the file. Until the file is complete, these are where the ZIP directory will be."""
ArrayRecords = npt.NDArray[np.void]
FirstArrays = npt.NDArray[np.int64]
"""For each block the number of its first array: that of the values, before those of the gradients."""


class RowReceipt(NamedTuple):
    """Rows of one array that were written, and the CRC-32 of their bytes.

    The checksum of the first rows covers the ``.npy`` header before them too.
    """

    array: int
    start: int
    stop: int
    crc: int


@dataclass(frozen=True)
class WrittenRows(Written):
    """What one task has written into an ``.mts`` file."""

    rows: tuple[RowReceipt, ...] = ()


@dataclass(frozen=True)
class RowWriter:
    """What a task carries in order to write: the unfinished file, and where in it the arrays are listed."""

    path: str
    records_offset: int
    arrays: int
    blocks: int

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> WrittenRows:
        """Write one chunk for each request; writing the same again changes nothing.

        Parameters
        ----------
        requests : sequence of Request
            Row ranges of the values and of every gradient, in the order of the outline.
        chunks : sequence of Chunk
            The rows.

        Returns
        -------
        WrittenRows
            Bytes, rows and their checksums.

        Raises
        ------
        UnfinishedArchiveError
            If the unfinished file is gone.
        OSError
            If the disk does not take the bytes.
        """
        records, first_arrays = _records.get(self, partial(_read_records, self))
        receipts: list[RowReceipt] = []
        descriptor = _open(self.path)
        try:
            for request, chunk in zip(requests, chunks, strict=True):
                parts = zip(chunk.walk(), request.ranges, strict=True)
                first = int(first_arrays[request.block])
                for number, ((path, part), (start, stop)) in enumerate(parts, first):
                    record = records[number]
                    if record["path_crc"] != path_crc(path):
                        raise self._misfit(request, f"the gradient {path} is not in its place")
                    if stop > start:
                        crc = self._write_rows(descriptor, request, record, part.values, start, stop)
                        receipts.append(RowReceipt(number, start, stop, crc))
        finally:
            os.close(descriptor)
        nbytes = sum((rows.stop - rows.start) * int(records[rows.array]["row_bytes"]) for rows in receipts)
        return WrittenRows(nbytes, rows=tuple(receipts))

    def _write_rows(
        self, descriptor: int, request: Request, record: Any, values: Array, start: int, stop: int
    ) -> int:
        """Write rows in place, unless they would overwrite others or be read back as other numbers."""
        rows, row_bytes = int(record["rows"]), int(record["row_bytes"])
        dtype = np.dtype(ELEMENT_TYPES[int(record["dtype"])])
        if not (0 <= start <= stop <= rows and len(values) == stop - start):
            raise self._misfit(request, f"{len(values)} rows are for rows {(start, stop)} of {rows}")
        if values.dtype != dtype or values.nbytes != (stop - start) * row_bytes:
            got = f"shape {values.shape} and dtype {values.dtype}"
            raise self._misfit(request, f"{got}, the file is for rows of {row_bytes} bytes of {dtype}")
        content = np.ascontiguousarray(values, dtype=dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
        write_at(descriptor, content, int(record["start"]) + start * row_bytes, self.path)
        return zlib.crc32(content, int(record["header_crc"]) if start == 0 else 0)

    def _misfit(self, request: Request, reason: str) -> ArchiveError:
        return ArchiveError(
            f"save {self.path!r}: a chunk of block {request.block} does not fit what was planned: "
            f"{reason}; nothing was changed: compute the map alone to see which of its tasks makes it"
        )


def path_crc(path: tuple[str, ...]) -> int:
    """Return a number for a path of gradient parameters, to notice gradients in a wrong order."""
    return zlib.crc32("/".join(path).encode())


def write_at(descriptor: int, content: memoryview | bytes, offset: int, path: str) -> None:
    """Write bytes at a position; an error names the file."""
    remaining = memoryview(content)
    with naming(path):
        while len(remaining):
            count = os.pwrite(descriptor, remaining, offset)
            remaining, offset = remaining[count:], offset + count


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        raise UnfinishedArchiveError(
            f"save {path!r}: the unfinished file is gone; either saving was stopped, or this worker does not "
            "see the folder of the target: use a folder that all workers share"
        ) from None


_records: OpenFiles[RowWriter, tuple[ArrayRecords, FirstArrays]] = OpenFiles(16)


def _read_records(writer: RowWriter) -> tuple[ArrayRecords, FirstArrays]:
    descriptor = _open(writer.path)
    try:
        record_bytes = writer.arrays * ARRAY_RECORD.itemsize
        content = os.pread(descriptor, record_bytes + 8 * writer.blocks, writer.records_offset)
    finally:
        os.close(descriptor)
    records = np.frombuffer(content[:record_bytes], dtype=ARRAY_RECORD)
    return records, np.frombuffer(content[record_bytes:], dtype=np.int64)
