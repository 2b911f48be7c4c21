"""The checksum of a member, compared once in a process before parts of the member are used.

A ZIP file has one CRC-32 for each member and none for its parts, so a flipped bit is only noticed by a reader
that goes through the member to its end.
"""

from __future__ import annotations

import threading
import zlib

from outgrad._forks import forgets_in_child, fork_safe_lock
from outgrad.storage.mts.file import COPY_BYTES
from outgrad.storage.mts.members import MemberBytes
from outgrad.storage.mts.zip import STORED, Member, combine_crc
from outgrad.storage.open_files import OpenFiles

SHARE_BYTES = 16 << 20
"""What one thread reads before it asks for more."""
CHECKED_FILES = 1024
"""Of so many files a process remembers which members it has compared: a few names each."""

_intact_members: OpenFiles[str, set[str]] = OpenFiles(CHECKED_FILES)


class MemberChecks:
    """Which members of a file this process has found intact; a file that changed has another token."""

    def __init__(self, source: MemberBytes, token: str) -> None:
        self._source = source
        self._intact = _intact_members.get(token, set)
        self._passes: dict[str, _Pass] = {}
        self._lock = fork_safe_lock()
        forgets_in_child(self)

    def forget_threads(self) -> None:
        """Leave passes of which threads of the parent have taken shares."""
        self._passes = {}

    def passed(self, member: Member) -> None:
        """Note that the checksum of a member was compared."""
        self._intact.add(member.name)

    def require_intact(self, member: Member) -> None:
        """Read a member to its end and compare its checksum, unless that was done.

        Raises
        ------
        FileFormatError
            If the member is corrupted.
        """
        if member.name in self._intact:
            return
        with self._lock:
            reading = self._passes.setdefault(member.name, _Pass(self._source, member))
        self._source.require_crc(member, reading.join())
        self.passed(member)
        with self._lock:
            self._passes.pop(member.name, None)


class _Pass:
    """One pass over a member: every thread that waits for its checksum takes a share of the work."""

    def __init__(self, source: MemberBytes, member: Member) -> None:
        self._source, self._member = source, member
        # Compressed data can only be read forward.
        share_bytes = SHARE_BYTES if member.method == STORED else max(1, member.nbytes)
        self._waiting = [
            (start, min(start + share_bytes, member.nbytes)) for start in range(0, member.nbytes, share_bytes)
        ][::-1]
        self._working = 0
        self._crcs: dict[tuple[int, int], int] = {}
        self._changed = threading.Condition()

    def join(self) -> int:
        """Help until all is read; return the checksum of the member."""
        while True:
            with self._changed:
                # A share that another thread is reading comes back if that thread is interrupted.
                self._changed.wait_for(lambda: self._waiting or not self._working)
                if not self._waiting:
                    break
                self._working += 1
                share = self._waiting.pop()
            crc = None
            try:
                crc = self._crc(*share)
            finally:
                with self._changed:
                    self._working -= 1
                    if crc is None:
                        self._waiting.append(share)
                    else:
                        self._crcs[share] = crc
                    self._changed.notify_all()
        total = 0
        for (start, stop), crc in sorted(self._crcs.items()):
            total = combine_crc(total, crc, stop - start)
        return total

    def _crc(self, start: int, stop: int) -> int:
        crc = 0
        if self._member.method != STORED:
            for piece in self._source.pieces(self._member):
                crc = zlib.crc32(piece, crc)
            return crc
        buffer = bytearray(min(COPY_BYTES, stop - start))
        for position in range(start, stop, len(buffer)):
            target = memoryview(buffer)[: stop - position]
            self._source.read_into(target, self._member, position)
            crc = zlib.crc32(target, crc)
        return crc
