"""Rows that an archive refers to, in files outside of it: found by path, size and time, checked by CRC-32."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from outgrad.config import MTS_CHECKS, mts_checks
from outgrad.data.chunk import Array
from outgrad.errors import DamagedArchiveError, PathError
from outgrad.storage.local_store import LocalStore
from outgrad.storage.store import Bytes, Store
from outgrad.storage.urls import is_store_url
from outgrad.storage.zarr.format import MIB, ArraySpec
from outgrad.storage.zarr.storage_chunks import allocate

CRC_BYTES = MIB
"""How much of a larger one is in memory while its checksum is computed."""
MEMBER_BYTES = 16 * MIB
"""Members up to this size are read at once, with their header, for their checksum; larger ones are read
twice."""
INDEX_ADVICE = "index the files again, or bring back the ones that were indexed"


def allowed_root(archive: str, root: str, roots: Sequence[str]) -> Path:
    """The folder in which the files of an archive may be: its own one, or one of ``roots`` that a user
    allows.

    Who makes an archive could name any file of whoever reads it.

    Raises
    ------
    PathError
        If it is neither, or the archive is in an object store.
    """
    if is_store_url(archive):
        raise PathError(
            f"open {archive}: it refers to files, which only an archive on a disk can; copy them into it "
            "with materialize() before it is copied to an object store"
        )
    folder = Path(os.path.realpath(archive)).parent
    found = Path(os.path.realpath(Path(archive) / root))
    allowed = [folder, *map(Path, roots)]
    if not any(found.is_relative_to(os.path.realpath(each)) for each in allowed):
        raise PathError(
            f"open {archive}: it refers to files in {found}, and only those in {folder} are read; if you "
            f"trust it, allow the folder: dask.config.set({{'outgrad.index-roots': [{str(found)!r}]}})"
        )
    return found


def path_inside(archive: str, root: Path, name: str) -> Path:
    """The path of a file that an archive names, which has to be in ``root``, also behind links."""
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        raise PathError(f"read {archive}: it refers to {name!r}, which is not in {root}; it is not read")
    return path


def outside_archive(archive: str, place: str, roots: Sequence[str]) -> Store:
    """The store of another archive, to whose segments one refers; ``place`` is relative to it, or
    absolute."""
    root = allowed_root(archive, os.path.dirname(place) or ".", roots)  # noqa: PTH120
    return LocalStore(path_inside(archive, root, os.path.basename(place)))  # noqa: PTH119


class OutsideArrays:
    """The files of a segment, and the pieces of arrays in them."""

    def __init__(self, archive: str, root: Path, paths: Bytes, files: Array, pieces: Array) -> None:
        self._archive = archive
        self._root = root
        self._names = bytes(paths).split(b"\0")[:-1]
        self._files = files
        self._pieces = pieces
        self._intact: set[tuple[int, int]] = set()
        """Members whose CRC-32 was compared, by file and first byte."""
        if len(self._names) != len(files):
            raise DamagedArchiveError(
                f"read {archive}: it has {len(files)} files and {len(self._names)} names"
            )

    def read_rows(self, array: ArraySpec, start: int, stop: int, out: Array | None = None) -> Array:
        """Read rows of an array into ``out``, or into new memory.

        Raises
        ------
        DamagedArchiveError
            If a file is gone or was changed since it was indexed, or its bytes are not those of then.
        """
        for piece, end in self._pieces_of(array, start, stop):
            low, high = max(start, int(piece[0])), min(stop, end)
            with self.opened(int(piece[1])) as stream:
                # Memory is only given once a file confirms that there is something.
                out = (
                    allocate((stop - start, *array.shape[1:]), array.dtype, array.path)
                    if out is None
                    else out
                )
                self._read_piece(stream, array, piece, end, low, out[low - start : high - start])
        return allocate((stop - start, *array.shape[1:]), array.dtype) if out is None else out

    def _pieces_of(self, array: ArraySpec, start: int, stop: int) -> Iterator[tuple[Array, int]]:
        """The pieces that have some of the rows [start, stop), each with the row at which it ends."""
        assert array.pieces is not None
        first, length = array.pieces
        pieces = self._pieces[first : first + length]
        firsts = pieces[:, 0]
        # Rows that no piece has would be whatever is in memory.
        if stop > start and not (length and firsts[0] == 0 and (firsts[1:] >= firsts[:-1]).all()):
            raise DamagedArchiveError(
                f"read {self._archive}: the index does not say where all rows of {array.path} are; "
                f"{INDEX_ADVICE}"
            )
        ends = np.append(pieces[1:, 0], array.shape[0])
        number = int(np.searchsorted(ends, start, side="right"))
        while number < length and int(pieces[number, 0]) < stop:
            if pieces[number, 0] < ends[number]:
                yield pieces[number], int(ends[number])
            number += 1

    def _read_piece(
        self, stream: Any, array: ArraySpec, piece: Array, end: int, low: int, out: Array
    ) -> None:
        """Read some rows of a piece, from row ``low`` of the array on, once its checksum was compared."""
        row, file, offset, member, member_bytes, crc = (int(number) for number in piece)
        where = f"read {self._archive}: {self.path(file)}"
        if member + member_bytes != offset + (end - row) * array.row_bytes or offset < member:
            raise DamagedArchiveError(
                f"{where}: rows of {array.path} are not where the index says; {INDEX_ADVICE}"
            )
        target = out.reshape(-1).view(np.uint8)
        if (low, len(out)) == (row, end - row) and member_bytes <= MEMBER_BYTES:
            content = np.empty(member_bytes, np.uint8)
            _read_into(stream, member, content, where)
            found = zlib.crc32(content.data)
            target[:] = content[offset - member :]
        else:
            found = crc
            if mts_checks() != "never" and (file, member) not in self._intact:
                found = 0
                for position in range(0, member_bytes, CRC_BYTES):
                    content = np.empty(min(CRC_BYTES, member_bytes - position), np.uint8)
                    _read_into(stream, member + position, content, where)
                    found = zlib.crc32(content.data, found)
            _read_into(stream, offset + (low - row) * array.row_bytes, target, where)
        if found != crc:
            raise DamagedArchiveError(
                f"{where} is corrupted: the bytes of {array.path} do not match their CRC-32; restore it from "
                "a copy"
            )
        if mts_checks() == "once":
            self._intact.add((file, member))

    def path(self, file: int) -> Path:
        """Where a file is."""
        return path_inside(self._archive, self._root, os.fsdecode(self._names[file]))

    def opened(self, file: int) -> Any:
        """Open a file that is the one that was indexed.

        Raises
        ------
        DamagedArchiveError
            If it is gone, or has another size or time.
        """
        if not 0 <= file < len(self._names):
            raise DamagedArchiveError(
                f"read {self._archive}: it refers to file {file}, and has {len(self._names)}; {INDEX_ADVICE}"
            )
        path = self.path(file)
        try:
            stream = path.open("rb", buffering=0)
        except OSError as error:
            reason = "it is gone" if isinstance(error, FileNotFoundError) else error.strerror
            raise DamagedArchiveError(
                f"read {self._archive}: {path} cannot be read: {reason}; {INDEX_ADVICE}"
            ) from error
        status = os.fstat(stream.fileno())
        size, modified = (int(number) for number in self._files[file])
        if (status.st_size, status.st_mtime_ns) != (size, modified):
            stream.close()
            raise DamagedArchiveError(
                f"read {self._archive}: {path} was changed since it was indexed ({status.st_size} bytes, and "
                f"{size} then, or another time); {INDEX_ADVICE}"
            )
        return stream

    def problems(self, array: ArraySpec) -> Iterator[str]:
        """Read all of an array; yield what is wrong with each of its pieces."""
        for piece, end in self._pieces_of(array, 0, array.shape[0]):
            try:
                with MTS_CHECKS.temporarily("once"):
                    self.read_rows(array, int(piece[0]), end)
            except DamagedArchiveError as error:
                yield str(error)


def _read_into(stream: Any, start: int, target: Bytes, where: str) -> None:
    stream.seek(start)
    filled, buffer = 0, memoryview(target.data)
    while count := stream.readinto(buffer[filled:]):
        filled += count
    if filled < len(target):
        raise DamagedArchiveError(f"{where} ends before the rows that the index names; {INDEX_ADVICE}")
