"""Commit files: found, read and checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from typing import Any

from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    DamagedArchiveError,
    NewerFormatError,
    NotAnArchiveError,
    UnfinishedArchiveError,
)
from outgrad.storage import leases
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.store import Entry, Store, UnreadableError
from outgrad.storage.zarr.commit_json import commit_to_json, segment_to_json
from outgrad.storage.zarr.format import (
    COMMITS,
    FORMAT,
    FORMAT_VERSION,
    SEGMENTS,
    ArchiveKind,
    Commit,
    SegmentList,
    SegmentSpec,
    commit_name,
    commit_version,
)
from outgrad.storage.zarr.parse import (
    ParseError,
    commit_from_json,
    header_from_json,
    read_json,
    segment_from_json,
    segments_from_json,
)

SOFTWARE = f"outgrad {metadata.version('outgrad')}"

_ENVELOPE = re.compile(rb'\{"sha256":"([0-9a-f]{64})","commit":(.*)\}\n', re.DOTALL)
"""Every format version keeps this frame, so that each can tell a damaged commit from a newer one."""

FRAME_BYTES = 75
"""Of a commit before its content."""

RESTORE_ADVICE = "restore the archive from a copy, or write it again"

_RETRIES = 5
_STALE = 16
"""By how many versions the root may be behind the newest commit: one, unless writers were killed."""
MOST_ROOT_BYTES = 2**30
"""Of a ``zarr.json``, which may hold the metadata of all arrays below it."""
MOST_COMMIT_BYTES = 2**31
"""Some millions of blocks."""


@dataclass(frozen=True)
class StoredCommit:
    """A commit as it was read, with the SHA-256 of its content."""

    commit: Commit
    sha256: str

    @property
    def token(self) -> str:
        """32 characters that name this content and version."""
        return self.sha256[:32]


def commit_key(version: int) -> str:
    return f"{COMMITS}/{commit_name(version)}"


def versions(store: Store) -> list[int]:
    """Archive versions that have a commit file, in order; none if there is no such folder."""
    if not store.lists:
        newest = newest_version(store)
        oldest = newest - last_that_is(lambda number: _has(store, newest - number), 0) if newest else 1
        return list(range(oldest, newest + 1))
    found: list[int] = []
    for _ in range(_RETRIES):
        names = store.names(COMMITS)
        found = sorted(number for name in names if (number := commit_version(name)) is not None)
        # What comes and goes while a folder is listed may be missing: of a version that is replaced, both the
        # old and the new one. https://pubs.opengroup.org/onlinepubs/9799919799/functions/readdir.html
        if found or not names:
            break
    return found


def newest_version(store: Store) -> int:
    """The newest version; 0 if there is none.

    Where nothing can be listed the root says which version it may be, and newer ones are looked for by their
    numbers, between which there are no gaps.
    """
    if store.lists:
        return max(versions(store), default=0)
    hint = 1
    with suppress(UnreadableError, ValueError, KeyError, TypeError, RecursionError):
        document = store.get("zarr.json", MOST_ROOT_BYTES)
        if document is not None:
            hint = int(json.loads(document.tobytes())["attributes"]["outgrad"].get("version", 1))
    # A writer that is killed after its commit leaves the root as it was before.
    known = next((number for number in range(hint, hint + _STALE) if _has(store, number)), 0)
    return last_that_is(lambda number: _has(store, number), known) if known else 0


def _has(store: Store, version: int) -> bool:
    """Whether there is a commit; a web server may have an answer for every name."""
    with suppress(UnreadableError):
        beginning = store.get_range(commit_key(version), 0, 11) if version > 0 else None
        return beginning is not None and beginning.tobytes() == b'{"sha256":"'
    return False


def last_that_is(is_there: Callable[[int], bool], known: int) -> int:
    """The last of the numbers from ``known`` on, which is there; those that are there have no gaps.

    >>> last_that_is(lambda number: number <= 1000, 1)
    1000
    """
    step = 1
    while is_there(known + step):
        known, step = known + step, 2 * step
    below, above = known, known + step
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if is_there(middle) else (below, middle)
    return below


def is_archive(store: Store) -> bool:
    """Whether the root of a store was made by an archive writer, finished, damaged or not."""
    with suppress(UnreadableError, ValueError, KeyError, TypeError, RecursionError):
        document = store.get("zarr.json", MOST_ROOT_BYTES)
        if (
            document is not None
            and json.loads(document.tobytes())["attributes"]["outgrad"]["format"] == FORMAT
        ):
            return True
    if is_root_begun(store.entries("")) or leases.names_at_work(store.entries(SEGMENTS)):
        return True
    # Its zarr.json was removed or damaged: a file that begins like a commit is proof enough.
    return any(_has(store, version) for version in versions(store))


def is_root_begun(entries: Sequence[Entry]) -> bool:
    """Whether somebody has begun to write the ``zarr.json`` of a root."""
    return any(partial.target == "zarr.json" for partial in leases.partials(entries))


def read_newest(store: Store) -> StoredCommit:
    """Read the newest commit.

    Raises
    ------
    ArchiveError
        A subclass that says why there is none: no such path, no archive, unfinished, newer, damaged.
    """
    for _ in range(_RETRIES):
        newest = newest_version(store)
        if not newest:
            break
        with suppress(FileNotFoundError):
            # An overwriting writer may remove it after the listing; then there is a newer one.
            return read_version(store, newest)
    else:
        raise ArchiveError(
            f"open {store.name}: the archive changed {_RETRIES} times while it was being opened; try again"
        )
    if not store.is_there():
        raise ArchiveNotFoundError(f"open {store.name}: there is no such file or directory; check the path")
    if is_archive(store):
        raise UnfinishedArchiveError(
            f"open {store.name}: the archive was never finished: its writer was stopped, or is still "
            "running; save it again with overwrite=True"
        )
    raise NotAnArchiveError(
        f"open {store.name}: this is not an Outgrad archive, it has no file {commit_key(1)}; check the path"
    )


def read_newest_if_any(store: Store) -> StoredCommit | None:
    """Read the newest commit; None if there is none yet."""
    for _ in range(_RETRIES):
        newest = newest_version(store)
        if not newest:
            return None
        with suppress(FileNotFoundError):
            return read_version(store, newest)
    return read_newest(store)


def read_given(store: Store, version: int, call: str = "open") -> StoredCommit:
    """Read the commit of a version that a user named.

    Raises
    ------
    ArchiveNotFoundError
        If there is no such version; the message lists those that there are.
    """
    try:
        return read_version(store, version)
    except FileNotFoundError:
        listed = versions(store)
        if not listed:
            return read_newest(store)  # says what is there
        raise ArchiveNotFoundError(
            f"{call} {store.name}: there is no version {version}; versions that can be opened: "
            f"{_ranges_text(listed)}"
        ) from None


def _ranges_text(numbers: Sequence[int]) -> str:
    """Ascending numbers: ``1, 3 to 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs)


def read_version(store: Store, version: int) -> StoredCommit:
    """Read one commit; FileNotFoundError if there is none."""
    return _with_lists(store, read_alone(store, version), commit_key(version))


def read_alone(store: Store, version: int) -> StoredCommit:
    """Read one commit without its lists: its segments are those that are not in them."""
    return parse_commit(_object(store, commit_key(version)), version, f"{store.name}/{commit_key(version)}")


def parse_commit(raw: bytes, version: int, path: str) -> StoredCommit:
    """Check the bytes of the commit of a version; its segments are those that are not in lists."""
    stored = _parsed(raw, path)
    if stored.commit.version != version:
        raise DamagedArchiveError(
            f"open {path}: this is the commit of version {stored.commit.version}, renamed; {RESTORE_ADVICE}"
        )
    return stored


def read_unpublished(store: Store, key: str) -> Commit:
    """Read a commit that is not one yet: staged, or kept with data that were refused."""
    return _with_lists(store, _parsed(_object(store, key), f"{store.name}/{key}"), key).commit


def commit_frame(store: Store, version: int) -> bytes:
    """The beginning of a commit file, with its SHA-256: equal where the commit is; empty if there is none."""
    found = store.get_range(commit_key(version), 0, FRAME_BYTES)
    return b"" if found is None else found.tobytes()


def _object(store: Store, key: str) -> bytes:
    path = f"{store.name}/{key}"
    try:
        raw = store.get(key, MOST_COMMIT_BYTES)
    except UnreadableError as error:
        raise DamagedArchiveError(f"open {store.name}: {path} {error}; {RESTORE_ADVICE}") from error
    if raw is None:
        raise FileNotFoundError(path)
    return raw.tobytes()


_commits: OpenFiles[str, StoredCommit] = OpenFiles(4)
"""Commits that were parsed, by their SHA-256, which is that of their bytes: a writer reads the newest one
several times."""


def _parsed(raw: bytes, path: str) -> StoredCommit:
    body, sha256 = _unwrap(raw, path)
    return _commits.get(sha256, partial(_commit_of, body, sha256, path))


def _commit_of(body: bytes, sha256: str, path: str) -> StoredCommit:
    data = _json(body, path)
    try:
        header = header_from_json(data)
    except ParseError as error:
        raise NotAnArchiveError(
            f"open {path}: this is not a commit of an Outgrad archive: {error}; check the path"
        ) from error
    if header.format != FORMAT:
        raise NotAnArchiveError(
            f"open {path}: it has format {header.format!r}, not {FORMAT!r}; check the path"
        )
    if header.format_version > FORMAT_VERSION:
        raise NewerFormatError(
            f"open {path}: it has format version {header.format_version}, and this is {SOFTWARE}, which "
            f"reads versions up to {FORMAT_VERSION}; update it (pip install --upgrade outgrad)"
        )
    try:
        commit = commit_from_json(data)
    except ParseError as error:
        raise DamagedArchiveError(
            f"open {path}: this is not a valid commit: {error}; {RESTORE_ADVICE}"
        ) from error
    return StoredCommit(commit, sha256)


def _with_lists(store: Store, stored: StoredCommit, key: str) -> StoredCommit:
    commit = stored.commit
    listed = [
        segment
        for each in commit.lists
        for segment in _lists.get(
            (each.sha256, commit.kind), partial(_list_of, store, key, each, commit.kind)
        )
    ]
    if not listed:
        return stored
    return replace(stored, commit=replace(commit, segments=(*listed, *commit.segments)))


def list_key(name: str) -> str:
    """Where a list of segments is."""
    return f"{COMMITS}/{name}.json"


def list_bytes(segments: Sequence[SegmentSpec]) -> bytes:
    """The bytes of a list of segments."""
    return _wrap({"segments": [segment_to_json(segment) for segment in segments]})


def sha256_of(wrapped: bytes) -> str:
    """The SHA-256 in the frame of a commit or a list."""
    match = _ENVELOPE.fullmatch(wrapped)
    assert match is not None, "it was wrapped here"
    return match[1].decode()


_lists: OpenFiles[tuple[str, str], tuple[SegmentSpec, ...]] = OpenFiles(256)


def _list_of(store: Store, commit: str, listed: SegmentList, kind: ArchiveKind) -> tuple[SegmentSpec, ...]:
    """Read a list that a commit names; FileNotFoundError if both were removed since the commit was read."""
    try:
        return read_list(store, listed, kind)
    except DamagedArchiveError:
        if not store.exists(commit):
            raise FileNotFoundError(commit) from None
        raise


def read_list(store: Store, listed: SegmentList, kind: ArchiveKind) -> tuple[SegmentSpec, ...]:
    """Read a list of segments, and compare it with what a commit says of it."""
    path = f"{store.name}/{list_key(listed.name)}"
    try:
        raw = _object(store, list_key(listed.name))
    except FileNotFoundError as error:
        raise DamagedArchiveError(f"open {store.name}: {path} is missing; {RESTORE_ADVICE}") from error
    return parse_list(raw, listed, kind, path)


def parse_list(raw: bytes, listed: SegmentList, kind: ArchiveKind, path: str) -> tuple[SegmentSpec, ...]:
    """Check the bytes of a list of segments."""
    body, sha256 = _unwrap(raw, path)
    try:
        segments = segments_from_json(_json(body, path), kind)
    except ParseError as error:
        raise DamagedArchiveError(
            f"open {path}: this is not a valid list of segments: {error}; {RESTORE_ADVICE}"
        ) from error
    if sha256 != listed.sha256 or len(segments) != listed.segments:
        raise DamagedArchiveError(f"open {path}: this is another list of segments; {RESTORE_ADVICE}")
    return segments


def _unwrap(content: bytes, path: str) -> tuple[bytes, str]:
    """The JSON in a frame, if it has the SHA-256 that the frame says."""
    match = _ENVELOPE.fullmatch(content)
    sha256 = hashlib.sha256(match[2]).hexdigest() if match else ""
    if match is None or match[1].decode() != sha256:
        raise DamagedArchiveError(
            f"open {path}: it is corrupted, its content does not match its SHA-256; {RESTORE_ADVICE}"
        )
    return match[2], sha256


def _json(body: bytes, path: str) -> Any:
    try:
        return read_json(body)
    except (ValueError, RecursionError) as error:
        raise DamagedArchiveError(f"open {path}: it does not hold JSON: {error}; {RESTORE_ADVICE}") from error


def _wrap(data: Any) -> bytes:
    body = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
    return b'{"sha256":"%s","commit":%s}\n' % (hashlib.sha256(body).hexdigest().encode(), body)


def commit_bytes(commit: Commit) -> bytes:
    """The bytes of a commit file."""
    return _wrap(commit_to_json(commit))


def writer_of(store: Store, version: int) -> str | None:
    """The writer that published a version; None if there is none."""
    try:
        return read_version(store, version).commit.writer
    except FileNotFoundError:
        return None


def plan_bytes(segment: SegmentSpec) -> bytes:
    """What a segment will hold, for the tasks that fill it."""
    return _wrap(segment_to_json(segment))


def read_plan(store: Store, key: str) -> SegmentSpec:
    """Read what a segment will hold."""
    path = f"{store.name}/{key}"
    reason: object = "there is no such file"
    try:
        raw = store.get(key)
        if raw is not None:
            return segment_from_json(_json(_unwrap(raw.tobytes(), path)[0], path))
    except (UnreadableError, ParseError) as error:
        reason = error
    raise ArchiveError(
        f"save: {path} is missing or not a plan ({reason}); call start() first, or save again if the save "
        "was aborted"
    )
