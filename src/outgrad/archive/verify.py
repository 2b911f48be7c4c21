"""Check every byte of an archive against its commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from outgrad.archive import commits
from outgrad.archive.documents import Document, documents
from outgrad.archive.read import OpenArchive
from outgrad.archive.spec import ArraySpec, SegmentSpec
from outgrad.archive.stores import Array, ByteStore, Checksums, ChunkError, SegmentStore
from outgrad.errors import DamagedArchiveError


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
        archive = OpenArchive(root, commits.read_newest(root))
    except DamagedArchiveError as error:
        newest = commits.commit_path(root, commits.versions(root)[-1])
        return [Problem(str(newest.relative_to(root)), None, f"is damaged: {error}")]
    store = ByteStore.local(root, read_only=True)
    return [*_document_problems(store, archive.segment), *_chunk_problems(store, archive)]


def _document_problems(store: ByteStore, segment: SegmentSpec) -> Iterator[Problem]:
    for key, expected in documents(segment):
        raw = store.get(key)
        what = "is missing" if raw is None else _difference(raw.tobytes(), expected)
        if what:
            yield Problem(key, None, what)


def _difference(raw: bytes, expected: Document) -> str:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return "is damaged: it is no JSON"
    # Compared as text: 1 == True == 1.0 in Python, but not for readers of Zarr.
    same = json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
    return "" if same else "is damaged: it does not say what the commit says"


def _chunk_problems(store: ByteStore, archive: OpenArchive) -> Iterator[Problem]:
    segment = archive.segment
    manifest = segment.manifest
    assert manifest is not None, "a commit has a manifest"
    chunks = SegmentStore(store, segment.prefix)
    found = list(_array_problems(chunks, manifest.array, manifest.checksums, []))
    yield from found
    if found:
        # Without the manifest each chunk still has its own checksum.
        checksums = None
    else:
        checksums = chunks.read_rows(manifest.array, manifest.checksums, 0, manifest.array.shape[0])
    for number, array in enumerate(segment.arrays):
        base = segment.chunk_bases[number]
        own = None if checksums is None else checksums[base : base + array.chunk_count]
        needed = [archive.needed_for(number, chunk) for chunk in range(array.chunk_count)]
        yield from _array_problems(chunks, array, own, needed)


def _array_problems(
    store: SegmentStore, array: ArraySpec, checksums: Checksums | None, needed: list[list[str]]
) -> Iterator[Problem]:
    buffer: Array = np.empty(array.chunk_shape if array.chunk_count else 0, array.dtype)
    for chunk in range(array.chunk_count):
        try:
            store.read_chunk(array, checksums, chunk, buffer)
        except ChunkError as error:
            yield Problem(array.path, chunk, error.reason, tuple(needed[chunk]) if needed else ())
