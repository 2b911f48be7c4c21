"""One version of an archive in this process: its commit, its chunks, and what to say where they fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    DamagedArchiveError,
    NewerFormatError,
    ValidationError,
)
from outgrad.labels.labels import Labels
from outgrad.labels.types import Table
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import COMMITS, Commit, SegmentSpec
from outgrad.storage.zarr.label_tables import OTHER_DIGEST, TableChecks
from outgrad.storage.zarr.layout import users
from outgrad.storage.zarr.storage_chunks import (
    Array,
    ByteStore,
    Checksums,
    ChunkCache,
    ChunkError,
    SegmentStore,
)

SHOWN_USERS = 3
MOST_COMMIT_BYTES = 2**31
"""Some millions of blocks."""
_HELP = "restore it from a copy or write the archive again; `outgrad verify` lists all damage"


class OpenArchive:
    """One version of an archive in this process: its parsed commit, and how to get at its chunks."""

    def __init__(self, root: Path, found: commits.Found) -> None:
        self.root = root
        self.found = found
        self.segment = only_segment(root, found.commit)
        self._store = SegmentStore(ByteStore.local(root, read_only=True), self.segment.prefix)
        self._tables = ChunkCache()
        self.table_checks = TableChecks(self.segment)

    @cached_property
    def _manifest(self) -> Array:
        manifest = self.segment.manifest
        assert manifest is not None, "only a plan has no manifest"
        rows = manifest.array.shape[0]
        try:
            return self._store.read_rows(manifest.array, manifest.checksums, 0, rows)
        except ChunkError as error:
            raise self.explain(error) from error

    def checksums(self, array: int) -> Checksums:
        """What the CRC32C of each chunk of an array should be."""
        bases = self.segment.chunk_bases
        return self._manifest[bases[array] : bases[array + 1]]

    def read_rows(self, array: int, start: int, stop: int, *, is_table: bool = False) -> Array:
        """Read rows of an array into new memory.

        Raises
        ------
        DamagedArchiveError
            If a storage chunk is missing, damaged or not the one that was committed.
        """
        cache = self._tables if is_table else None
        try:
            return self._store.read_rows(
                self.segment.arrays[array], self.checksums(array), start, stop, cache
            )
        except ChunkError as error:
            raise self.explain(error, array) from error

    def read_table(self, number: int, start: int, stop: int) -> Table:
        """Read rows of a label table, and compare them with what the commit says.

        Raises
        ------
        DamagedArchiveError
            If they are not what the commit says, or cannot be read.
        """
        rows = self.read_unchecked(number, start, stop)
        self.check_table(number, start, rows)
        return rows

    def read_unchecked(self, number: int, start: int, stop: int) -> Table:
        """Read rows of a label table as they are stored."""
        place = self.segment.tables[number].place
        return self.read_rows(place.array, place.first + start, place.first + stop, is_table=True)

    def check_table(self, number: int, start: int, rows: Table) -> None:
        """Compare rows of a label table, which were read from row ``start`` on, with what the commit says."""
        count = self.segment.tables[number].rows
        mistake = self.table_checks.mistake(
            number, start, rows, lambda: self.read_unchecked(number, 0, count)
        )
        if mistake:
            raise self._wrong_table(number, mistake)

    def _wrong_table(self, number: int, mistake: str) -> DamagedArchiveError:
        return DamagedArchiveError(
            f"read {self.root}: {self.table_paths(number)[0]} is not what the commit says: {mistake}; {_HELP}"
        )

    def table_paths(self, number: int) -> list[str]:
        """Metatensor's paths of what has its rows in a table."""
        place, rows = self.segment.tables[number].place, self.segment.tables[number].rows
        paths = self.needed_for_rows(place.array, place.first, place.first + rows)
        return paths or [f"table {number}"]

    def explain(self, error: ChunkError, array: int | None = None) -> ArchiveError:
        """Say which chunk of which array of which block is unusable, and what to do."""
        if not self._is_current():
            return overwritten(self.root)
        needed = self.needed_for(array, error.chunk)
        named = needed[0] if needed else error.array.path
        more = f" (needed for {', '.join(needed[:SHOWN_USERS])}{_more(needed)})" if len(needed) > 1 else ""
        return DamagedArchiveError(
            f"read {self.root}: storage chunk {error.chunk} of {named}{more} {error.reason}; "
            f"the file is {self.segment.prefix}{error.array.chunk_key(error.chunk)}; {_HELP}"
        )

    def _is_current(self) -> bool:
        """Whether the commit is still there, and not one of another archive that was made at this path."""
        try:
            return commits.read_version(self.root, self.found.commit.version).token == self.found.token
        except FileNotFoundError:
            return False
        except (ArchiveError, OSError):
            return True  # damaged as well

    def needed_for(self, array: int | None, chunk: int) -> list[str]:
        """Metatensor's paths of what has rows in a storage chunk."""
        return (
            []
            if array is None
            else self.needed_for_rows(array, *self.segment.arrays[array].chunk_range(chunk))
        )

    def needed_for_rows(self, array: int, start: int, stop: int) -> list[str]:
        """Metatensor's paths of what has some of the rows [start, stop) of an array."""
        starts, stops, paths = self._users[array]
        found = np.flatnonzero((starts < stop) & (start < stops))
        return list(dict.fromkeys(paths[at] for at in found))

    @cached_property
    def _users(self) -> list[tuple[Array, Array, list[str]]]:
        return [
            (
                np.array([user.start for user in own], dtype=np.int64),
                np.array([user.stop for user in own], dtype=np.int64),
                [user.path for user in own],
            )
            for own in users(self.segment)
        ]


def _more(needed: Sequence[str]) -> str:
    return f" and {len(needed) - SHOWN_USERS} more" if len(needed) > SHOWN_USERS else ""


def only_segment(root: Path, commit: Commit) -> SegmentSpec:
    """The segment of an archive that was saved at once; appended ones need a later release."""
    if len(commit.segments) > 1:
        raise NewerFormatError(
            f"open {root}: the archive consists of {len(commit.segments)} segments, and this is "
            f"{commits.SOFTWARE}, which reads archives of one; update it (pip install --upgrade outgrad)"
        )
    return commit.segments[0]


def overwritten(root: Path) -> ArchiveError:
    if not root.exists():
        return ArchiveNotFoundError(f"read {root}: the archive was removed since it was opened")
    return ArchiveError(f"read {root}: the archive was overwritten since it was opened; open it again")


def read_newest(root: Path) -> OpenArchive:
    """Read the newest commit of an archive.

    Raises
    ------
    ArchiveError
        If there is none that can be used, or it cannot be read.
    """
    with _readable("open", root):
        for version in commits.versions(root)[-1:]:
            _check_file(root, version)
        return OpenArchive(root, commits.read_newest(root))


def read_again(root: Path, version: int, token: str) -> OpenArchive:
    """Read the commit of an archive that was opened before, maybe in another process.

    Raises
    ------
    ArchiveError
        If it is not there any more, or cannot be read.
    """
    with _readable("read", root):
        try:
            _check_file(root, version)
            found = commits.read_version(root, version)
        except FileNotFoundError:
            raise overwritten(root) from None
        if found.token != token:
            raise overwritten(root)
        return OpenArchive(root, found)


def _check_file(root: Path, version: int) -> None:
    """Refuse what is no file, such as a pipe, for whose end we would wait."""
    path = commits.commit_path(root, version)
    if path.is_symlink() and not path.exists():
        raise DamagedArchiveError(f"open {root}: {path} is a link to nothing; {_HELP}")
    if path.exists() and not path.is_file():
        raise DamagedArchiveError(f"open {root}: {path} is no file; {_HELP}")
    if path.exists() and path.stat().st_size > MOST_COMMIT_BYTES:
        raise DamagedArchiveError(f"open {root}: {path} has {path.stat().st_size} bytes; {_HELP}")


@contextmanager
def _readable(call: str, root: Path) -> Iterator[None]:
    """What the system refuses becomes an error of this package."""
    try:
        yield
    except ArchiveError:
        raise
    except OSError as error:
        kind = ArchiveError if isinstance(error, PermissionError) else DamagedArchiveError
        name = error.filename or COMMITS
        raise kind(f"{call} {root}: {name} cannot be read: {error.strerror}; {_HELP}") from error


def keys_in_commit(archive: OpenArchive) -> Labels | None:
    """The keys if they are in the commit.

    Raises
    ------
    DamagedArchiveError
        If they cannot be keys, or are not those whose digest the commit has.
    """
    segment = archive.segment
    if segment.key_values is None:
        return None
    table = segment.tables[segment.keys]
    values = np.array(segment.key_values, dtype=np.int32).reshape(table.rows, len(table.names))
    try:
        keys = Labels(table.names, values)
    except ValidationError as error:
        raise DamagedArchiveError(f"open {archive.root}: the keys are not valid: {error}; {_HELP}") from error
    if keys.digest != table.digest:
        raise DamagedArchiveError(f"open {archive.root}: the keys are not valid: {OTHER_DIGEST}; {_HELP}")
    return keys
