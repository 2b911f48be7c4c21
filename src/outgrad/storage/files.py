"""Every change that a save makes to a file system.

Each is one step, which happens or does not; an error names the file. Nothing here follows a link, and missing
folders are not created: a task that goes on after its save was given up finds its folder gone, and fails,
instead of creating half of it again.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from outgrad.storage import leases
from outgrad.storage.leases import new_token, partial_name, release
from outgrad.storage.store import Entry

REMOVE_SECONDS = 5.0
"""How long to try to remove a folder into which a task that was stopped may still write."""

FileContent = bytes | bytearray | memoryview


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the path to an error of the system that names none, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def make_folder(path: Path) -> None:
    path.mkdir()


def make_parents(path: Path) -> list[Path]:
    """Create the folders above ``path`` that do not exist; return those that were, the uppermost first."""
    missing = []
    for parent in path.parents:
        if parent.is_dir():
            break
        missing.append(parent)
    created = []
    for parent in reversed(missing):
        with suppress(FileExistsError):
            make_folder(parent)
            created.append(parent)
    return created


def write_file(path: Path, content: FileContent, *, durable: bool = True) -> None:
    """Write a complete file at ``path``: under another name first, and flushed if it must be durable.

    The other name is new each time: a task may run twice at once, and then both write the same.
    """
    token = new_token()
    partial = path.with_name(partial_name(path.name, token))
    try:
        with naming(path):
            write_new(partial, content, durable=durable)
            replace(partial, path)
    except BaseException:
        with suppress(OSError):
            remove_file(partial)
        raise
    finally:
        release(token)


def write_new(path: Path, content: FileContent, *, durable: bool) -> None:
    """Write a file that must not exist, and which nobody reads yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        remaining = memoryview(content).cast("B")
        while len(remaining):
            remaining = remaining[os.write(descriptor, remaining) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    source.replace(target)


def link(source: Path, target: Path) -> None:
    """Give a file a second name.

    Raises
    ------
    FileExistsError
        If the name is taken.
    """
    os.link(source, target)


def publish_new(source: Path, target: Path) -> None:
    """Give a file that is on the disk its name: it appears as a whole, and never replaces another.

    Raises
    ------
    FileExistsError
        If the name is taken; the system itself says so, also if it was taken a moment ago.
    """
    try:
        link(source, target)
    except FileExistsError:
        raise
    except OSError:
        _publish_under_claim(source, target)


def _publish_under_claim(source: Path, target: Path) -> None:
    """Without hard links: of several writers one makes a folder, and only that one may move its file.

    Who is killed meanwhile leaves the folder. It may be removed by a writer that is alone: whoever else could
    make it has an unfinished file for the same name, before it looks for those of others.
    """
    claim = target.with_name(leases.claim_name(target.name))
    try:
        make_folder(claim)
    except FileExistsError:
        beside = [path for path in target.parent.glob(".*.partial") if path != source]
        if target.name[: leases.SHOWN_NAME] in leases.names_at_work(map(_as_entry, beside)):
            raise
        remove_folder_if_empty(claim)
        make_folder(claim)
    try:
        if target.exists():
            raise FileExistsError(str(target))
        replace(source, target)
    finally:
        remove_folder_if_empty(claim)


def _as_entry(path: Path) -> Entry:
    modified = 0.0
    with suppress(OSError):  # it is gone: its writer is not at work any more
        modified = path.lstat().st_mtime
    return Entry(path.name, "object", modified)


def flush(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file or a link; it is not an error if there is none."""
    path.unlink(missing_ok=True)


def remove_folder_if_empty(path: Path) -> bool:
    """Whether there is no such folder now."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_folder(path: Path) -> None:
    """Remove a folder and all in it, also while a task that was stopped still writes there."""
    deadline = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            shutil.rmtree(path)
            return
        except FileNotFoundError:
            if not os.path.lexists(path):
                return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def is_real_folder(path: Path) -> bool:
    """Whether ``path`` is a folder itself, and not a link to one."""
    return path.is_dir() and not path.is_symlink()
