"""Check every byte of an archive against its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from outgrad.errors import DamagedArchiveError, MemoryLimitError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.documents import Document, documents
from outgrad.storage.zarr.format import ArraySpec, SegmentSpec
from outgrad.storage.zarr.opened import OpenArchive, keys_in_commit, read_newest
from outgrad.storage.zarr.storage_chunks import (
    ByteStore,
    Checksums,
    ChunkError,
    SegmentStore,
    UnreadableError,
)
from outgrad.storage.zarr.verify_tables import table_mistakes
from outgrad.storage.zarr.zarr_json import difference

MOST_JSON_BYTES = 2**30
"""Of a ``zarr.json``, which may hold the metadata of all arrays below it."""
MOST_PROBLEMS = 1000
"""Damaged chunks of an array that are listed: a commit may name millions of chunks that never were."""
MANIFEST = -1


@dataclass(frozen=True)
class Problem:
    """One damaged or missing file.

    Parameters
    ----------
    array : str
        Path of the Zarr array below its segment, such as ``blocks/3/gradients/positions/values``; of a
        file that is no chunk, its path in the archive.
    chunk : int or None
        Number of the storage chunk; None for a file that is none.
    what : str
        What is wrong with it.
    needed_for : tuple of str
        Metatensor's paths of the arrays that have rows in this chunk: several, where small ones share it.
    """

    array: str
    chunk: int | None
    what: str
    needed_for: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = self.array if self.chunk is None else f"{self.array}, storage chunk {self.chunk},"
        others = [path for path in self.needed_for if path != self.array]
        return f"{place} {self.what}" + (f" (needed for {', '.join(others)})" if others else "")


def verify(path: str | Path) -> list[Problem]:
    """Read every chunk and every metadata file of an archive, one at a time, and list what is damaged.

    Parameters
    ----------
    path : str or Path
        The archive.

    Returns
    -------
    list of Problem
        Empty if all is well.

    Raises
    ------
    ArchiveError
        If there is no archive to check, or it is of a newer format.
    """
    root = Path(path).absolute()
    try:
        archive = read_newest(root)
    except DamagedArchiveError as error:
        newest = [commits.commit_path(root, version) for version in commits.versions(root)[-1:]]
        return [
            Problem(str(path.relative_to(root)), None, f"is damaged: {error}") for path in newest or [root]
        ]
    store = ByteStore.local(root, read_only=True)
    problems = [*_key_problems(archive), *_document_problems(store, archive.segment)]
    chunks = list(_chunk_problems(store, archive))
    unreadable = {(number, problem.chunk) for number, problem in chunks}
    problems.extend(problem for _, problem in chunks)
    if any(number == MANIFEST for number, _ in chunks):
        return problems  # tables cannot be read without it
    tables = table_mistakes(archive, unreadable)
    return [*problems, *(Problem(path, None, mistake) for path, mistake in tables)]


def _key_problems(archive: OpenArchive) -> Iterator[Problem]:
    try:
        keys_in_commit(archive)
    except DamagedArchiveError as error:
        path = commits.commit_path(archive.root, archive.found.commit.version)
        yield Problem(str(path.relative_to(archive.root)), None, f"is damaged: {error}")


def _document_problems(store: ByteStore, segment: SegmentSpec) -> Iterator[Problem]:
    expected = dict(documents(segment))
    for key in expected:
        what = _document_problem(store, key, expected)
        if what:
            yield Problem(key, None, what)


def _document_problem(store: ByteStore, key: str, expected: dict[str, Document]) -> str:
    try:
        raw = store.get(key, MOST_JSON_BYTES)
    except UnreadableError as error:
        return str(error)
    return "is missing" if raw is None else difference(key, raw.tobytes(), expected)


def _chunk_problems(store: ByteStore, archive: OpenArchive) -> Iterator[tuple[int, Problem]]:
    """Every chunk that cannot be used, with the number of its array."""
    segment = archive.segment
    manifest = segment.manifest
    assert manifest is not None, "a commit has a manifest"
    chunks = SegmentStore(store, segment.prefix)
    checksums = None  # without the manifest each chunk still has its own
    found = list(_array_problems(chunks, manifest.array, manifest.checksums, lambda _: ()))
    yield from ((MANIFEST, problem) for problem in found)
    if not found:
        checksums = chunks.read_rows(manifest.array, manifest.checksums, 0, manifest.array.shape[0])
    for number, array in enumerate(segment.arrays):
        base = segment.chunk_bases[number]
        own = None if checksums is None else checksums[base : base + array.chunk_count]
        needed = partial(archive.needed_for, number)
        yield from ((number, problem) for problem in _array_problems(chunks, array, own, needed))


def _array_problems(
    store: SegmentStore,
    array: ArraySpec,
    checksums: Checksums | None,
    needed_for: Callable[[int], Sequence[str]],
) -> Iterator[Problem]:
    problems = 0
    for chunk in range(array.chunk_count):
        try:
            store.read_chunk(array, checksums, chunk)
        except (ChunkError, MemoryLimitError) as error:
            reason = error.reason if isinstance(error, ChunkError) else str(error)
            yield Problem(array.path, chunk, reason, tuple(needed_for(chunk)))
            problems += 1
        if problems == MOST_PROBLEMS:
            yield Problem(array.path, None, f"has {problems} such chunks up to here; no more of it was read")
            return
