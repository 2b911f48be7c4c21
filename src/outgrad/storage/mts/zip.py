"""The directory of a ZIP file: read with every rule checked before memory is taken, and written.

Python's ``zipfile`` is not used for reading: before 3.11.8 it accepts entries that overlap (CVE-2024-0450),
it does not compare sizes in the local headers, and it stops at the first odd name without saying where.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
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
"""DEFLATE gives at most 258 bytes for 2 bits: a file that declares more lies."""
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
    content = file.read(end.offset, end.size)
    members: dict[str, Member] = {}
    for stored_name, member in _directory_entries(file, content, end.entries):
        if member.name in members:
            raise file_error(file.where(member.name), "the directory has this name twice")
        members[member.name] = member._replace(start=_data_start(file, stored_name, member))
    ordered = sorted(members.values(), key=lambda member: member.header_offset)
    limits = [*(member.header_offset for member in ordered), end.offset][1:]
    for member, limit in zip(ordered, limits, strict=True):
        if member.start + member.compressed_bytes > limit:
            raise file_error(
                file.where(member.name), f"it overlaps what starts at byte {limit} or leaves the file"
            )
    return members


def require_readable(file: MtsSource, member: Member) -> None:
    """Raise if the bytes of a member cannot be read: encrypted, another compression, impossible sizes.

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
    """Find the end record, which a comment may follow, and compare it with its 64-bit form."""
    if file.size < END.size or file.read(0, 4) not in (LOCAL_MARK, END_MARK):
        raise file_error(repr(file.path), "it is not a ZIP file")
    tail_offset = max(0, file.size - END.size - FULL16)
    tail = file.read(tail_offset, file.size - tail_offset)
    position = tail.rfind(END_MARK)
    while position >= 0:
        # Bytes after the comment, such as padding, are ignored as by others.
        if position + END.size <= len(tail):
            record = END.unpack_from(tail, position)
            if position + END.size + record[-1] <= len(tail):
                break
        position = tail.rfind(END_MARK, 0, position)
    else:
        raise file_error(repr(file.path), "its ZIP directory is missing: it was truncated, or never finished")
    _, disk, directory_disk, entries_here, entries, size, offset, _ = record
    end, limit = _End(entries, size, offset), tail_offset + position
    if file.read(max(0, limit - LOCATOR64.size), 4) == LOCATOR64_MARK:
        end64, limit = _find_end64(file, limit)
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


def _find_end64(file: MtsSource, end_offset: int) -> tuple[_End, int]:
    """Read the 64-bit end record, which a locator before the other one points to; return its offset too."""
    _, _, offset, disks = LOCATOR64.unpack(file.read(end_offset - LOCATOR64.size, LOCATOR64.size))
    if offset + END64.size != end_offset - LOCATOR64.size or disks != 1:
        raise file_error(repr(file.path), "its zip64 end record is not where the locator says")
    record = END64.unpack(file.read(offset, END64.size))
    mark, _, _, _, disk, directory_disk, entries_here, entries, size, start = record
    if mark != END64_MARK or disk or directory_disk or entries_here != entries:
        raise file_error(repr(file.path), "its zip64 end record is corrupted")
    return _End(entries, size, start), offset


def _directory_entries(file: MtsSource, content: bytes, count: int) -> Iterator[tuple[bytes, Member]]:
    """Yield each member of the directory, and its name as it is stored."""
    position = 0
    for _ in range(count):
        if position + CENTRAL.size > len(content):
            raise file_error(repr(file.path), f"its ZIP directory ends before its {count} members")
        record = CENTRAL.unpack_from(content, position)
        mark, _, _, flags, method, _, _, crc, compressed, nbytes, *lengths, disk, _, _, offset = record
        name_offset = position + CENTRAL.size
        extra_offset = name_offset + lengths[0]
        comment_offset = extra_offset + lengths[1]
        position = comment_offset + lengths[2]
        if mark != CENTRAL_MARK or position > len(content):
            raise file_error(repr(file.path), "its ZIP directory is corrupted")
        stored_name, extra = content[name_offset:extra_offset], content[extra_offset:comment_offset]
        # A name that is not UTF-8 does not fit the layout in any encoding.
        name = stored_name.decode(*("utf-8", "surrogateescape") if flags & UTF8_FLAG else ("cp437",))
        nbytes, compressed, offset = _widen(file, name, extra, (nbytes, compressed, offset))
        if disk not in (0, FULL16):
            raise file_error(file.where(name), "it lies in another part of a ZIP file in several parts")
        yield stored_name, Member(name, flags, method, crc, compressed, nbytes, offset)
    if position != len(content):
        raise file_error(repr(file.path), f"its ZIP directory goes on after its {count} members")


def _widen(file: MtsSource, name: str, extra: bytes, fields: tuple[int, ...]) -> tuple[int, ...]:
    """Replace fields that are full by the 64-bit numbers of the zip64 extra field, in its fixed order."""
    if FULL32 not in fields:
        return fields
    numbers: tuple[int, ...] = ()
    position = 0
    while position + 4 <= len(extra):
        kind, nbytes = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            body = extra[position + 4 : position + 4 + nbytes]
            numbers = struct.unpack_from(f"<{min(len(body) // 8, 3)}Q", body)
            break
        position += 4 + nbytes
    if len(numbers) < fields.count(FULL32):
        raise file_error(file.where(name), "its zip64 record is missing or corrupted")
    remaining = iter(numbers)
    return tuple(next(remaining) if field == FULL32 else field for field in fields)


def _data_start(file: MtsSource, stored_name: bytes, member: Member) -> int:
    """Find where the bytes of a member start; its local header must agree with the directory."""
    # Nearly always one read: other writers' extra fields are shorter than 64 bytes.
    likely_bytes = LOCAL.size + len(stored_name) + 64
    start = file.read(member.header_offset, max(0, min(likely_bytes, file.size - member.header_offset)))
    if len(start) < LOCAL.size or not start.startswith(LOCAL_MARK):
        raise file_error(
            file.where(member.name), f"there is no header of a member at byte {member.header_offset}"
        )
    _, _, flags, method, _, _, crc, compressed, nbytes, name_bytes, extra_bytes = LOCAL.unpack_from(start)
    header_bytes = LOCAL.size + name_bytes + extra_bytes
    if header_bytes > len(start):
        start = file.read(member.header_offset, header_bytes)
    extra = start[LOCAL.size + name_bytes : header_bytes]
    nbytes, compressed = _widen(file, member.name, extra, (nbytes, compressed))
    compared = ENCRYPTED_FLAGS if stored_name.isascii() else ENCRYPTED_FLAGS | UTF8_FLAG
    local = (start[LOCAL.size : LOCAL.size + name_bytes], flags & compared, method)
    expected = (stored_name, member.flags & compared, member.method)
    # With a data descriptor, sizes follow the data, and may be zero or full in the header.
    unknown = (0, FULL32) if flags & DESCRIPTOR_FLAG else ()
    sizes = zip((crc, compressed, nbytes), (member.crc, member.compressed_bytes, member.nbytes), strict=True)
    if local != expected or any(size != known and size not in unknown for size, known in sizes):
        raise file_error(file.where(member.name), "its header disagrees with the ZIP directory")
    return int(member.header_offset + header_bytes)


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
    headers: list[bytes] = []
    for member in members:
        name = member.raw_name
        numbers = member.nbytes, member.nbytes, member.header_offset
        large = [number for number in numbers if number >= FULL32]
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        compressed, nbytes, header_offset = (min(number, FULL32) for number in numbers)
        fixed = CENTRAL.pack(
            CENTRAL_MARK, MADE_BY, VERSION, member.flags, STORED, TIME, DATE, member.crc, compressed, nbytes,
            len(name), len(extra), 0, 0, 0, ATTRIBUTES, header_offset,
        )  # fmt: skip
        headers.append(fixed + name + extra)
    entries = b"".join(headers)
    end = (len(members), len(entries), offset)
    tail = b""
    if any(number >= full for number, full in zip(end, FULLS, strict=True)):
        tail = END64.pack(
            END64_MARK, END64.size - 12, MADE_BY, VERSION, 0, 0, end[0], end[0], end[1], end[2]
        ) + LOCATOR64.pack(LOCATOR64_MARK, 0, offset + len(entries), 1)
    count, size, start = (min(number, full) for number, full in zip(end, FULLS, strict=True))
    return entries + tail + END.pack(END_MARK, 0, 0, count, count, size, start, 0)


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
