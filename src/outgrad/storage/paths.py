"""The one place that makes a local path of what a user gave."""

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
    errno.ELOOP: "links lead in a circle; remove one of them",
    errno.ENOTDIR: "one of its folders is a file; check the path",
}


def local_path(call: str, given: Any, folder: Path | None = None) -> Path:
    """Make a path of what a user gave.

    ``~`` and ``~user`` are expanded, and URLs ``file:///…`` understood. The file system is not asked, but
    where a name looks like a variable.

    Parameters
    ----------
    call : str
        What was called, for messages.
    given : str or os.PathLike
        What the user gave.
    folder : Path, optional
        What a relative path counts from; the working directory by default.

    Raises
    ------
    PathError
        If it is empty, a URL of another scheme, or names a variable or a user that does not exist.
    TypeError
        If it is no path at all.

    Examples
    --------
    >>> local_path("save", "file:///data/water%20box.zarr")
    PosixPath('/data/water box.zarr')
    >>> local_path("save", "s3://bucket/water.zarr")
    Traceback (most recent call last):
    ...
    outgrad.errors.PathError: save s3://bucket/water.zarr: object stores are not supported yet, ...
    """
    text = _text(call, given)
    if not text.strip():
        raise PathError(f"{call}: the path is empty; give the name of a .zarr archive or an .mts file")
    if _SCHEME.match(text):
        text = _from_url(call, text.strip(), is_text=isinstance(given, str))
    elif text.startswith("~"):
        text = _expand_user(call, text)
    _check_characters(call, text)
    path = Path(text) if folder is None else folder / text
    if str(path).startswith("~") or _SCHEME.match(str(path)):
        with reaching(call, path):
            path = path.absolute()  # Path shortens ./~, but what is returned must mean the same once more
    _refuse_variables(call, text, path, Path() if folder is None else folder)
    return path


def is_stream(given: Any, method: str) -> bool:
    """Whether this is an open file, and no path: some of either have what the other has."""
    return hasattr(given, method) and (hasattr(given, "closed") or not isinstance(given, PathLike))


def shown(path: str | PathLike[str]) -> str:
    """Return a path for a message: on one line, and not longer than some."""
    text = os.fspath(path)
    if len(text) > LONGEST_SHOWN:
        text = f"{text[: LONGEST_SHOWN // 2]}…{text[-LONGEST_SHOWN // 2 :]}"
    return printable(text)


def _text(call: str, given: Any) -> str:
    if isinstance(given, str):
        return str(given)
    # An OpenFile of fsspec is a path too, which opens itself and makes an empty file when it is asked for it.
    is_opener = hasattr(given, "fs") and not isinstance(given, PurePath)
    if isinstance(given, PathLike) and not is_opener:
        return os.fsdecode(given)
    advice = "give text or a pathlib.Path (save and load take open files too)"
    if isinstance(given, bytes):
        advice = "os.fsdecode makes text of it; for the content of a file call outgrad.io.load_buffer"
    elif is_opener:
        advice = "open it first, and give the open file to save or load"
    elif hasattr(given, "read") or hasattr(given, "write"):
        advice = "open files are for save and load"
    raise TypeError(f"{call}: the path must be str or os.PathLike, got {kind_of(given)}; {advice}")


def _unsupported(call: str, text: str) -> PathError:
    advice = "give a path on this machine"
    if "://" not in text:
        advice = "a folder that is named like this is reached by its absolute path"
    return PathError(
        f"{call} {shown(text)}: object stores are not supported yet, nor other URLs than file:///…; {advice}"
    )


def _from_url(call: str, text: str, *, is_text: bool) -> str:
    """The path of a ``file:`` URL (RFC 8089): on this machine, and absolute."""
    scheme, _, rest = text.partition(":")
    if scheme.lower() != "file" or rest.startswith(":"):
        raise _unsupported(call, text)
    if rest.startswith("//"):
        host, _, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise PathError(
                f"{call} {shown(text)}: {shown(host)!r} is where a URL names a machine; write "
                f"file:///… with three slashes and an absolute path, or a relative path without file://"
            )
        rest = f"/{rest}"
    elif not is_text:
        raise PathError(
            f"{call} {shown(text)}: pathlib has removed slashes of this URL; give it as text, "
            "or the path without file://"
        )
    if "?" in rest or "#" in rest:
        raise PathError(
            f"{call} {shown(text)}: ? and # start a query and a fragment in a URL; write %3F and %23, or the "
            "path without file://"
        )
    return os.fsdecode(unquote_to_bytes(rest))


def _expand_user(call: str, text: str) -> str:
    user, slash, _ = text.partition("/")
    expanded = os.path.expanduser(text)  # noqa: PTH111  Path raises a bare RuntimeError
    if user == "~" and (expanded == text or not os.environ.get("HOME", user)):
        raise PathError(f"{call} {shown(text)}: the home directory is not known; set HOME, or write it out")
    if expanded == text and slash:
        raise PathError(
            f"{call} {shown(text)}: there is no user {shown(user[1:])!r}; for a folder of this name write "
            f"./{shown(text)}"
        )
    return expanded


def _check_characters(call: str, text: str) -> None:
    if "\0" in text:
        raise PathError(f"{call} {shown(text)}: the path holds a null character, which no name can hold")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise PathError(f"{call} {shown(text)}: the path is no valid text: {error.reason}") from None


def _refuse_variables(call: str, text: str, path: Path, folder: Path) -> None:
    """A shell has expanded variables; who writes one elsewhere does not mean a folder of that name."""
    for part in (path, *path.parents):
        found = _VARIABLE.search(part.name)
        if found and part != folder and part not in folder.parents and not os.path.lexists(part):
            raise PathError(
                f"{call} {shown(text)}: variables such as {found[0]} are not expanded; "
                "write the path out, or use ~ (or os.path.expandvars in Python)"
            )


def check_suffix(call: str, path: Path, valid: Sequence[str] = (ZARR_SUFFIX, *MTS_SUFFIXES)) -> None:
    """Only known suffixes are written, since the suffix chooses the format."""
    if path.suffix in valid:
        return
    where, found = f"{call} {shown(path)}", repr(path.suffix)
    if path.suffix in MTS_SUFFIXES:
        raise ArchiveError(
            f"{where}: only archives are written piece by piece, and {found} names metatensor's own file; "
            f"use {ZARR_SUFFIX} here, and make a file of it with `outgrad convert`"
        )
    raise ArchiveError(
        f"{where}: the suffix {found} names no format; use {ZARR_SUFFIX} for an archive"
        + (", or .mts (.npz) for metatensor's own file" if len(valid) > 1 else "")
    )


@contextmanager
def reaching(call: str, path: Path) -> Iterator[None]:
    """Make one line that names the path of what the system says when it refuses it."""
    try:
        yield
    except OutgradError:
        raise
    except OSError as error:
        raise _refused(call, path, error) from error


def _refused(call: str, path: Path, error: OSError) -> OutgradError:
    where = f"{call} {shown(path)}"
    if isinstance(error, FileNotFoundError):
        return ArchiveNotFoundError(f"{where}: there is nothing at this path")
    inner = error.filename
    place = ""
    if isinstance(inner, str | PathLike) and os.fspath(inner) not in (str(path), str(path.absolute())):
        place = f" ({shown(inner)})"
    if isinstance(error, PermissionError):
        return PathPermissionError(f"{where}: permission denied{place}; check its owner and mode")
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    refused = PathAccessError(f"{where}: {reason}{place}")
    refused.errno = error.errno
    return refused
