"""Commit files: found, read and checked, and published so that they are there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
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
"""Every format version keeps this frame, so that each can tell damage from news."""

_ROOT_ATTRIBUTES = {"outgrad": {"format": FORMAT}}
_RETRIES = 5


@dataclass(frozen=True)
class Found:
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
    is_begun = leases.is_begun(root, "zarr.json") or bool(leases.names_at_work(root / SEGMENTS))
    return is_begun or any(_looks_like_commit(commit_path(root, version)) for version in versions(root))


def _looks_like_commit(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(11) == b'{"sha256":"'
    except OSError:
        return False


def root_document() -> dict[str, Any]:
    """The ``zarr.json`` of an archive's root: a group that says what it is."""
    return {"zarr_format": 3, "node_type": "group", "attributes": _ROOT_ATTRIBUTES}


def read_newest(root: Path) -> Found:
    """Read the newest commit.

    Raises
    ------
    ArchiveError
        A subclass that says why there is none: no such path, no archive, unfinished, newer, damaged.
    """
    for _ in range(_RETRIES):
        found = versions(root)
        if not found:
            raise _nothing_found(root)
        try:
            return read_version(root, found[-1])
        except FileNotFoundError:
            continue  # An overwriting writer removed it after the listing: there is a newer one.
    raise ArchiveError(f"open {root}: the archive changed {_RETRIES} times while it was opened; try again")


def _nothing_found(root: Path) -> ArchiveError:
    if not root.exists():
        return ArchiveNotFoundError(f"open {root}: there is no such file or directory; check the path")
    if is_archive(root):
        return UnfinishedArchiveError(
            f"open {root}: the archive was never finished: its writer was stopped, or still runs; "
            "save it again with overwrite=True"
        )
    return NotAnArchiveError(
        f"open {root}: this is no Outgrad archive, it has no file {COMMITS}/{commit_name(1)}; check the path"
    )


def read_version(root: Path, version: int) -> Found:
    """Read one commit; FileNotFoundError if there is none."""
    path = commit_path(root, version)
    content = path.read_bytes()
    data, sha256 = _unwrap(content, path)
    _check_format(data, path)
    try:
        commit = commit_from_json(data)
    except ParseError as error:
        raise DamagedArchiveError(f"{path} is no valid commit: {error}; {_HELP}") from error
    if commit.version != version:
        raise DamagedArchiveError(
            f"{path} is the commit of version {commit.version}: it was renamed; {_HELP}"
        )
    return Found(commit, sha256)


_HELP = "restore the archive from a copy, or write it again"


def _unwrap(content: bytes, path: Path) -> tuple[Any, str]:
    match = _ENVELOPE.fullmatch(content)
    sha256 = hashlib.sha256(match[2]).hexdigest() if match else ""
    if match is None or match[1].decode() != sha256:
        raise DamagedArchiveError(f"{path} is damaged: its content does not match its SHA-256; {_HELP}")
    try:
        return read_json(match[2]), sha256
    except (ValueError, RecursionError) as error:
        raise DamagedArchiveError(f"{path} holds no JSON: {error}; {_HELP}") from error


def _wrap(data: Any) -> bytes:
    body = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
    return b'{"sha256":"%s","commit":%s}\n' % (hashlib.sha256(body).hexdigest().encode(), body)


def _check_format(data: Any, path: Path) -> None:
    try:
        header = header_from_json(data)
    except ParseError as error:
        raise NotAnArchiveError(f"{path} is no commit of an Outgrad archive: {error}") from error
    if header.format != FORMAT:
        raise NotAnArchiveError(f"{path} has format {header.format!r}, not {FORMAT!r}; check the path")
    if header.format_version > FORMAT_VERSION:
        raise NewerFormatError(
            f"{path} has format version {header.format_version}, and this is {SOFTWARE}, which reads "
            f"versions up to {FORMAT_VERSION}; update it (pip install --upgrade outgrad)"
        )


def content(commit: Commit) -> bytes:
    """The bytes of a commit file."""
    return _wrap(commit_to_json(commit))


def writer_of(root: Path, version: int) -> str | None:
    """Who has published a version; None if there is none."""
    try:
        return read_version(root, version).commit.writer
    except FileNotFoundError:
        return None


def publish(partial: Path, target: Path) -> None:
    """Give a commit that is on the disk its name: it appears as a whole, and never replaces another.

    Raises
    ------
    FileExistsError
        If another writer has published this version in the meantime.
    """
    try:
        files.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        # Without hard links there is no atomic create-if-absent: a race of two writers can lose one.
        if target.exists():
            raise FileExistsError(str(target)) from None
        files.replace(partial, target)


def write_plan(path: Path, segment: SegmentSpec) -> None:
    """Write what a segment will hold, for the tasks that fill it."""
    files.write_file(path, _wrap(segment_to_json(segment)), durable=False)


def read_plan(path: Path) -> SegmentSpec:
    """Read what a segment will hold."""
    try:
        return segment_from_json(_unwrap(path.read_bytes(), path)[0])
    except (FileNotFoundError, ParseError) as error:
        raise ArchiveError(
            f"write: {path} is missing or no plan ({error}); was the save aborted, or start() not called?"
        ) from error
