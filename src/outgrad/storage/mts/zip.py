"""The directory of a ZIP file: read with every rule checked before memory is taken, and written.

Python's ``zipfile`` is not used for reading: before 3.11.8 it accepts entries that overlap (CVE-2024-0450),
it does not compare sizes in the local headers, and it stops at the first odd name without saying where.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from outgrad.errors import FileFormatError
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

TAIL_BYTES = 4096
"""Read first at the end of a file: more is needed only where a long comment follows the directory."""
DIRECTORY_PIECE_BYTES = 1 << 20
"""How much of a directory is in memory: data sets have directories of GB."""
LARGEST_ENTRY = CENTRAL.size + 3 * FULL16


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


class DirectoryEnd(NamedTuple):
    """What the end record says: how many members there are, and where the directory is."""

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
    end = find_end(file)
    members: dict[str, Member] = {}
    for stored_name, member in directory_entries(file, end):
        if member.name in members:
            raise file_error(file.where(member.name), TWICE)
        members[member.name] = with_start(file, stored_name, member)
    _require_apart(file, members.values(), end.offset)
    return members


TWICE = "the directory has this name twice"


def _require_apart(file: MtsSource, members: Iterable[Member], end_offset: int) -> None:
    """Raise if members overlap, or reach into the directory."""
    ordered = sorted(members, key=attrgetter("header_offset"))
    limits = [*map(attrgetter("header_offset"), ordered), end_offset][1:]
    for member, limit in zip(ordered, limits, strict=True):
        if member.start + member.compressed_bytes > limit:
            raise overlapping(file, member.name, limit)


def overlapping(file: MtsSource, name: str, limit: int) -> FileFormatError:
    """Build the error for a member that does not end before the byte ``limit``."""
    return file_error(file.where(name), f"it overlaps what starts at byte {limit} or leaves the file")


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


def find_end(file: MtsSource) -> DirectoryEnd:
    """Find the end record, which a comment may follow, and compare it with its 64-bit form.

    Raises
    ------
    FileFormatError
        If the file is not a ZIP file, or its end record says what cannot be.
    """
    if file.size < END.size or file.read(0, 4) not in (LOCAL_MARK, END_MARK):
        raise file_error(file.where(), "it is not a ZIP file")
    record, limit = _last_record(file, TAIL_BYTES) or _last_record(file, END.size + FULL16) or (None, 0)
    if record is None:
        raise file_error(file.where(), "its ZIP directory is missing: it was truncated, or never finished")
    _, disk, directory_disk, entries_here, entries, size, offset, _ = record
    end = DirectoryEnd(entries, size, offset)
    if file.read(max(0, limit - LOCATOR64.size), 4) == LOCATOR64_MARK:
        end64, limit = _find_end64(file, limit)
        if any(small not in (big, full) for small, big, full in zip(end, end64, FULLS, strict=True)):
            raise file_error(file.where(), "the two end records of its ZIP directory differ")
        end = end64
    elif disk or directory_disk or entries_here != entries:
        raise file_error(file.where(), "it is one part of a ZIP file in several parts")
    if end.offset + end.size != limit:
        raise file_error(
            file.where(), f"its ZIP directory is not where the end record says, before byte {limit}"
        )
    # Of every member, the name is in the file twice, once with 46 and once with 30 bytes.
    if end.entries * (CENTRAL.size + LOCAL.size) > file.size:
        raise file_error(file.where(), f"its directory claims {end.entries} members, more than fit into it")
    return end


def _last_record(file: MtsSource, nbytes: int) -> tuple[tuple[Any, ...], int] | None:
    """Find the last end record in the last bytes of a file, and where it starts."""
    tail_offset = max(0, file.size - nbytes)
    tail = file.read(tail_offset, file.size - tail_offset)
    position = tail.rfind(END_MARK)
    while position >= 0:
        # Bytes after the comment, such as padding, are ignored as by others.
        if position + END.size <= len(tail):
            record = END.unpack_from(tail, position)
            if position + END.size + record[-1] <= len(tail):
                return record, tail_offset + position
        position = tail.rfind(END_MARK, 0, position)
    return None


FULLS = (FULL16, FULL32, FULL32)


def _find_end64(file: MtsSource, end_offset: int) -> tuple[DirectoryEnd, int]:
    """Read the 64-bit end record, which a locator before the other one points to; return its offset too."""
    _, _, offset, disks = LOCATOR64.unpack(file.read(end_offset - LOCATOR64.size, LOCATOR64.size))
    if offset + END64.size != end_offset - LOCATOR64.size or disks != 1:
        raise file_error(file.where(), "its zip64 end record is not where the locator says")
    record = END64.unpack(file.read(offset, END64.size))
    mark, _, _, _, disk, directory_disk, entries_here, entries, size, start = record
    if mark != END64_MARK or disk or directory_disk or entries_here != entries:
        raise file_error(file.where(), "its zip64 end record is corrupted")
    return DirectoryEnd(entries, size, start), offset


def directory_entries(file: MtsSource, end: DirectoryEnd) -> Iterator[tuple[bytes, Member]]:
    """Yield each member of the directory, and its name as it is stored; memory stays at a few MiB.

    Where the bytes of a member start is not known yet: see :func:`with_start`.

    Raises
    ------
    FileFormatError
        If the directory breaks a rule.
    """
    content, position, remaining = b"", 0, end.size
    unpack, entry_bytes = CENTRAL.unpack_from, CENTRAL.size
    for _ in range(end.entries):
        if remaining and len(content) - position < LARGEST_ENTRY:
            piece_bytes = min(remaining, DIRECTORY_PIECE_BYTES)
            content = content[position:] + file.read(end.offset + end.size - remaining, piece_bytes)
            position, remaining = 0, remaining - piece_bytes
        if position + entry_bytes > len(content):
            raise file_error(file.where(), f"its ZIP directory ends before its {end.entries} members")
        (
            mark, _, _, flags, method, _, _, crc, compressed, nbytes,
            name_bytes, extra_bytes, comment_bytes, disk, _, _, offset,
        ) = unpack(content, position)  # fmt: skip
        name_offset = position + entry_bytes
        extra_offset = name_offset + name_bytes
        comment_offset = extra_offset + extra_bytes
        position = comment_offset + comment_bytes
        if mark != CENTRAL_MARK or position > len(content):
            raise file_error(file.where(), "its ZIP directory is corrupted")
        stored_name = content[name_offset:extra_offset]
        if flags & UTF8_FLAG or stored_name.isascii():
            name = stored_name.decode("utf-8", "surrogateescape")
        else:
            # A name that is not UTF-8 does not fit the layout in any encoding.
            name = stored_name.decode("cp437")
        if FULL32 in (nbytes, compressed, offset):
            extra = content[extra_offset:comment_offset]
            nbytes, compressed, offset = _widen(file, name, extra, (nbytes, compressed, offset))
        if disk not in (0, FULL16):
            raise file_error(file.where(name), "it lies in another part of a ZIP file in several parts")
        yield stored_name, Member(name, flags, method, crc, compressed, nbytes, offset)
    if position != len(content) or remaining:
        raise file_error(file.where(), f"its ZIP directory goes on after its {end.entries} members")


EXTRA = struct.Struct("<HH")
QUADS = [struct.Struct(f"<{count}Q") for count in range(4)]


def _widen(file: MtsSource, name: str, extra: bytes, fields: tuple[int, ...]) -> tuple[int, ...]:
    """Replace fields that are full by the 64-bit numbers of the zip64 extra field, in its fixed order."""
    numbers, wanted = _zip64_numbers(extra), fields.count(FULL32)
    if len(numbers) < wanted:
        raise file_error(file.where(name), "its zip64 record is missing or corrupted")
    if wanted == len(fields):
        return numbers[:wanted]
    remaining = iter(numbers)
    return tuple(next(remaining) if field == FULL32 else field for field in fields)


def _zip64_numbers(extra: bytes) -> tuple[int, ...]:
    position = 0
    while position + EXTRA.size <= len(extra):
        kind, nbytes = EXTRA.unpack_from(extra, position)
        position += EXTRA.size
        if kind == 1:
            numbers = QUADS[min(nbytes, len(extra) - position, 24) // 8]
            return tuple(numbers.unpack_from(extra, position))
        position += nbytes
    return ()


def with_start(file: MtsSource, stored_name: bytes, member: Member) -> Member:
    """Find where the bytes of a member start; its local header must agree with the directory.

    Raises
    ------
    FileFormatError
        If there is no such header, or it disagrees.
    """
    name, flags, method, crc, compressed, nbytes, offset, _ = member
    # Nearly always one read: other writers' extra fields are shorter than 64 bytes.
    likely_bytes = LOCAL.size + len(stored_name) + 64
    if offset + likely_bytes > file.size:
        likely_bytes = max(0, file.size - offset)
    start = file.read(offset, likely_bytes)
    if len(start) < LOCAL.size or not start.startswith(LOCAL_MARK):
        raise file_error(file.where(name), f"there is no header of a member at byte {offset}")
    (
        _, _, local_flags, local_method, _, _, local_crc, local_compressed, local_nbytes,
        name_bytes, extra_bytes,
    ) = LOCAL.unpack_from(start)  # fmt: skip
    name_end = LOCAL.size + name_bytes
    header_bytes = name_end + extra_bytes
    if header_bytes > len(start):
        start = file.read(offset, header_bytes)
    if FULL32 in (local_nbytes, local_compressed):
        sizes = local_nbytes, local_compressed
        local_nbytes, local_compressed = _widen(file, name, start[name_end:header_bytes], sizes)
    compared = ENCRYPTED_FLAGS if stored_name.isascii() else ENCRYPTED_FLAGS | UTF8_FLAG
    # With a data descriptor, sizes follow the data, and may be zero or full in the header.
    unknown = (0, FULL32) if local_flags & DESCRIPTOR_FLAG else ()
    if (
        start[LOCAL.size : name_end] != stored_name
        or local_method != method
        or (local_flags ^ flags) & compared
        or (local_crc != crc and local_crc not in unknown)
        or (local_compressed != compressed and local_compressed not in unknown)
        or (local_nbytes != nbytes and local_nbytes not in unknown)
    ):
        raise file_error(file.where(name), "its header disagrees with the ZIP directory")
    return Member(name, flags, method, crc, compressed, nbytes, offset, offset + header_bytes)


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
