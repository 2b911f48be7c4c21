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
from outgrad.storage.mts.npy import DTYPES
from outgrad.storage.open_files import OpenFiles

PLACE = np.dtype(
    [
        ("start", "<i8"),
        ("rows", "<i8"),
        ("row_bytes", "<i8"),
        ("dtype", "<u4"),
        ("header_crc", "<u4"),
        ("path_crc", "<u4"),
    ]
)
"""Where an array lies in the file: the table of these stands where the ZIP directory will be."""
Places = npt.NDArray[np.void]
Firsts = npt.NDArray[np.int64]


class Rows(NamedTuple):
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

    rows: tuple[Rows, ...] = ()


@dataclass(frozen=True)
class RowWriter:
    """What a task carries in order to write: the unfinished file, and where in it the places are listed."""

    path: str
    places_at: int
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
        places, firsts = _places.get(self, partial(_read_places, self))
        written: list[Rows] = []
        descriptor = _open(self.path)
        try:
            for request, chunk in zip(requests, chunks, strict=True):
                arrays = zip(chunk.walk(), request.ranges, strict=True)
                for number, ((path, part), (start, stop)) in enumerate(arrays, int(firsts[request.block])):
                    place = places[number]
                    if place["path_crc"] != path_crc(path):
                        raise _misfit(self.path, request, f"the gradient {path} is not in its place")
                    if stop > start:
                        _check_rows(self.path, request, place, part.values, (start, stop))
                        crc = self._write_rows(descriptor, place, part.values, start, stop)
                        written.append(Rows(number, start, stop, crc))
        finally:
            os.close(descriptor)
        nbytes = sum((rows.stop - rows.start) * int(places[rows.array]["row_bytes"]) for rows in written)
        return WrittenRows(nbytes, rows=tuple(written))

    def _write_rows(self, descriptor: int, place: Any, values: Array, start: int, stop: int) -> int:
        dtype = np.dtype(DTYPES[int(place["dtype"])]).newbyteorder("<")
        content = np.ascontiguousarray(values, dtype=dtype).reshape(-1).view(np.uint8).data
        write_at(descriptor, content, int(place["start"]) + start * int(place["row_bytes"]), self.path)
        return zlib.crc32(content, int(place["header_crc"]) if start == 0 else 0)


def _check_rows(path: str, request: Request, place: Any, values: Array, span: tuple[int, int]) -> None:
    """Refuse rows that would go over others, or be read back as other numbers."""
    rows, row_bytes = span[1] - span[0], int(place["row_bytes"])
    dtype = np.dtype(DTYPES[int(place["dtype"])])
    if not (0 <= span[0] <= span[1] <= place["rows"] and len(values) == rows):
        raise _misfit(path, request, f"{len(values)} rows are for rows {span} of {place['rows']}")
    if values.dtype != dtype or values.nbytes != rows * row_bytes:
        found = f"shape {values.shape} and dtype {values.dtype}"
        raise _misfit(path, request, f"{found}, the file is for rows of {row_bytes} bytes of {dtype}")


def _misfit(path: str, request: Request, found: str) -> ArchiveError:
    return ArchiveError(
        f"cannot write into {path!r}: a chunk of block {request.block} does not fit what was planned: "
        f"{found}; nothing was changed"
    )


def path_crc(path: tuple[str, ...]) -> int:
    """A number for a path of gradient parameters, by which a wrong order of gradients is noticed."""
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
            f"cannot write into {path!r}: the unfinished file is gone. Either saving was stopped, or this "
            "worker does not see the folder of the target: use a folder that all workers share."
        ) from None


_places: OpenFiles[RowWriter, tuple[Places, Firsts]] = OpenFiles(16)


def _read_places(writer: RowWriter) -> tuple[Places, Firsts]:
    descriptor = _open(writer.path)
    try:
        place_bytes = writer.arrays * PLACE.itemsize
        content = os.pread(descriptor, place_bytes + 8 * writer.blocks, writer.places_at)
    finally:
        os.close(descriptor)
    places = np.frombuffer(content[:place_bytes], dtype=PLACE)
    return places, np.frombuffer(content[place_bytes:], dtype=np.int64)
