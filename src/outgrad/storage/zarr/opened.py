"""One version of an archive in this process: its commit, its segments, and the blocks that they make
together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from functools import cached_property

from outgrad.config import index_roots
from outgrad.errors import ArchiveError, ArchiveNotFoundError, DamagedArchiveError
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.store import Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import COMMITS
from outgrad.storage.zarr.joined_blocks import JoinedBlocks
from outgrad.storage.zarr.opened_segment import VERIFY_ADVICE, OpenSegment
from outgrad.storage.zarr.outside import outside_archive
from outgrad.storage.zarr.storage_chunks import CACHED_CHUNKS, ChunkCache


class OpenArchive:
    """One version of an archive in this process: its parsed commit, and how to get at its chunks."""

    def __init__(
        self, store: Store, stored: commits.StoredCommit, roots: Sequence[str] | None = None
    ) -> None:
        self.store = store
        self.stored = stored
        self.roots = tuple(index_roots() if roots is None else roots)
        """Folders in which it may refer to files; tasks have those of who opened it."""
        self._parts: dict[tuple[int, int], OpenArchive] = {}

    @cached_property
    def segments(self) -> list[OpenSegment]:
        """Those of the version; they share a cache of chunks."""
        name = self.store.name
        cache: ChunkCache = OpenFiles(CACHED_CHUNKS)
        return [
            OpenSegment(
                self.store if spec.archive is None else outside_archive(name, spec.archive, self.roots),
                spec,
                self._replaced,
                cache,
                self.roots,
                name,
            )
            for spec in self.stored.commit.segments
        ]

    def part(self, first: int, last: int) -> OpenArchive:
        """The same as if there were only the segments [first, last)."""
        if (first, last) not in self._parts:
            part = copy(self)
            part.__dict__.pop("joined", None)
            part.segments = self.segments[first:last]
            self._parts[first, last] = part
        return self._parts[first, last]

    @cached_property
    def joined(self) -> JoinedBlocks:
        """The keys and the blocks of all segments together."""
        return JoinedBlocks(self.store.name, self.segments, self.stored.commit.fill)

    def _replaced(self) -> ArchiveError | None:
        """The error for an archive that was overwritten, or removed, since it was opened."""
        version = self.stored.commit.version
        try:
            is_current = commits.read_version(self.store, version).token == self.stored.token
        except FileNotFoundError:
            is_current = False
        except (ArchiveError, OSError):
            is_current = True  # it is corrupted as well
        return None if is_current else overwritten(self.store, version)


def overwritten(store: Store, version: int) -> ArchiveError:
    if not store.is_there():
        return ArchiveNotFoundError(f"read {store.name}: the archive was removed since it was opened")
    if version not in commits.versions(store):
        with suppress(ArchiveError, OSError):
            if commits.read_newest(store).commit.action != "save":
                return ArchiveError(
                    f"read {store.name}: version {version} was removed since it was opened; open a newer one"
                )
    return ArchiveError(f"read {store.name}: the archive was overwritten since it was opened; open it again")


def open_version(store: Store, version: int | None = None) -> OpenArchive:
    """Read a commit of an archive, by default the newest.

    Raises
    ------
    ArchiveError
        If there is none that can be used, or it cannot be read.
    """
    with _readable("open", store):
        if version is None:
            return OpenArchive(store, commits.read_newest(store))
        return OpenArchive(store, commits.read_given(store, version))


def open_again(store: Store, version: int, token: str, roots: Sequence[str]) -> OpenArchive:
    """Read the commit of an archive that was opened before, maybe in another process.

    Raises
    ------
    ArchiveError
        If it is not there any more, or cannot be read.
    """
    with _readable("read", store):
        try:
            stored = commits.read_version(store, version)
        except FileNotFoundError:
            raise overwritten(store, version) from None
        if stored.token != token:
            raise overwritten(store, version)
        return OpenArchive(store, stored, roots)


@contextmanager
def _readable(call: str, store: Store) -> Iterator[None]:
    """Turn errors of the operating system into errors of this package."""
    try:
        yield
    except ArchiveError:
        raise
    except OSError as error:
        kind = ArchiveError if isinstance(error, PermissionError) else DamagedArchiveError
        name = error.filename or COMMITS
        raise kind(
            f"{call} {store.name}: {name} cannot be read: {error.strerror}; {VERIFY_ADVICE}"
        ) from error
