"""Mending an archive with what is whole in a copy of it, object by object, each in one step.

Nothing is written that is not what the commit says: chunks have its checksums, lists its SHA-256. A commit is
only taken from the copy where something that is still here confirms it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from outgrad import config
from outgrad.errors import ArchiveError
from outgrad.storage import leases
from outgrad.storage.store import Bytes, Store, UnreadableError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.codecs import shard_bytes
from outgrad.storage.zarr.documents import Document, root_document, serialize
from outgrad.storage.zarr.format import SEGMENTS, ArchiveKind, ArraySpec, Commit, SegmentList
from outgrad.storage.zarr.parse import read_json
from outgrad.storage.zarr.scrub import bad_chunks
from outgrad.storage.zarr.storage_chunks import ChunkError, Records, SegmentStore
from outgrad.storage.zarr.zarr_json import document_mistake

_FRAME = re.compile(rb'\{"sha256":"([0-9a-f]{64})"')

NOT_CONFIRMED = (
    "the commit in the copy may be another one, as nothing that is left here confirms it; compare "
    "`outgrad log` of both"
)


def have_segments_in_common(store: Store, copy: Store) -> bool:
    """Whether a copy has a segment that is in an archive, or that a commit of it names."""
    names, others = (
        {entry.name for entry in each.entries(SEGMENTS) if entry.kind == "folder"} for each in (store, copy)
    )
    for version in commits.versions(store):
        with suppress(ArchiveError, FileNotFoundError):
            names |= {segment.name for segment in commits.read_alone(store, version).commit.segments}
    return bool(names & others)


class NotMendedError(Exception):
    """Why something could not be mended."""


class Mender:
    """An archive, and a copy of it."""

    def __init__(self, store: Store, copy: Store) -> None:
        self.store = store
        self.copy = copy
        self._durable = config.durable(None)
        self._folders: set[str] = set()

    def shard(self, prefix: str, array: ArraySpec, records: Records | None, shard: int) -> None:
        """Put a shard together of chunks that are whole, here or in the copy.

        Raises
        ------
        NotMendedError
            If one of them is whole in neither, or the shard cannot be written.
        """
        if records is None:
            raise NotMendedError("the list of chunks, which has its checksums, is damaged too")
        here, there = (SegmentStore(store, prefix) for store in (self.store, self.copy))
        whole: dict[int, Bytes] = {}
        reason = ""
        for chunks in (here, there):
            for number, content in chunks.examine(array, records, shard):
                if not isinstance(content, ChunkError):
                    whole.setdefault(number, content)
                elif chunks is there and number not in whole:
                    reason = reason or f"in the copy, storage chunk {number} {content.reason}"
            if len(whole) == len(array.chunks_in(shard)):
                break
        else:
            raise NotMendedError(reason)
        ordered = [whole[number] for number in array.chunks_in(shard)]
        data = ordered[0] if array.chunks_per_shard == 1 else shard_bytes(ordered, array.chunks_per_shard)
        self.put(prefix + array.shard_key(shard), data)
        bad = bad_chunks(here, array, records, shard)
        if bad:
            raise NotMendedError(f"after it was written, storage chunk {bad[0].start} {bad[0].reason}")

    def document(self, key: str, expected: dict[str, Document]) -> None:
        """Take a ``zarr.json`` from the copy, with what users have added to it, or make it of the commit."""
        data = serialize(expected[key])
        with suppress(UnreadableError):
            raw = self.copy.get(key, commits.MOST_ROOT_BYTES)
            if raw is not None and not document_mistake(key, raw.tobytes(), expected):
                data = raw.tobytes()
        self.put(key, data)

    def listed(self, each: SegmentList, kind: ArchiveKind) -> None:
        """Take a list of segments from the copy, whose SHA-256 a commit has."""
        key = commits.list_key(each.name)
        raw = self._from_copy(key)
        try:
            commits.parse_list(raw, each, kind, f"{self.copy.name}/{key}")
        except ArchiveError as error:
            raise NotMendedError(f"in the copy it is not the right one either: {error}") from error
        self.put(key, raw)

    def commit(self, version: int) -> None:
        """Take the commit of a version from the copy, if something here confirms that it is the same.

        That is its SHA-256, if it can still be read in what is left of the commit; a later commit that is
        equal in both; a segment that this version has added, whose name is random, and so of this history
        alone; or the root, if it says of this version what it would say of the commit in the copy. Where no
        commit is left at all, it is that all segments are here.
        """
        key = commits.commit_key(version)
        raw = self._from_copy(key)
        try:
            stored = commits.parse_commit(raw, version, f"{self.copy.name}/{key}")
        except ArchiveError as error:
            raise NotMendedError(f"in the copy it is damaged too: {error}") from error
        if not (
            self._has_sha256(key, stored.sha256)
            or self._is_before_an_equal_one(version)
            or self._has_new_segments(stored.commit)
            or self._is_what_root_says(version)
        ):
            raise NotMendedError(NOT_CONFIRMED)
        self.put(key, raw)

    def is_another_commit(self, version: int) -> bool:
        """Whether the commit here is not that of the copy, which would be confirmed."""
        key = commits.commit_key(version)
        with suppress(NotMendedError, ArchiveError, UnreadableError):
            raw, here = self._from_copy(key), self.store.get(key, commits.MOST_COMMIT_BYTES)
            stored = commits.parse_commit(raw, version, f"{self.copy.name}/{key}")
            return (here is None or here.tobytes() != raw) and self._has_new_segments(stored.commit)
        return False

    def _has_sha256(self, key: str, sha256: str) -> bool:
        with suppress(UnreadableError):
            left = self.store.get_range(key, 0, 100)
            match = None if left is None else _FRAME.match(left.tobytes())
            return match is not None and match[1].decode() == sha256
        return False

    def _is_before_an_equal_one(self, version: int) -> bool:
        for later in commits.versions(self.store):
            if later > version:
                with suppress(ArchiveError, FileNotFoundError):
                    here, there = (commits.read_alone(store, later) for store in (self.store, self.copy))
                    return here.sha256 == there.sha256
        return False

    def _has_new_segments(self, commit: Commit) -> bool:
        """Whether the segments that a version has added are here, and there is one."""
        names = {segment.name for segment in commit.segments}
        with suppress(ArchiveError):  # those in lists too
            names |= {each.name for each in commits.read_version(self.copy, commit.version).commit.segments}
        before: set[str] = set()
        if commits.versions(self.store):
            with suppress(ArchiveError, FileNotFoundError):
                previous = commits.read_version(self.copy, commit.version - 1).commit
                before = {segment.name for segment in previous.segments}
        new = names - before
        there = {entry.name for entry in self.store.entries(SEGMENTS) if entry.kind == "folder"}
        return bool(new) and new <= there

    def _is_what_root_says(self, version: int) -> bool:
        """Whether the root, which names the place of every block, is that of the commit in the copy."""
        with suppress(
            UnreadableError, ArchiveError, ValueError, KeyError, TypeError, RecursionError, OSError
        ):
            raw = self.store.get("zarr.json", commits.MOST_ROOT_BYTES)
            found = None if raw is None else read_json(raw.tobytes())["attributes"]["outgrad"]
            root = root_document(commits.read_version(self.copy, version).commit)
            expected = root["attributes"]["outgrad"]
            return bool(expected["version"] == version and expected["blocks"] and found == expected)
        return False

    def _from_copy(self, key: str) -> bytes:
        try:
            raw = self.copy.get(key, commits.MOST_COMMIT_BYTES)
        except UnreadableError as error:
            raise NotMendedError(f"in the copy it {error}") from error
        if raw is None:
            raise NotMendedError("in the copy it is missing")
        return raw.tobytes()

    def put(self, key: str, data: bytes | Bytes) -> None:
        """Write an object in one step, in the place of the damaged one."""
        try:
            self._make_folders(key.rpartition("/")[0])
            self.store.put(key, data, durable=self._durable)
            if self._durable:
                self.store.flush((), [key.rpartition("/")[0]])
        except OSError as error:
            raise NotMendedError(f"it cannot be written: {error.strerror or error}") from error

    def _make_folders(self, folder: str) -> None:
        """Make the folder of an object, where it is missing; what is no folder stays, as for a save."""
        above, _, name = folder.rpartition("/")
        if not folder or folder in self._folders:
            return
        self._make_folders(above)
        kinds = {entry.name: entry.kind for entry in self.store.entries(above)}
        if kinds.get(name, "folder") != "folder":
            raise NotMendedError(f"{folder} is a file or a link where a folder belongs; remove it first")
        if name not in kinds:
            with suppress(FileExistsError):
                self.store.make_folder(folder)
        for partial in leases.abandoned_partials(self.store.entries(folder)):  # of a repair that was killed
            self.store.remove(f"{folder}/{partial}")
        self._folders.add(folder)


def tried(mender: Mender | None, step: Callable[..., None], *arguments: Any) -> tuple[bool, str]:
    """Whether a method of a mender has mended something, and why not; neither without a mender."""
    if mender is None:
        return False, ""
    try:
        step(mender, *arguments)
    except NotMendedError as error:
        return False, f"; not mended: {error}"
    return True, ""
