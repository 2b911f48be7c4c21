"""Where reading begins and writing ends: links, folders, and what the file system reports about them.

Questions to the file system go through ``os.path``, which answers no where ``Path`` raises.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH114

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard, overload

from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    NotAnArchiveError,
    PathAccessError,
    PathError,
    PathPermissionError,
)
from outgrad.storage.paths import (
    LABELS_SUFFIX,
    MTS_SUFFIXES,
    ZARR_SUFFIX,
    find_location,
    reaching,
    shown_path,
)
from outgrad.storage.stores import open_store
from outgrad.storage.urls import READ_ONLY, Location, StoreUrl
from outgrad.storage.zarr.commits import is_archive

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@overload
def source_path(call: str, location: Path) -> Path: ...
@overload
def source_path(call: str, location: Any) -> Location: ...
def source_path(call: str, location: Any) -> Location:
    """Make the path of an archive or a file that exists, or a URL; nothing is opened.

    An object store is not asked: it is when the archive is opened, which is a request less.

    Raises
    ------
    ArchiveNotFoundError
        If there is nothing at the path.
    NotAnArchiveError
        If it is a pipe, a socket or a device.
    PathAccessError
        If the system refuses access.
    """
    path = find_location(call, location)
    if isinstance(path, StoreUrl):
        if path.suffix in MTS_SUFFIXES:
            raise ArchiveError(
                f"{call} {shown_path(path)}: metatensor's own files are only read from this machine, and "
                f"archives ({ZARR_SUFFIX}) from object stores: copy it here, or convert it there"
            )
        return path
    with reaching(call, path):
        mode = _mode(path)
    if mode is None:
        _refuse_dangling(call, path, (path, *path.parents))
        raise ArchiveNotFoundError(f"{call} {shown_path(path)}: there is nothing at this path")
    _refuse_special(call, path, mode)
    _require_rights(call, path, path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0))
    return path


def is_file(source: Location) -> TypeGuard[Path]:
    """Whether this is one file, and not a folder or in an object store, where archives are."""
    return isinstance(source, Path) and not source.is_dir()


def exists(location: Location) -> bool:
    """Whether there is anything at a path or a URL."""
    return open_store(location).is_there() if isinstance(location, StoreUrl) else location.exists()


def require_writable(call: str, location: Location) -> None:
    """Refuse to change what is at a URL where archives are only read."""
    if isinstance(location, StoreUrl) and location.scheme in READ_ONLY:
        raise PathError(
            f"{call} {shown_path(location)}: archives are only read at {location.scheme}://; write to a disk "
            "or a bucket"
        )


def target_path(call: str, path: Location) -> Location:
    """Follow links to where an output will be, and refuse early what cannot be written there.

    An output goes through a link to the target of the link, which need not exist yet; the link stays.

    Raises
    ------
    ArchiveNotFoundError
        If a link leads to a folder that does not exist.
    PathAccessError
        If nothing can be written there.
    """
    where = f"{call} {shown_path(path)}"
    if isinstance(path, StoreUrl):
        require_writable(call, path)
        _refuse_inside(where, [parent for parent in path.parents if parent.suffix == ZARR_SUFFIX])
        return path
    if path.name in ("", ".."):
        raise PathError(f"{where}: this is a folder; name the archive or the file in it")
    with reaching(call, path):
        target = Path(os.path.realpath(path))
        mode = _mode(target)
    if mode is not None:
        _refuse_special(call, path, mode)
    _refuse_dangling(call, path, path.parents)
    if os.path.islink(path):
        if {_is_zarr(path.suffix), _is_zarr(target.suffix)} == {True, False}:
            raise ArchiveError(
                f"{where}: this is a link to {shown_path(target)}, which has another format; give them the "
                "same suffix"
            )
        if not os.path.exists(target.parent):
            raise ArchiveNotFoundError(
                f"{where}: this is a link to {shown_path(target)}, whose folder does not exist; create it "
                "first"
            )
    with reaching(call, path):
        # Of an archive that is there, what is above it stays as it is: it may be somebody else's.
        above = (target, *target.parents) if os.path.isdir(target) else target.parents
        folder = next(parent for parent in above if os.path.exists(parent))
        if not folder.is_dir():
            raise PathAccessError(f"{where}: {shown_path(folder)} is a file, not a folder; check the path")
        _require_rights(call, path, folder, os.W_OK | os.X_OK)
        _refuse_inside(where, target.parents)
    return target


def _refuse_inside(where: str, parents: Sequence[Location]) -> None:
    for parent in parents:
        if is_archive(open_store(parent)):
            raise PathError(
                f"{where}: this is inside the archive {shown_path(parent)}; choose a path outside of it"
            )


def require_apart(call: str, targets: Sequence[Location]) -> None:
    """Refuse outputs of which two are one, or one lies in another, however their paths are spelled.

    Raises
    ------
    PathError
        With both paths.
    """
    owners: dict[Any, Location] = {}
    for target in targets:
        if owners.setdefault(_identity(target), target) is not target:
            raise PathError(
                f"{call}: two outputs have the path {shown_path(target)}; give each a path of its own"
            )
    for target in targets:
        for parent in target.parents:
            if owner := owners.get(_identity(parent)):
                raise PathError(
                    f"{call}: the output {shown_path(target)} lies in the output {shown_path(owner)}; "
                    "choose a path outside of it"
                )


def _identity(path: Location) -> Any:
    """Folders by their inode, not their name; what does not exist yet, by its name in such a folder."""
    if isinstance(path, StoreUrl):
        return path
    folder = next(parent for parent in (path, *path.parents) if os.path.isdir(parent))
    status = folder.stat()
    return status.st_dev, status.st_ino, path.relative_to(folder).parts


def _is_zarr(suffix: str) -> bool | None:
    """Whether a suffix names archives; None if it names no format."""
    return suffix == ZARR_SUFFIX if suffix in (ZARR_SUFFIX, *MTS_SUFFIXES, LABELS_SUFFIX) else None


def is_special(path: Path) -> bool:
    """Whether this is a device, a pipe or a socket."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _refuse_dangling(call: str, path: Path, links: Iterable[Path]) -> None:
    for link in links:
        if os.path.islink(link) and not os.path.exists(link):
            raise ArchiveNotFoundError(
                f"{call} {shown_path(path)}: {shown_path(link)} is a link to {shown_path(link.readlink())}, "
                "where there is nothing"
            )


def _refuse_special(call: str, path: Path, mode: int) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = _KINDS.get(stat.S_IFMT(mode), "not a file")
        raise NotAnArchiveError(
            f"{call} {shown_path(path)}: this is {kind}; give the path of a file or an archive, or an open "
            "file"
        )


def _require_rights(call: str, path: Path, accessed: Path, rights: int) -> None:
    if not os.access(accessed, rights, effective_ids=os.access in os.supports_effective_ids):
        if rights & os.W_OK and os.statvfs(accessed).f_flag & os.ST_RDONLY:
            raise PathPermissionError(
                f"{call} {shown_path(path)}: the file system is mounted read-only ({shown_path(accessed)}); "
                "choose a path elsewhere, or mount it for writing"
            )
        raise PathPermissionError(
            f"{call} {shown_path(path)}: permission denied ({shown_path(accessed)}); check its owner and mode"
        )
