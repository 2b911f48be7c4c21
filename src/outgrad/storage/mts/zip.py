"""The directory of a ZIP file: read with every rule checked before memory is taken, and written.

Python's ``zipfile`` is not used for reading: before 3.11.8 it accepts entries that overlap (CVE-2024-0450),
it does not compare sizes in the local headers, and it stops at the first odd name without saying where.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from outgrad.storage.mts.file import MtsSource, file_error

STORED, DEFLATED = 0, 8

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")
LOCAL_MARK, CENTRAL_MARK, END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
END64_MARK, LOCATOR64_MARK = b"PK\x06\x06", b"PK\x06\x07"

ENCRYPTED_FLAGS = 0x0001 | 0x0040 | 0x2000
DESCRIPTOR_FLAG = 0x0008
UTF8_FLAG = 0x0800
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
"""In a 16- or 32-bit field: the number is in the zip64 record instead."""

LARGEST_EXPANSION = 1032
"""DEFLATE gives at most 258 bytes for 2 bits: whoever declares more lies."""
LARGEST_NAME = FULL16
"""Bytes of a name: headers count them in 16 bits."""


class Member(NamedTuple):
    """One entry of the directory; ``start`` is where its bytes begin, compressed or not."""

    name: str
    flags: int
    method: int
    crc: int
    compressed_bytes: int
    nbytes: int
    header_offset: int
    start: int = -1


class _End(NamedTuple):
    entries: int
    size: int
    offset: int


def read_directory(file: MtsSource) -> dict[str, Member]:
    """Read and check the directory of a ZIP file.

    Whether a member can be read is another question: see :func:`require_readable`.

    Returns
    -------
    dict
        Members by name, in the order of the directory; none overlaps another or leaves the file.

    Raises
    ------
    FileFormatError
        If the file is not a ZIP file, is truncated, or breaks a rule.
    """
    end = _find_end(file)
    # Of every member, the name is in the file twice, once with 46 and once with 30 bytes.
    if end.entries * (CENTRAL.size + LOCAL.size) > file.size:
        raise file_error(
            repr(file.path), f"its directory claims {end.entries} members, more than fit into it"
        )
    directory = file.read(end.offset, end.size)
    members: dict[str, Member] = {}
    for raw, member in _entries(file, directory, end.entries):
        if member.name in members:
            raise file_error(file.where(member.name), "the directory has this name twice")
        members[member.name] = _located(file, raw, member)
    _check_overlaps(file, members.values(), end.offset)
    return members


def require_readable(file: MtsSource, member: Member) -> None:
    """Raise if the bytes of a member cannot be had: encrypted, another compression, sizes that are lies.

    What is inflated is at most 1,032 times as large as what is compressed, and honest files come near that:
    a table of nothing but zeros does. So a declared size is compared with what is possible, and not with
    what is usual; see :class:`~outgrad.storage.mts.file.Limits` for what is read at once.
    """
    where = file.where(member.name)
    if member.flags & ENCRYPTED_FLAGS:
        raise file_error(where, "it is encrypted", "decrypt the file first")
    if member.method not in (STORED, DEFLATED):
        raise file_error(where, f"it is compressed by method {member.method}, not stored or deflated")
    if member.method == STORED and member.compressed_bytes != member.nbytes:
        raise file_error(
            where, f"it is stored in {member.compressed_bytes} bytes but declares {member.nbytes}"
        )
    if member.method == DEFLATED and member.nbytes > LARGEST_EXPANSION * member.compressed_bytes:
        raise file_error(
            where,
            f"it declares {member.nbytes} bytes, more than {LARGEST_EXPANSION} times its "
            f"{member.compressed_bytes} compressed bytes, which is impossible",
        )


def _find_end(file: MtsSource) -> _End:
    if file.size < END.size or file.read(0, 4) not in (LOCAL_MARK, END_MARK):
        raise file_error(repr(file.path), "it is not a ZIP file")
    tail_at = max(0, file.size - END.size - FULL16)
    tail = file.read(tail_at, file.size - tail_at)
    found = tail.rfind(END_MARK)
    while found >= 0:
        if found + END.size <= len(tail):
            record = END.unpack_from(tail, found)
            # Bytes after the comment, such as padding, are ignored as by others.
            if found + END.size + record[-1] <= len(tail):
                return _checked_end(file, record, tail_at + found)
        found = tail.rfind(END_MARK, 0, found)
    raise file_error(repr(file.path), "its ZIP directory is missing: it was truncated, or never finished")


def _checked_end(file: MtsSource, record: tuple[int, ...], position: int) -> _End:
    _, disk, directory_disk, entries_here, entries, size, offset, _ = record
    end, limit = _End(entries, size, offset), position
    if file.read(max(0, position - LOCATOR64.size), 4) == LOCATOR64_MARK:
        end64, limit = _find_end64(file, position)
        if any(small not in (big, full) for small, big, full in zip(end, end64, FULLS, strict=True)):
            raise file_error(repr(file.path), "the two end records of its ZIP directory differ")
        end = end64
    elif disk or directory_disk or entries_here != entries:
        raise file_error(repr(file.path), "it is one part of a ZIP file in several parts")
    if end.offset + end.size != limit:
        raise file_error(
            repr(file.path), f"its ZIP directory is not where the end record says, before byte {limit}"
        )
    return end


FULLS = (FULL16, FULL32, FULL32)


def _find_end64(file: MtsSource, position: int) -> tuple[_End, int]:
    _, _, offset, disks = LOCATOR64.unpack(file.read(position - LOCATOR64.size, LOCATOR64.size))
    if offset + END64.size != position - LOCATOR64.size or disks != 1:
        raise file_error(repr(file.path), "its zip64 end record is not where the locator says")
    record = END64.unpack(file.read(offset, END64.size))
    mark, _, _, _, disk, directory_disk, entries_here, entries, size, start = record
    if mark != END64_MARK or disk or directory_disk or entries_here != entries:
        raise file_error(repr(file.path), "its zip64 end record is damaged")
    return _End(entries, size, start), offset


def _entries(file: MtsSource, directory: bytes, count: int) -> Iterator[tuple[bytes, Member]]:
    """Yield each member, and its name as it is in the file."""
    position = 0
    for _ in range(count):
        if position + CENTRAL.size > len(directory):
            raise file_error(repr(file.path), f"its ZIP directory ends before its {count} members")
        record = CENTRAL.unpack_from(directory, position)
        names_at = position + CENTRAL.size
        extra_at = names_at + record[10]
        position = extra_at + record[11] + record[12]
        if record[0] != CENTRAL_MARK or position > len(directory):
            raise file_error(repr(file.path), "its ZIP directory is damaged")
        raw, extra = directory[names_at:extra_at], directory[extra_at : extra_at + record[11]]
        yield raw, _entry(file, record, raw, extra)
    if position != len(directory):
        raise file_error(repr(file.path), f"its ZIP directory goes on after its {count} members")


def _entry(file: MtsSource, record: tuple[int, ...], raw: bytes, extra: bytes) -> Member:
    _, _, _, flags, method, _, _, crc, compressed, nbytes, _, _, _, disk, _, _, offset = record
    # A name that is no UTF-8 does not fit the layout, whatever it is.
    name = raw.decode(*("utf-8", "surrogateescape") if flags & UTF8_FLAG else ("cp437",))
    nbytes, compressed, offset = _widen(file, name, extra, (nbytes, compressed, offset))
    if disk not in (0, FULL16):
        raise file_error(file.where(name), "it lies in another part of a ZIP file in several parts")
    return Member(name, flags, method, crc, compressed, nbytes, offset)


def _widen(file: MtsSource, name: str, extra: bytes, fields: tuple[int, ...]) -> tuple[int, ...]:
    """Replace fields that are full by the 64-bit numbers of the zip64 extra field, in its fixed order."""
    if FULL32 not in fields:
        return fields
    wanted = [place for place, field in enumerate(fields) if field == FULL32]
    numbers = _zip64_numbers(extra)
    if len(numbers) < len(wanted):
        raise file_error(file.where(name), "its zip64 record is missing or damaged")
    widened = list(fields)
    for place, number in zip(wanted, numbers, strict=False):
        widened[place] = number
    return tuple(widened)


def _zip64_numbers(extra: bytes) -> tuple[int, ...]:
    position = 0
    while position + 4 <= len(extra):
        kind, nbytes = struct.unpack_from("<HH", extra, position)
        body = extra[position + 4 : position + 4 + nbytes]
        if kind == 1:
            return struct.unpack_from(f"<{min(len(body) // 8, 3)}Q", body)
        position += 4 + nbytes
    return ()


def _located(file: MtsSource, raw: bytes, member: Member) -> Member:
    """Find where the bytes of a member start; its local header must agree with the directory."""
    header_bytes = LOCAL.size + len(raw) + 64
    start = file.read(member.header_offset, max(0, min(header_bytes, file.size - member.header_offset)))
    if len(start) < LOCAL.size or not start.startswith(LOCAL_MARK):
        raise file_error(
            file.where(member.name), f"there is no header of a member at byte {member.header_offset}"
        )
    _, _, flags, method, _, _, crc, compressed, nbytes, name_bytes, extra_bytes = LOCAL.unpack_from(start)
    header = LOCAL.size + name_bytes + extra_bytes
    if header > len(start):
        start = file.read(member.header_offset, header)
    extra = start[LOCAL.size + name_bytes : header]
    nbytes, compressed = _widen(file, member.name, extra, (nbytes, compressed))
    compared = ENCRYPTED_FLAGS if raw.isascii() else ENCRYPTED_FLAGS | UTF8_FLAG
    found = (start[LOCAL.size : LOCAL.size + name_bytes], flags & compared, method)
    expected = (raw, member.flags & compared, member.method)
    # With a data descriptor, sizes follow the data, and may be zero or full in the header.
    unknown = (0, FULL32) if flags & DESCRIPTOR_FLAG else ()
    sizes = zip((crc, compressed, nbytes), (member.crc, member.compressed_bytes, member.nbytes), strict=True)
    if found != expected or any(size != known and size not in unknown for size, known in sizes):
        raise file_error(file.where(member.name), "its header disagrees with the ZIP directory")
    return member._replace(start=member.header_offset + header)


def _check_overlaps(file: MtsSource, members: Iterable[Member], directory_offset: int) -> None:
    ordered = sorted(members, key=lambda member: member.header_offset)
    starts = [*(member.header_offset for member in ordered), directory_offset]
    for member, limit in zip(ordered, starts[1:], strict=True):
        if member.start + member.compressed_bytes > limit:
            raise file_error(
                file.where(member.name), f"it overlaps what starts at byte {limit} or leaves the file"
            )


# ---- writing -------------------------------------------------------------------------------------

VERSION = 45
"""The ZIP version that has zip64."""
MADE_BY = 3 << 8 | VERSION
DATE, TIME = 20 << 9 | 1 << 5 | 1, 0
"""2000-01-01, as metatensor writes, so that equal data gives equal files."""
ATTRIBUTES = 0o100644 << 16


class StoredMember(NamedTuple):
    """A member to be written uncompressed."""

    name: str
    nbytes: int
    header_offset: int
    crc: int = 0

    @property
    def raw_name(self) -> bytes:
        return self.name.encode("utf-8")

    @property
    def flags(self) -> int:
        return 0 if self.name.isascii() else UTF8_FLAG

    @property
    def header_bytes(self) -> int:
        return LOCAL.size + len(self.raw_name) + 20

    @property
    def start(self) -> int:
        return self.header_offset + self.header_bytes

    @property
    def stop(self) -> int:
        return self.start + self.nbytes


def local_header(member: StoredMember) -> bytes:
    """Return the header before a member: always with 64-bit sizes, as metatensor and NumPy write it."""
    name = member.raw_name
    fixed = LOCAL.pack(
        LOCAL_MARK, VERSION, member.flags, STORED, TIME, DATE, member.crc, FULL32, FULL32, len(name), 20
    )
    return fixed + name + struct.pack("<HHQQ", 1, 16, member.nbytes, member.nbytes)


def directory(members: Sequence[StoredMember], offset: int) -> bytes:
    """Return the ZIP directory and its end records, to be written at ``offset``."""
    entries = b"".join(map(_central_header, members))
    end = (len(members), len(entries), offset)
    tail = b""
    if any(number >= full for number, full in zip(end, FULLS, strict=True)):
        tail = END64.pack(
            END64_MARK, END64.size - 12, MADE_BY, VERSION, 0, 0, end[0], end[0], end[1], end[2]
        ) + LOCATOR64.pack(LOCATOR64_MARK, 0, offset + len(entries), 1)
    count, size, start = (min(number, full) for number, full in zip(end, FULLS, strict=True))
    return entries + tail + END.pack(END_MARK, 0, 0, count, count, size, start, 0)


def _central_header(member: StoredMember) -> bytes:
    name = member.raw_name
    large = [number for number in (member.nbytes, member.nbytes, member.header_offset) if number >= FULL32]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    nbytes, offset = min(member.nbytes, FULL32), min(member.header_offset, FULL32)
    fixed = CENTRAL.pack(
        CENTRAL_MARK, MADE_BY, VERSION, member.flags, STORED, TIME, DATE, member.crc, nbytes, nbytes,
        len(name), len(extra), 0, 0, 0, ATTRIBUTES, offset,
    )  # fmt: skip
    return fixed + name + extra


# ---- checksums -----------------------------------------------------------------------------------

CRC_POLYNOMIAL = 0xEDB88320


def combine_crc(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-32 of two pieces of data from the CRC-32 of each.

    CRC(a + b) = CRC(a) · x^(8 · len(b)) + CRC(b) as polynomials over the integers modulo 2; so tasks
    compute the checksum of what they write, and nothing is read again.

    >>> import zlib
    >>> combine_crc(zlib.crc32(b"out"), zlib.crc32(b"grad"), 4) == zlib.crc32(b"outgrad")
    True
    """
    return _multiply(_shift(second_bytes), first) ^ second


def _multiply(a: int, b: int) -> int:
    """Multiply two polynomials modulo the CRC's; the highest power is the lowest bit."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (CRC_POLYNOMIAL if b & 1 else 0)
    return product


@lru_cache(maxsize=4096)
def _shift(nbytes: int) -> int:
    """Return x^(8 · nbytes) by repeated squaring."""
    result, power = 1 << 31, 1 << 23  # x^0 and x^8
    while nbytes:
        if nbytes & 1:
            result = _multiply(result, power)
        power = _multiply(power, power)
        nbytes >>= 1
    return result
