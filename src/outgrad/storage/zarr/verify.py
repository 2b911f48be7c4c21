"""Check every byte of an archive against its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from outgrad.errors import DamagedArchiveError, MemoryLimitError
from outgrad.storage.store import Store, UnreadableError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.documents import Document, documents, root_document
from outgrad.storage.zarr.format import ArraySpec, Commit
from outgrad.storage.zarr.opened import OpenArchive, open_version
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.parse import read_json
from outgrad.storage.zarr.storage_chunks import ChunkError, Records, SegmentStore
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


def verify_archive(store: Store) -> list[Problem]:
    """Read every chunk and every metadata file of an archive, one at a time, and list what is corrupted.

    Parameters
    ----------
    store : Store
        Where the archive is.

    Returns
    -------
    list of Problem
        Empty if all is well.

    Raises
    ------
    ArchiveError
        If there is no archive to check, or it is of a newer format.
    """
    try:
        archive = open_version(store)
    except DamagedArchiveError as error:
        newest = [commits.commit_key(version) for version in commits.versions(store)[-1:]]
        return [Problem(key, None, f"is corrupted: {error}") for key in newest or [store.name]]
    problems: list[Problem] = []
    expected = dict(documents(archive.stored.commit))
    expected["zarr.json"] = _root_as_of(store, archive.stored.commit)

    def mistake_in(key: str) -> str:
        try:
            raw = store.get(key, MOST_JSON_BYTES)
        except UnreadableError as error:
            return str(error)
        return "is missing" if raw is None else document_mistake(key, raw.tobytes(), expected)

    found = zip(expected, store.each(mistake_in, expected), strict=True)
    problems += [Problem(key, None, mistake) for key, mistake in found if mistake]
    for segment in archive.segments:
        problems.extend(_segment_problems(store, archive, segment))
    return problems


def _root_as_of(store: Store, newest: Commit) -> Document:
    """What the root should say: a writer that is killed after its commit leaves it to that of the version
    before."""
    with suppress(UnreadableError, ValueError, KeyError, TypeError, RecursionError):
        raw = store.get("zarr.json", MOST_JSON_BYTES)
        about = {} if raw is None else read_json(raw.tobytes())["attributes"]["outgrad"]
        if "version" not in about and newest.version == 1:
            return root_document()
        if about["version"] in commits.versions(store):
            return root_document(commits.read_version(store, about["version"]).commit)
    return root_document(newest)


def _segment_problems(store: Store, archive: OpenArchive, segment: OpenSegment) -> Iterator[Problem]:
    try:
        segment.keys()
    except DamagedArchiveError as error:
        commit = commits.commit_key(archive.stored.commit.version)
        yield Problem(commit, None, f"is corrupted: {error}")
    chunks = list(_chunk_problems(store, segment))
    unreadable = {(number, problem.chunk) for number, problem in chunks}
    for _, problem in chunks:
        yield problem
    if not any(number == MANIFEST for number, _ in chunks):  # tables cannot be read without it
        for path, mistake in table_mistakes(segment, unreadable):
            yield Problem(path, None, mistake)


def _chunk_problems(store: Store, segment: OpenSegment) -> Iterator[tuple[int, Problem]]:
    """Every chunk that cannot be used, with the number of its array."""
    manifest = segment.spec.manifest
    assert manifest is not None, "a commit has a manifest"
    chunks = SegmentStore(store, segment.spec.prefix)
    is_readable = True
    for problem in _array_problems(chunks, manifest.array, manifest.records, lambda _: ()):
        is_readable = False
        yield MANIFEST, problem
    for number, array in enumerate(segment.spec.arrays):
        # Without the manifest each chunk still has its own checksum.
        records = partial(segment.records, number) if is_readable else None
        for problem in _array_problems(chunks, array, records, partial(segment.needed_for, number)):
            yield number, problem


def _array_problems(
    store: SegmentStore,
    array: ArraySpec,
    records: Records | None,
    needed_for: Callable[[int], Sequence[str]],
) -> Iterator[Problem]:
    problems = 0
    for chunk in range(array.chunk_count):
        try:
            store.read_chunk(array, records, chunk)
        except (ChunkError, MemoryLimitError) as error:
            reason = error.reason if isinstance(error, ChunkError) else str(error)
            yield Problem(array.path, chunk, reason, tuple(needed_for(chunk)))
            problems += 1
        if problems == MOST_PROBLEMS:
            yield Problem(array.path, None, f"has {problems} such chunks up to here; no more of it was read")
            return
    for shard in range(array.shard_count if array.chunks_per_shard > 1 else 0):
        # What other readers of Zarr find chunks by; Outgrad does not.
        try:
            store.shard_index(array, shard)
        except UnreadableError as error:
            if not problems:
                chunk = shard * array.chunks_per_shard
                yield Problem(
                    array.path, chunk, f"and those after it in their shard: {error}", tuple(needed_for(chunk))
                )
