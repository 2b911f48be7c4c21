"""Paths and URLs, made of what a user gave: the only code that does so."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote_to_bytes

from outgrad._foreign import kind_of
from outgrad.errors import (
    ArchiveError,
    ArchiveNotFoundError,
    OutgradError,
    PathAccessError,
    PathError,
    PathPermissionError,
    printable,
)
from outgrad.storage.urls import SUPPORTED, Location, StoreUrl, is_store_url, store_url

ZARR_SUFFIX = ".zarr"
MTS_SUFFIXES = (".mts", ".npz")
LABELS_SUFFIX = ".npy"
LONGEST_SHOWN = 200

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)(?:::|:/)")
"""How URLs and fsspec's chains of them begin; ``Path`` makes ``s3:/`` of ``s3://``."""
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[^}]*\}|\([^)]*\))")
"""Variables and commands of a shell."""

_REASONS = {
    errno.ENAMETOOLONG: "the name is longer than this file system allows; choose a shorter one",
    errno.ELOOP: "its links form a circle; remove one of them",
    errno.ENOTDIR: "one of its folders is a file; check the path",
}


def find_location(call: str, location: Any, folder: Path | None = None) -> Location:
    """Make a path, or the URL of an object store, of what a user gave; see :func:`local_path`.

    Examples
    --------
    >>> find_location("open", "s3://bucket/water.zarr").bucket
    'bucket'
    """
    if isinstance(location, StoreUrl):
        return location
    if isinstance(location, str) and is_store_url(location):
        return store_url(call, location)
    return local_path(call, location, folder)


def local_path(call: str, location: Any, folder: Path | None = None) -> Path:
    """Make a path on this machine of what a user gave.

    ``~`` and ``~user`` are expanded, and URLs ``file:///…`` understood. The file system is only asked about
    names that look like a variable.

    Parameters
    ----------
    call : str
        What was called, for messages.
    location : str or os.PathLike
        What the user gave.
    folder : Path, optional
        The start of relative paths; the working directory by default.

    Raises
    ------
    PathError
        If it is empty, a URL of another scheme, or names a variable or a user that does not exist.
    TypeError
        If it is not a path.

    Examples
    --------
    >>> local_path("save", "file:///data/water%20box.zarr")
    PosixPath('/data/water box.zarr')
    >>> local_path("save", "s3://bucket/water.zarr")
    Traceback (most recent call last):
    ...
    outgrad.errors.PathError: save s3://bucket/water.zarr: this must be a path on this machine, ...
    """
    text = _path_text(call, location)
    if not text.strip():
        raise PathError(f"{call}: the path is empty; give the name of a .zarr archive or an .mts file")
    if _SCHEME.match(text):
        text = _from_url(call, text.strip(), is_text=isinstance(location, str))
    elif text.startswith("~"):
        text = _expand_user(call, text)
    if "\0" in text:
        raise PathError(f"{call} {shown_path(text)}: the path has a null character; no name can have one")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise PathError(
            f"{call} {shown_path(text)}: the path is not valid text: {error.reason}; rename it"
        ) from None
    path = Path(text) if folder is None else folder / text
    if str(path).startswith("~") or _SCHEME.match(str(path)):
        with reaching(call, path):
            path = path.absolute()  # Path shortens ./~, but what is returned must mean the same once more
    _refuse_variables(call, text, path, Path() if folder is None else folder)
    return path


def is_stream(file: Any, method: str) -> bool:
    """Whether this is an open file and not a path: some of either have what the other has."""
    return hasattr(file, method) and (hasattr(file, "closed") or not isinstance(file, PathLike))


def shown_path(path: str | Location) -> str:
    """Return a path for a message: on one line, and shortened in the middle if it is long."""
    text = str(path)
    if len(text) > LONGEST_SHOWN:
        text = f"{text[: LONGEST_SHOWN // 2]}…{text[-LONGEST_SHOWN // 2 :]}"
    return printable(text)


def _path_text(call: str, location: Any) -> str:
    if isinstance(location, str):
        return str(location)
    # An OpenFile of fsspec is a path too, which opens itself and makes an empty file when it is asked for it.
    is_opener = hasattr(location, "fs") and not isinstance(location, PurePath)
    if isinstance(location, PathLike) and not is_opener:
        return os.fsdecode(location)
    advice = "give text or a pathlib.Path (save and load take open files too)"
    if isinstance(location, bytes):
        advice = "os.fsdecode makes text of it; for the content of a file call outgrad.io.load_buffer"
    elif is_opener:
        advice = "open it first, and give the open file to save or load"
    elif hasattr(location, "read") or hasattr(location, "write"):
        advice = "open files are for save and load"
    raise TypeError(f"{call}: the path must be str or os.PathLike, got {kind_of(location)}; {advice}")


def _from_url(call: str, text: str, *, is_text: bool) -> str:
    """The path of a ``file:`` URL (RFC 8089): on this machine, and absolute."""
    where = f"{call} {shown_path(text)}"
    scheme, _, rest = text.partition(":")
    if scheme.lower() != "file" or rest.startswith(":"):
        if is_store_url(text):
            where = f"{call} {shown_path(str(store_url(call, text)))}"
            raise PathError(f"{where}: this must be a path on this machine, or a URL file:///…; copy it here")
        advice = "a folder of this name is reached by its absolute path" if "://" not in text else SUPPORTED
        raise PathError(f"{where}: URLs of this kind are not supported; {advice}")
    if rest.startswith("//"):
        host, _, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise PathError(
                f"{where}: {shown_path(host)!r} is where a URL names a machine; write "
                f"file:///… with three slashes and an absolute path, or a relative path without file://"
            )
        rest = f"/{rest}"
    elif not is_text:
        raise PathError(
            f"{where}: pathlib has removed slashes of this URL; give it as text, or the path without file://"
        )
    if "?" in rest or "#" in rest:
        raise PathError(
            f"{where}: ? and # start a query and a fragment in a URL; write %3F and %23, or the path without "
            "file://"
        )
    return os.fsdecode(unquote_to_bytes(rest))


def _expand_user(call: str, text: str) -> str:
    user, slash, _ = text.partition("/")
    expanded = os.path.expanduser(text)  # noqa: PTH111  Path raises a bare RuntimeError
    if user == "~" and (expanded == text or not os.environ.get("HOME", user)):
        raise PathError(
            f"{call} {shown_path(text)}: the home directory is not known; set HOME, or write it out"
        )
    if expanded == text and slash:
        raise PathError(
            f"{call} {shown_path(text)}: there is no user {shown_path(user[1:])!r}; for a folder of this "
            f"name write ./{shown_path(text)}"
        )
    return expanded


def _refuse_variables(call: str, text: str, path: Path, folder: Path) -> None:
    """Refuse what a shell would have expanded: in Python it is a mistake, unless there is such a folder."""
    for part in (path, *path.parents):
        variable = _VARIABLE.search(part.name)
        if variable and part != folder and part not in folder.parents and not os.path.lexists(part):
            raise PathError(
                f"{call} {shown_path(text)}: variables such as {variable[0]} are not expanded; "
                "write the path out, or use ~ (or os.path.expandvars in Python)"
            )


def check_suffix(call: str, path: Location, valid: Sequence[str] = (ZARR_SUFFIX, *MTS_SUFFIXES)) -> None:
    """Refuse to write other suffixes: the suffix chooses the format."""
    where = f"{call} {shown_path(path)}"
    if isinstance(path, StoreUrl) and path.suffix != ZARR_SUFFIX:
        raise ArchiveError(
            f"{where}: object stores keep archives alone, whose names end in {ZARR_SUFFIX}; save one, and "
            "make another file of it on a disk with `outgrad convert`"
        )
    if path.suffix in valid:
        return
    if path.suffix in MTS_SUFFIXES:
        raise ArchiveError(
            f"{where}: only archives are written piece by piece, and {path.suffix!r} names metatensor's own "
            f"file; use {ZARR_SUFFIX} here, and make a file of it with `outgrad convert`"
        )
    raise ArchiveError(
        f"{where}: the suffix {path.suffix!r} names no format; use {ZARR_SUFFIX} for an archive"
        + (", or .mts (.npz) for metatensor's own file" if len(valid) > 1 else "")
    )


@contextmanager
def reaching(call: str, path: Location) -> Iterator[None]:
    """Turn an error of the system into one of ours, on one line that names the path."""
    try:
        yield
    except OutgradError:
        raise
    except OSError as error:
        where = f"{call} {shown_path(path)}"
        if isinstance(error, FileNotFoundError):
            raise ArchiveNotFoundError(f"{where}: there is nothing at this path") from error
        culprit = ""  # another path than the one that the user knows, such as a folder above it
        own = {str(path), str(path.absolute()) if isinstance(path, Path) else ""}
        if isinstance(error.filename, str | PathLike) and os.fspath(error.filename) not in own:
            culprit = f" ({shown_path(os.fspath(error.filename))})"
        if isinstance(error, PermissionError):
            raise PathPermissionError(
                f"{where}: permission denied{culprit}; check its owner and mode"
            ) from error
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        refused = PathAccessError(f"{where}: {reason}{culprit}")
        refused.errno = error.errno
        raise refused from error
