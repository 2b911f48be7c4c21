"""One file, read at given positions, that must stay as it was when it was opened; or its bytes in memory."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from weakref import finalize

from outgrad._foreign import kind_of
from outgrad.errors import ArchiveNotFoundError, DamagedArchiveError, FileFormatError

FRESH_COPY = "The file is damaged, or was not written by metatensor or Outgrad: get a fresh copy"
PIECE_BYTES = 1 << 20
"""How much of a file is in memory while it is only passed through."""
LONGEST_SHOWN = 200
BUFFER = "<buffer>"
"""Stands for the path in messages about bytes in memory."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask for, checked before anything is allocated.

    What is not compressed cannot be larger than the file. What is compressed can be: arrays by up to 1,032
    times, honestly, where they are nothing but zeros. Such values are no harm, since they are read chunk by
    chunk, and have the shape that their labels say. But labels and texts are read whole when a file is
    opened. All that are compressed may hold ``label_bytes``, and ``label_expansion`` times the size of the
    file beyond; labels, whose rows differ, are found to compress by a factor of 12.
    """

    label_bytes: int = 64 << 20
    label_expansion: int = 64


def file_error(where: str, found: str, advice: str = FRESH_COPY) -> FileFormatError:
    """Build the error for a file that cannot be used: where, what was found, what to do."""
    return FileFormatError(f"cannot read {where}: {found}. {advice}.")


class MtsFile:
    """A file open for positional reads, which many threads can share.

    Rows are read with ``pread`` and not through a memory map: a file that shrinks is then an error and
    not a SIGBUS that kills the worker, pages of the file do not count as memory of the worker, and the
    arrays are aligned although the members of a ZIP file are not.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            # A pipe would otherwise be waited for.
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ArchiveNotFoundError(f"cannot read {self.path!r}: there is no such file") from None
        finalize(self, os.close, self._descriptor)  # when its last user is gone
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise file_error(repr(self.path), "it is not a file", "Give the path of an .mts or .npz file")
        self.size = status.st_size
        self.modified_ns, self.status_changed_ns = status.st_mtime_ns, status.st_ctime_ns

    def where(self, member: str) -> str:
        """Name a member in an error message; a file that is no ZIP file has one, without a name."""
        return f"{self.shown(member)} in {self.path!r}" if member else repr(self.path)

    def shown(self, member: str) -> str:
        """Quote the name of a member, which may be long and hold anything."""
        return repr(member if len(member) <= LONGEST_SHOWN else member[:LONGEST_SHOWN] + "…")

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill ``target`` with the bytes at ``offset``."""
        while len(target):
            count = os.preadv(self._descriptor, [target], offset)
            if count == 0:
                raise file_error(repr(self.path), f"it ends at byte {offset}, inside a member")
            target = target[count:]
            offset += count

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return ``nbytes`` bytes at ``offset``; they must be in the file before memory is taken."""
        if offset < 0 or offset + nbytes > self.size:
            raise self._outside(offset, nbytes)
        found = os.pread(self._descriptor, nbytes, offset)
        if len(found) == nbytes:
            return found
        target = bytearray(nbytes)  # one call returns at most 2 GiB
        self.read_into(memoryview(target), offset)
        return bytes(target)

    def _outside(self, offset: int, nbytes: int) -> FileFormatError:
        return file_error(repr(self.path), f"{nbytes} bytes at {offset} lie outside of its {self.size} bytes")

    def require_unchanged(self) -> None:
        """Raise if the file was written to since it was opened."""
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified_ns):
            raise changed(self.path)


class MtsBytes(MtsFile):
    """The bytes of such a file in memory, read in the same way.

    Parameters
    ----------
    content : bytes, bytearray or memoryview
        Not copied; it must not change while it is read.
    """

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self.path = BUFFER
        try:
            self._content = memoryview(content).cast("B")
        except TypeError:
            raise TypeError(
                f"a buffer must be bytes, bytearray or memoryview, got {kind_of(content)}; "
                "for a path or an open file use load(file)"
            ) from None
        self.size, self.modified_ns, self.status_changed_ns = self._content.nbytes, 0, 0

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill ``target`` with the bytes at ``offset``."""
        target[:] = self._piece(offset, len(target))

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return ``nbytes`` bytes at ``offset``."""
        return bytes(self._piece(offset, nbytes))

    def require_unchanged(self) -> None:
        """Do nothing: the bytes belong to the caller, who waits."""

    def _piece(self, offset: int, nbytes: int) -> memoryview:
        if offset < 0 or offset + nbytes > self.size:
            raise self._outside(offset, nbytes)
        return self._content[offset : offset + nbytes]


def changed(path: str) -> DamagedArchiveError:
    """Build the error for a file that is not the one that was opened."""
    return DamagedArchiveError(
        f"cannot read {path!r}: it was changed after it was opened. Open it again, and write to another path."
    )
