"""The bytes of one ``.mts`` file at given positions: of a file that must not change, or in memory."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, final
from weakref import finalize

from outgrad._foreign import kind_of
from outgrad.errors import ArchiveNotFoundError, DamagedArchiveError, FileFormatError

FRESH_COPY = "the file is corrupted, or was not written by metatensor or Outgrad: get a fresh copy"
COPY_BYTES = 1 << 20
"""How much of a file is in memory while it is only passed through."""
LONGEST_MEMBER_NAME = 200
"""Characters of the name of a member in a message."""
BUFFER = "<buffer>"
"""Stands for the path in messages about bytes in memory."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask for, checked before anything is allocated.

    What is not compressed cannot be larger than the file. What is compressed can be: arrays by up to 1,032
    times, honestly, where they are nothing but zeros. Such values do no harm, since they are read chunk by
    chunk and have the shape that their labels describe. But labels and texts are read completely when a file
    is opened. Together, those that are compressed may hold ``label_bytes``, plus ``label_expansion`` times
    the size of the file; real labels, whose rows differ, were found to compress by a factor of 12.
    """

    label_bytes: int = 64 << 20
    label_expansion: int = 64


class MemberPlace(NamedTuple):
    """A member of a file, or all of the file for ``""``; it is put into words only for a message."""

    path: str
    member: str

    def __str__(self) -> str:
        return f"{shown(self.member)} in {self.path!r}" if self.member else repr(self.path)


def shown(member: str) -> str:
    """Quote the name of a member, which may be long and hold anything."""
    return repr(member if len(member) <= LONGEST_MEMBER_NAME else member[:LONGEST_MEMBER_NAME] + "…")


def file_error(where: MemberPlace, reason: str, advice: str = FRESH_COPY) -> FileFormatError:
    """Build the error for a file that cannot be used: where, why, and what to do."""
    return FileFormatError(f"read {where!s}: {reason}; {advice}")


class MtsSource(ABC):
    """The bytes of a file; many threads may read at once."""

    def __init__(self, path: str, size: int, modified_ns: int = 0, status_changed_ns: int = 0) -> None:
        self.path, self.size = path, size
        self.modified_ns, self.status_changed_ns = modified_ns, status_changed_ns

    @final
    def where(self, member: str = "") -> MemberPlace:
        """Name a member, or the file, for an error message."""
        return MemberPlace(self.path, member)

    @final
    def require_inside(self, offset: int, nbytes: int) -> None:
        """Raise if the file does not have these bytes."""
        if min(offset, nbytes) < 0 or offset + nbytes > self.size:
            reason = f"{nbytes} bytes at {offset} lie outside of its {self.size} bytes"
            raise file_error(self.where(), reason)

    @abstractmethod
    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill ``target`` with the bytes at ``offset``."""

    @abstractmethod
    def read(self, offset: int, nbytes: int) -> bytes:
        """Return ``nbytes`` bytes at ``offset``; they must be in the file before memory is taken."""

    @abstractmethod
    def require_unchanged(self) -> None:
        """Raise if the bytes may have changed since the file was opened."""


@final
class MtsFile(MtsSource):
    """A file open for positional reads.

    Rows are read with ``pread`` and not through a memory map: a file that shrinks is then an error and
    not a SIGBUS that kills the worker, pages of the file do not count as memory of the worker, and the
    arrays are aligned although the members of a ZIP file are not.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        try:
            # Without O_NONBLOCK, opening a pipe would wait for somebody who writes into it.
            self._descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ArchiveNotFoundError(f"read {name!r}: there is no such file; check the path") from None
        finalize(self, os.close, self._descriptor)  # when its last user is gone
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise file_error(
                MemberPlace(name, ""), "it is not a file", "give the path of an .mts or .npz file"
            )
        super().__init__(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def read_into(self, target: memoryview, offset: int) -> None:
        while len(target):
            count = os.preadv(self._descriptor, [target], offset)
            if count == 0:
                raise file_error(self.where(), f"it ends at byte {offset}, inside a member")
            target = target[count:]
            offset += count

    def read(self, offset: int, nbytes: int) -> bytes:
        self.require_inside(offset, nbytes)
        content = os.pread(self._descriptor, nbytes, offset)
        if len(content) == nbytes:
            return content
        target = bytearray(nbytes)  # one call returns at most 2 GiB
        self.read_into(memoryview(target), offset)
        return bytes(target)

    def require_unchanged(self) -> None:
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified_ns):
            raise changed(self.path)


@final
class MtsBytes(MtsSource):
    """The bytes of such a file in memory.

    Parameters
    ----------
    content : bytes, bytearray or memoryview
        Not copied; it must not change while it is read.
    """

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        try:
            self._content = memoryview(content).cast("B")
        except TypeError:
            raise TypeError(
                f"load_buffer: the buffer must be bytes, bytearray or memoryview, got {kind_of(content)}; "
                "for a path or an open file use load(file)"
            ) from None
        super().__init__(BUFFER, self._content.nbytes)

    def read_into(self, target: memoryview, offset: int) -> None:
        self.require_inside(offset, len(target))
        target[:] = self._content[offset : offset + len(target)]

    def read(self, offset: int, nbytes: int) -> bytes:
        self.require_inside(offset, nbytes)
        return bytes(self._content[offset : offset + nbytes])

    def require_unchanged(self) -> None:
        """Do nothing: the bytes belong to the caller, who waits."""


@final
class MtsPart(MtsSource):
    """The bytes of such a file inside of another one, as in a data set of metatrain.

    Parameters
    ----------
    file : MtsSource
        The other file.
    start, nbytes : int
        Which of its bytes.
    name : str
        What these are called in the file.
    """

    def __init__(self, file: MtsSource, start: int, nbytes: int, name: str) -> None:
        file.require_inside(start, nbytes)
        super().__init__(f"{file.path}/{name}", nbytes, file.modified_ns, file.status_changed_ns)
        self._file, self._start = file, start

    def read_into(self, target: memoryview, offset: int) -> None:
        self.require_inside(offset, len(target))
        self._file.read_into(target, self._start + offset)

    def read(self, offset: int, nbytes: int) -> bytes:
        self.require_inside(offset, nbytes)
        return self._file.read(self._start + offset, nbytes)

    def require_unchanged(self) -> None:
        self._file.require_unchanged()


def changed(path: str) -> DamagedArchiveError:
    """Build the error for a file that is not the one that was opened."""
    return DamagedArchiveError(
        f"read {path!r}: it was changed after it was opened; open it again, and write to another path"
    )
