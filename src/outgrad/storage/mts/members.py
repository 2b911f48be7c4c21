"""The bytes of one member at any position, stored or deflated, and the rows of its array or table."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Table
from outgrad.storage.memory import free_bytes, too_large
from outgrad.storage.mts.file import COPY_BYTES, MtsSource, file_error
from outgrad.storage.mts.npy import (
    MAX_HEADER_BYTES,
    PREFIX_BYTES,
    ArrayHeader,
    TableHeader,
    array_header,
    header_bytes,
    table_header,
)
from outgrad.storage.mts.zip import STORED, Member
from outgrad.storage.open_files import OpenFiles

COMPRESSED_PIECE_BYTES = 1 << 18
KEPT_INFLATERS = 64
"""For each open file; an inflater takes up to 300 KiB, most of it the compressed bytes that it was given."""


class Inflater:
    """A DEFLATE member being read forward; its memory does not depend on the size of the member."""

    def __init__(self, file: MtsSource, member: Member) -> None:
        self.file, self.member = file, member
        self.position = 0
        self._taken = 0
        self._pending = b""
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def copy(self) -> Inflater:
        """Return a second reader at the same position."""
        twin = Inflater(self.file, self.member)
        twin.position, twin._taken, twin._pending = self.position, self._taken, self._pending
        twin._stream = self._stream.copy()
        return twin

    def read(self, limit: int) -> bytes:
        """Return the next bytes: at least one, at most ``limit``."""
        while True:
            self._pending = self._pending or self._take()
            exhausted = not self._pending
            content = self._inflate(limit)
            if content:
                self.position += len(content)
                return content
            if exhausted or self._stream.eof:
                raise self._error(
                    f"its compressed data end after {self.position} of {self.member.nbytes} bytes"
                )

    def finish(self) -> None:
        """Raise unless the compressed data end here."""
        while not self._stream.eof:
            self._pending = self._pending or self._take()
            exhausted = not self._pending
            if self._inflate(1):
                raise self._error(
                    f"its compressed data hold more than the {self.member.nbytes} bytes declared"
                )
            if exhausted:
                raise self._error("its compressed data have no end")
        if self._stream.unused_data or self._taken < self.member.compressed_bytes:
            raise self._error("other bytes follow its compressed data")

    def _take(self) -> bytes:
        count = min(COMPRESSED_PIECE_BYTES, self.member.compressed_bytes - self._taken)
        piece = self.file.read(self.member.start + self._taken, count)
        self._taken += count
        return piece

    def _inflate(self, limit: int) -> bytes:
        try:
            content = self._stream.decompress(self._pending, limit)
        except zlib.error as error:
            raise self._error(f"its compressed data are corrupted ({error})") from None
        self._pending = self._stream.unconsumed_tail
        return content

    def _error(self, reason: str) -> Exception:
        return file_error(self.file.where(self.member.name), reason)


class MemberBytes:
    """Reads of the members of one file, by many threads at once.

    Compressed data can only be read forward, so readers are kept where they stopped: reading the chunks of
    an array one after the other inflates it once.
    """

    def __init__(self, file: MtsSource) -> None:
        self.file = file
        self._inflaters: OpenFiles[tuple[str, int], Inflater] = OpenFiles(KEPT_INFLATERS)

    def read(self, member: Member, start: int, nbytes: int) -> bytes:
        """Return some bytes of a member; the caller has checked that this many may be in memory."""
        if member.method == STORED and start + nbytes <= member.nbytes:
            return self.file.read(member.start + start, nbytes)
        target = bytearray(nbytes)
        self.read_into(memoryview(target), member, start)
        return bytes(target)

    def read_whole(self, member: Member) -> bytes:
        """Return all bytes of a member, and compare their checksum with that of the directory."""
        content = self.read(member, 0, member.nbytes)
        self.require_crc(member, zlib.crc32(content))
        return content

    def read_into(self, target: memoryview, member: Member, start: int) -> None:
        """Fill ``target`` with the bytes of a member from ``start`` on."""
        if start + len(target) > member.nbytes:
            raise file_error(self.file.where(member.name), f"it ends after {member.nbytes} bytes")
        if member.method == STORED:
            self.file.read_into(target, member.start + start)
        elif len(target):
            # Compressed data can only be read forward: go on from the nearest inflater that stopped before.
            kept = self._inflaters.snapshot()
            positions = [position for name, position in kept if name == member.name and position <= start]
            inflater = kept[member.name, max(positions)].copy() if positions else Inflater(self.file, member)
            while inflater.position < start:
                inflater.read(min(COPY_BYTES, start - inflater.position))
            while len(target):
                piece = inflater.read(min(COPY_BYTES, len(target)))
                target[: len(piece)] = piece
                target = target[len(piece) :]
            if inflater.position == member.nbytes:
                inflater.finish()
            elif inflater.position >= COPY_BYTES:  # to inflate less than that again costs little
                self._inflaters.put((member.name, inflater.position), inflater)

    def require_crc(self, member: Member, crc: int) -> None:
        """Raise if the checksum of all bytes of a member is not that of the directory."""
        if crc != member.crc:
            raise file_error(
                self.file.where(member.name),
                f"its checksum is {crc:08x}, the ZIP directory says {member.crc:08x}",
            )

    def pieces(self, member: Member) -> Iterator[bytes]:
        """Yield all bytes of a member, a piece at a time."""
        if member.method == STORED:
            for start in range(0, member.nbytes, COPY_BYTES):
                count = min(COPY_BYTES, member.nbytes - start)
                yield self.file.read(member.start + start, count)
            return
        inflater = Inflater(self.file, member)
        while inflater.position < member.nbytes:
            yield inflater.read(min(COPY_BYTES, member.nbytes - inflater.position))
        inflater.finish()


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array of numbers in a member."""

    member: Member
    header: ArrayHeader
    header_crc: int

    @property
    def rows(self) -> int:
        return self.header.shape[0]

    @property
    def trailing(self) -> tuple[int, ...]:
        return self.header.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements in memory: in the byte order of this machine."""
        return self.header.dtype.newbyteorder("=")


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A label table in a member."""

    member: Member
    header: TableHeader


def open_array(source: MemberBytes, member: Member) -> StoredArray:
    """Read the header of an array."""
    start, where = _header_start(source, member), source.file.where(member.name)
    header = array_header(start, member.nbytes, where)
    return StoredArray(member, header, zlib.crc32(start[: header.nbytes]))


def open_table(source: MemberBytes, member: Member) -> StoredTable:
    """Read the header of a label table."""
    start, where = _header_start(source, member), source.file.where(member.name)
    return StoredTable(member, table_header(start, member.nbytes, where))


def _header_start(source: MemberBytes, member: Member) -> bytes:
    where = source.file.where(member.name)
    # One read finds nearly every header: both writers pad them to 128 or 192 bytes.
    start = source.read(member, 0, min(256, member.nbytes))
    wanted = header_bytes(start[:PREFIX_BYTES], where)
    assert wanted <= MAX_HEADER_BYTES + PREFIX_BYTES, "longer headers were refused"
    if wanted > member.nbytes:
        raise file_error(where, f"it ends inside its .npy header of {wanted} bytes")
    return start if wanted <= len(start) else source.read(member, 0, wanted)


def read_rows(source: MemberBytes, array: StoredArray, start: int, stop: int) -> Array:
    """Return rows [start, stop) of an array as a new array in C order and native byte order.

    A read of all rows compares the checksum.
    """
    header, count = array.header, stop - start
    row_size = prod(array.trailing)
    ranges: Iterable[Array]
    firsts: Iterable[int]
    try:
        if header.fortran_order:
            # In column-major order the wanted rows are one range of bytes in each column.
            columns = np.empty((*reversed(array.trailing), count), dtype=header.dtype)
            rows = columns.transpose()
            ranges = columns.reshape(row_size, count)
            firsts = (column * array.rows + start for column in range(row_size))
        else:
            rows = np.empty((count, *array.trailing), dtype=header.dtype)
            ranges, firsts = [rows], [start * row_size]
        crc = array.header_crc
        # Without rows a file may declare any number of columns: they are not visited one by one.
        for elements, first in zip(ranges, firsts, strict=True) if rows.size else ():
            content = _as_bytes(elements)
            source.read_into(content, array.member, header.nbytes + first * header.dtype.itemsize)
            crc = zlib.crc32(content, crc) if count == array.rows else 0
    except MemoryError:
        nbytes = count * row_size * array.dtype.itemsize
        raise too_large("read", str(source.file.where(array.member.name)), nbytes, free_bytes()) from None
    if count == array.rows:
        source.require_crc(array.member, crc)
    if not header.dtype.isnative:
        rows = rows.byteswap(inplace=True).view(array.dtype)
    return np.ascontiguousarray(rows)


def read_table(source: MemberBytes, table: StoredTable, start: int, stop: int) -> Table:
    """Return rows [start, stop) of a label table as (stop - start, d) integers, without a checksum."""
    header = table.header
    rows = np.empty((stop - start, len(header.names)), dtype=header.dtype)
    source.read_into(_as_bytes(rows), table.member, header.nbytes + start * header.row_bytes)
    return rows.astype(np.int32, copy=False)


def table_of(header: TableHeader, content: bytes) -> Table:
    """Return the label table in all the bytes of a member, without copying them if that is possible."""
    flat = np.frombuffer(content, dtype=header.dtype, offset=header.nbytes)
    rows = flat.reshape(header.rows, len(header.names))
    return rows if rows.flags.aligned and header.dtype.isnative else rows.astype(np.int32)


def _as_bytes(array: Array) -> memoryview:
    """The memory of an array in C order."""
    content: memoryview = array.reshape(-1).view(np.uint8).data
    return content
