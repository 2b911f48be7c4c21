"""The arrays of an open ``.mts`` file: rows that tasks ask for, and the checksums of what they read."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from outgrad.data.chunk import Chunk, Table
from outgrad.data.requests import Request
from outgrad.storage.mts import names as layout
from outgrad.storage.mts.checks import MemberChecks
from outgrad.storage.mts.description import MtsDescription, StoredBlock
from outgrad.storage.mts.file import Limits, MtsSource, file_error
from outgrad.storage.mts.members import StoredTable, open_table, read_rows, read_table
from outgrad.storage.mts.zip import Member
from outgrad.tree import GradientPath

REPLACED = "the file was replaced since it was opened: open it again"


class MtsContent(MtsDescription):
    """All of an open file, values too.

    With ``check_pieces``, members are read to their end once in a process before parts of them are used.
    """

    def __init__(self, file: MtsSource, limits: Limits, check_pieces: bool = True) -> None:
        super().__init__(file, limits)
        self.check_pieces = check_pieces
        self.token = token_of(file, self.members.values(), check_pieces)
        self._checks = MemberChecks(self._source, f"{self.token} {file.status_changed_ns}")
        self._tables: dict[str, StoredTable] = {}

    def read_whole(self, member: Member) -> bytes:
        """Return all bytes of a member, which need not be checked again."""
        content = super().read_whole(member)
        self._checks.passed(member)
        return content

    def chunk(self, request: Request) -> Chunk:
        """Read the rows of one chunk."""
        remaining = iter(request.ranges)
        chunks: dict[GradientPath, Chunk] = {}
        ranges: dict[GradientPath, tuple[int, int]] = {}
        for path, stored in self.block(request.block).walk():
            start, stop = ranges[path] = next(remaining)
            count, member = stored.values.rows, stored.values.member
            if not 0 <= start <= stop <= count:
                reason = f"rows [{start}, {stop}) are asked for, but it has {count}"
                raise file_error(self.file.where(member.name), reason, REPLACED)
            if stop - start == count:
                values = read_rows(self._source, stored.values, start, stop)  # compares the checksum
                self._checks.passed(member)
            else:
                self._check(member)
                values = read_rows(self._source, stored.values, start, stop)
            chunks[path] = Chunk(values)
            if path:
                parent = path[:-1]
                chunks[path] = Chunk(values, table=self._read_table(stored, ranges[path], ranges[parent]))
                chunks[parent].gradients[path[-1]] = chunks[path]
        if next(remaining, None) is not None:
            where = self.file.where(layout.block_prefix(self.kind, request.block))
            raise file_error(where, "it has fewer gradients than are asked for", REPLACED)
        return chunks[()]

    def _read_table(
        self, stored: StoredBlock, gradient_rows: tuple[int, int], parent_rows: tuple[int, int]
    ) -> Table:
        """Read the samples of a gradient, with rows counted from the start of the parent's chunk."""
        name = layout.samples_name(stored.prefix)
        if name not in self._tables:
            self._check(self.member(name))
            self._tables[name] = open_table(self._source, self.member(name))
        table = read_table(self._source, self._tables[name], *gradient_rows)
        first, stop = parent_rows
        table[:, 0] -= first
        parents = table[:, 0]
        if len(parents) and not 0 <= parents.min() <= parents.max() < stop - first:
            raise file_error(
                self.file.where(name),
                f"gradient rows {gradient_rows} do not belong to rows {parent_rows} of the values",
            )
        return table

    def _check(self, member: Member) -> None:
        if self.check_pieces:
            self._checks.require_intact(member)


def token_of(file: MtsSource, members: Iterable[Member], check_pieces: bool = True) -> str:
    """Name what reading gives by path, size, time of change, checksums and checks: 32 hex characters."""
    named = f"{file.path}\n{file.size}\n{file.modified_ns}\n{check_pieces}"
    digest = blake2b(named.encode("utf-8", "surrogateescape"), digest_size=16)
    for member in members:
        digest.update(repr(tuple(member)).encode())
    return digest.hexdigest()
