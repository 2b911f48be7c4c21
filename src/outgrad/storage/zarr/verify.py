"""Check every byte of an archive against its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from outgrad.errors import DamagedArchiveError, MemoryLimitError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.documents import documents
from outgrad.storage.zarr.format import ArraySpec
from outgrad.storage.zarr.opened import OpenArchive, keys_in_commit, open_newest
from outgrad.storage.zarr.storage_chunks import (
    ByteStore,
    Checksums,
    ChunkError,
    SegmentStore,
    UnreadableError,
)
from outgrad.storage.zarr.verify_tables import table_mistakes
from outgrad.storage.zarr.zarr_json import document_mistake

MOST_JSON_BYTES = 2**30
"""Of a ``zarr.json``, which may hold the metadata of all arrays below it."""
MOST_PROBLEMS = 1000
"""Corrupted chunks of an array that are listed: a commit may name millions of chunks that never existed."""
MANIFEST = -1


@dataclass(frozen=True)
class Problem:
    """One corrupted or missing file.

    Parameters
    ----------
    array : str
        Path of the Zarr array in its segment, such as ``blocks/3/gradients/positions/values``; of a file that
        is not a chunk, its path in the archive.
    chunk : int or None
        Number of the storage chunk; None for a file that is not one.
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
        subject = self.array if self.chunk is None else f"{self.array}, storage chunk {self.chunk},"
        others = [path for path in self.needed_for if path != self.array]
        return f"{subject} {self.what}" + (f" (needed for {', '.join(others)})" if others else "")


def verify_archive(path: str | Path) -> list[Problem]:
    """Read every chunk and every metadata file of an archive, one at a time, and list what is corrupted.

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
        archive = open_newest(root)
    except DamagedArchiveError as error:
        newest = [commits.commit_path(root, version) for version in commits.versions(root)[-1:]]
        return [
            Problem(str(path.relative_to(root)), None, f"is corrupted: {error}") for path in newest or [root]
        ]
    problems: list[Problem] = []
    try:
        keys_in_commit(archive)
    except DamagedArchiveError as error:
        commit = commits.commit_path(root, archive.stored.commit.version)
        problems.append(Problem(str(commit.relative_to(root)), None, f"is corrupted: {error}"))

    store = ByteStore.local(root, read_only=True)
    expected = dict(documents(archive.segment))
    for key in expected:
        try:
            raw = store.get(key, MOST_JSON_BYTES)
            mistake = "is missing" if raw is None else document_mistake(key, raw.tobytes(), expected)
        except UnreadableError as error:
            mistake = str(error)
        if mistake:
            problems.append(Problem(key, None, mistake))

    chunks = list(_chunk_problems(store, archive))
    unreadable = {(number, problem.chunk) for number, problem in chunks}
    problems.extend(problem for _, problem in chunks)
    if any(number == MANIFEST for number, _ in chunks):
        return problems  # tables cannot be read without it
    tables = table_mistakes(archive, unreadable)
    return [*problems, *(Problem(path, None, mistake) for path, mistake in tables)]


def _chunk_problems(store: ByteStore, archive: OpenArchive) -> Iterator[tuple[int, Problem]]:
    """Every chunk that cannot be used, with the number of its array."""
    segment = archive.segment
    manifest = segment.manifest
    assert manifest is not None, "a commit has a manifest"
    chunks = SegmentStore(store, segment.prefix)
    is_readable = True
    for problem in _array_problems(chunks, manifest.array, manifest.checksums, lambda _: ()):
        is_readable = False
        yield MANIFEST, problem
    checksums = None  # without the manifest each chunk still has its own
    if is_readable:
        checksums = chunks.read_rows(manifest.array, manifest.checksums, 0, manifest.array.shape[0])
    for number, array in enumerate(segment.arrays):
        base = segment.chunk_bases[number]
        expected = None if checksums is None else checksums[base : base + array.chunk_count]
        needed_for = partial(archive.needed_for, number)
        for problem in _array_problems(chunks, array, expected, needed_for):
            yield number, problem


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
