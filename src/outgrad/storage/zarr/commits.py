"""Commit files: found, read and checked."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    DamagedArchiveError,
    NewerFormatError,
    NotAnArchiveError,
    UnfinishedArchiveError,
)
from outgrad.storage import files, leases
from outgrad.storage.zarr.commit_json import commit_to_json, segment_to_json
from outgrad.storage.zarr.format import (
    COMMITS,
    FORMAT,
    FORMAT_VERSION,
    SEGMENTS,
    Commit,
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
)

SOFTWARE = f"outgrad {metadata.version('outgrad')}"

_ENVELOPE = re.compile(rb'\{"sha256":"([0-9a-f]{64})","commit":(.*)\}\n', re.DOTALL)
"""Every format version keeps this frame, so that each can tell a damaged commit from a newer one."""

RESTORE_ADVICE = "restore the archive from a copy, or write it again"

_RETRIES = 5


@dataclass(frozen=True)
class StoredCommit:
    """A commit as it was read, with the SHA-256 of its content."""

    commit: Commit
    sha256: str

    @property
    def token(self) -> str:
        """32 characters that name this content and version."""
        return self.sha256[:32]


def commit_path(root: Path, version: int) -> Path:
    return root / COMMITS / commit_name(version)


def versions(root: Path) -> list[int]:
    """Archive versions that have a commit file, in order; none if there is no such folder."""
    try:
        names = [path.name for path in (root / COMMITS).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(version for version in map(commit_version, names) if version is not None)


def is_archive(root: Path) -> bool:
    """Whether a directory was made by an archive writer, finished, damaged or not."""
    try:
        attributes = json.loads((root / "zarr.json").read_bytes())["attributes"]
        if attributes["outgrad"]["format"] == FORMAT:
            return True
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    if leases.is_begun(root, "zarr.json") or leases.names_at_work(root / SEGMENTS):
        return True
    # Its zarr.json was removed or damaged: a file that begins like a commit is proof enough.
    for version in versions(root):
        with suppress(OSError), commit_path(root, version).open("rb") as file:
            if file.read(11) == b'{"sha256":"':
                return True
    return False


def root_document() -> dict[str, Any]:
    """The ``zarr.json`` of an archive's root: a group that says what it is."""
    return {"zarr_format": 3, "node_type": "group", "attributes": {"outgrad": {"format": FORMAT}}}


def read_newest(root: Path) -> StoredCommit:
    """Read the newest commit.

    Raises
    ------
    ArchiveError
        A subclass that says why there is none: no such path, no archive, unfinished, newer, damaged.
    """
    for _ in range(_RETRIES):
        listed = versions(root)
        if not listed:
            break
        with suppress(FileNotFoundError):
            # An overwriting writer may remove it after the listing; then there is a newer one.
            return read_version(root, listed[-1])
    else:
        raise ArchiveError(
            f"open {root}: the archive changed {_RETRIES} times while it was being opened; try again"
        )
    if not root.exists():
        raise ArchiveNotFoundError(f"open {root}: there is no such file or directory; check the path")
    if is_archive(root):
        raise UnfinishedArchiveError(
            f"open {root}: the archive was never finished: its writer was stopped, or is still running; "
            "save it again with overwrite=True"
        )
    raise NotAnArchiveError(
        f"open {root}: this is not an Outgrad archive, it has no file {COMMITS}/{commit_name(1)}; "
        "check the path"
    )


def read_version(root: Path, version: int) -> StoredCommit:
    """Read one commit; FileNotFoundError if there is none."""
    path = commit_path(root, version)
    data, sha256 = _unwrap(path.read_bytes(), path)
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
    if commit.version != version:
        raise DamagedArchiveError(
            f"open {path}: this is the commit of version {commit.version}, renamed; {RESTORE_ADVICE}"
        )
    return StoredCommit(commit, sha256)


def _unwrap(content: bytes, path: Path) -> tuple[Any, str]:
    match = _ENVELOPE.fullmatch(content)
    sha256 = hashlib.sha256(match[2]).hexdigest() if match else ""
    if match is None or match[1].decode() != sha256:
        raise DamagedArchiveError(
            f"open {path}: it is corrupted, its content does not match its SHA-256; {RESTORE_ADVICE}"
        )
    try:
        return read_json(match[2]), sha256
    except (ValueError, RecursionError) as error:
        raise DamagedArchiveError(f"open {path}: it does not hold JSON: {error}; {RESTORE_ADVICE}") from error


def _wrap(data: Any) -> bytes:
    body = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
    return b'{"sha256":"%s","commit":%s}\n' % (hashlib.sha256(body).hexdigest().encode(), body)


def commit_bytes(commit: Commit) -> bytes:
    """The bytes of a commit file."""
    return _wrap(commit_to_json(commit))


def writer_of(root: Path, version: int) -> str | None:
    """The writer that published a version; None if there is none."""
    try:
        return read_version(root, version).commit.writer
    except FileNotFoundError:
        return None


def write_plan(path: Path, segment: SegmentSpec) -> None:
    """Write what a segment will hold, for the tasks that fill it."""
    files.write_file(path, _wrap(segment_to_json(segment)), durable=False)


def read_plan(path: Path) -> SegmentSpec:
    """Read what a segment will hold."""
    try:
        return segment_from_json(_unwrap(path.read_bytes(), path)[0])
    except (FileNotFoundError, ParseError) as error:
        raise ArchiveError(
            f"save: {path} is missing or not a plan ({error}); call start() first, or save again if the save "
            "was aborted"
        ) from error
