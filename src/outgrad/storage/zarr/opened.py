"""One version of an archive in this process: its commit, its chunks, and errors that name what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from outgrad.data.chunk import Array, Table
from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    DamagedArchiveError,
    NewerFormatError,
    ValidationError,
)
from outgrad.labels.labels import Labels
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import COMMITS, Commit, SegmentSpec
from outgrad.storage.zarr.label_tables import OTHER_DIGEST, TableChecks
from outgrad.storage.zarr.layout import named_rows
from outgrad.storage.zarr.storage_chunks import (
    CACHED_CHUNKS,
    ByteStore,
    Checksums,
    ChunkCache,
    ChunkError,
    SegmentStore,
)

SHOWN_USERS = 3
MOST_COMMIT_BYTES = 2**31
"""Some millions of blocks."""
VERIFY_ADVICE = "restore it from a copy or write the archive again; `outgrad verify` lists all damage"


class OpenArchive:
    """One version of an archive in this process: its parsed commit, and how to get at its chunks."""

    def __init__(self, root: Path, stored: commits.StoredCommit) -> None:
        self.root = root
        self.stored = stored
        self.segment = only_segment(root, stored.commit)
        self._store = SegmentStore(ByteStore.local(root, read_only=True), self.segment.prefix)
        self._tables: ChunkCache = OpenFiles(CACHED_CHUNKS)
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
            If a storage chunk is missing, corrupted or not the one that was committed.
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
        array, first = self.segment.tables[number].first
        return self.read_rows(array, first + start, first + stop, is_table=True)

    def check_table(self, number: int, start: int, rows: Table) -> None:
        """Compare rows of a label table, which were read from row ``start`` on, with what the commit says."""
        count = self.segment.tables[number].rows
        mistake = self.table_checks.mistake(
            number, start, rows, lambda: self.read_unchecked(number, 0, count)
        )
        if mistake:
            raise DamagedArchiveError(
                f"read {self.root}: {self.table_paths(number)[0]} is not what the commit says: {mistake}; "
                f"{VERIFY_ADVICE}"
            )

    def table_paths(self, number: int) -> list[str]:
        """Metatensor's paths of the tables that share the rows of one."""
        table = self.segment.tables[number]
        array, first = table.first
        paths = self.needed_for_rows(array, first, first + table.rows)
        return paths or [f"table {number}"]

    def explain(self, error: ChunkError, array: int | None = None) -> ArchiveError:
        """Say which chunk of which array of which block is unusable, and what to do."""
        try:
            newest = commits.read_version(self.root, self.stored.commit.version)
            is_current = newest.token == self.stored.token
        except FileNotFoundError:
            is_current = False
        except (ArchiveError, OSError):
            is_current = True  # it is corrupted as well
        if not is_current:
            return overwritten(self.root)
        needed = self.needed_for(array, error.chunk)
        name = needed[0] if needed else error.array.path
        more = f" and {len(needed) - SHOWN_USERS} more" if len(needed) > SHOWN_USERS else ""
        others = f" (needed for {', '.join(needed[:SHOWN_USERS])}{more})" if len(needed) > 1 else ""
        return DamagedArchiveError(
            f"read {self.root}: storage chunk {error.chunk} of {name}{others} {error.reason}; "
            f"the file is {self.segment.prefix}{error.array.chunk_key(error.chunk)}; {VERIFY_ADVICE}"
        )

    def needed_for(self, array: int | None, chunk: int) -> list[str]:
        """Metatensor's paths of what has rows in a storage chunk."""
        if array is None:
            return []
        return self.needed_for_rows(array, *self.segment.arrays[array].chunk_range(chunk))

    def needed_for_rows(self, array: int, start: int, stop: int) -> list[str]:
        """Metatensor's paths of what has some of the rows [start, stop) of an array."""
        starts, stops, paths = self._named_rows[array]
        overlapping = np.flatnonzero((starts < stop) & (start < stops))
        return list(dict.fromkeys(paths[index] for index in overlapping))

    @cached_property
    def _named_rows(self) -> list[tuple[Array, Array, list[str]]]:
        """For each array the starts, stops and paths of its rows, as arrays: many chunks may be corrupted."""
        return [
            (
                np.array([each.start for each in rows], dtype=np.int64),
                np.array([each.stop for each in rows], dtype=np.int64),
                [each.path for each in rows],
            )
            for rows in named_rows(self.segment)
        ]


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


def open_newest(root: Path) -> OpenArchive:
    """Read the newest commit of an archive.

    Raises
    ------
    ArchiveError
        If there is none that can be used, or it cannot be read.
    """
    with _readable("open", root):
        for version in commits.versions(root)[-1:]:
            _check_commit_file(root, version)
        return OpenArchive(root, commits.read_newest(root))


def open_again(root: Path, version: int, token: str) -> OpenArchive:
    """Read the commit of an archive that was opened before, maybe in another process.

    Raises
    ------
    ArchiveError
        If it is not there any more, or cannot be read.
    """
    with _readable("read", root):
        try:
            _check_commit_file(root, version)
            stored = commits.read_version(root, version)
        except FileNotFoundError:
            raise overwritten(root) from None
        if stored.token != token:
            raise overwritten(root)
        return OpenArchive(root, stored)


def _check_commit_file(root: Path, version: int) -> None:
    """Refuse what is not a file, such as a pipe, which would block."""
    path = commits.commit_path(root, version)
    if path.is_symlink() and not path.exists():
        raise DamagedArchiveError(f"open {root}: {path} is a link to nothing; {VERIFY_ADVICE}")
    if path.exists() and not path.is_file():
        raise DamagedArchiveError(f"open {root}: {path} is not a file; {VERIFY_ADVICE}")
    if path.exists() and path.stat().st_size > MOST_COMMIT_BYTES:
        raise DamagedArchiveError(
            f"open {root}: {path} has {path.stat().st_size} bytes, more than a commit can have; "
            f"{VERIFY_ADVICE}"
        )


@contextmanager
def _readable(call: str, root: Path) -> Iterator[None]:
    """Turn errors of the operating system into errors of this package."""
    try:
        yield
    except ArchiveError:
        raise
    except OSError as error:
        kind = ArchiveError if isinstance(error, PermissionError) else DamagedArchiveError
        name = error.filename or COMMITS
        raise kind(f"{call} {root}: {name} cannot be read: {error.strerror}; {VERIFY_ADVICE}") from error


def keys_in_commit(archive: OpenArchive) -> Labels | None:
    """The keys if they are in the commit.

    Raises
    ------
    DamagedArchiveError
        If they cannot be keys, or their digest is not the one in the commit.
    """
    segment = archive.segment
    if segment.key_values is None:
        return None
    table = segment.tables[segment.keys]
    values = np.array(segment.key_values, dtype=np.int32).reshape(table.rows, len(table.names))
    try:
        keys = Labels(table.names, values)
    except ValidationError as error:
        raise DamagedArchiveError(
            f"open {archive.root}: the keys are not valid: {error}; {VERIFY_ADVICE}"
        ) from error
    if keys.digest != table.digest:
        raise DamagedArchiveError(
            f"open {archive.root}: the keys are not valid: {OTHER_DIGEST}; {VERIFY_ADVICE}"
        )
    return keys
