"""A file that is written next to its target and replaces it when it is complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from outgrad._signals import deferred
from outgrad.errors import ArchiveExistsError, ArchiveNotFoundError
from outgrad.storage import files, leases
from outgrad.storage.local_store import LocalStore
from outgrad.storage.publishing import attempted, warn_of


class PartialFile:
    """Writes to ``.<name>.<token>.partial``; until it is published, the old file stays as it is.

    Parameters
    ----------
    path : path
        The target.
    overwrite : bool
        Whether a target that exists is replaced. The new file has the permissions of the old one.
    durable : bool
        Whether the bytes are flushed to disk before the file becomes visible, to outlive a power cut.
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool, durable: bool) -> None:
        self.target = Path(path).resolve()
        self._token = leases.new_token()
        self.path = str(self._beside(self._token))
        self._overwrite, self._durable = overwrite, durable
        self._old_token = leases.new_token()
        self._old: Path | None = None
        self._had_old = False
        self._inode: tuple[int, int] | None = None
        self.require_free()

    @property
    def name(self) -> str:
        return str(self.target)

    def _beside(self, token: str) -> Path:
        return self.target.with_name(leases.partial_name(self.target.name, token))

    def require_free(self) -> None:
        """Raise if the target may not be written."""
        if self.target.is_dir():
            raise ArchiveExistsError(f"save {str(self.target)!r}: it is a folder; choose another path")
        if self.target.exists() and not self._overwrite:
            raise self._exists()
        if not self.target.parent.is_dir():
            raise ArchiveNotFoundError(
                f"save {str(self.target)!r}: its folder does not exist; create it first"
            )

    @contextmanager
    def create(self) -> Iterator[BinaryIO]:
        """Create the file and open it; if the block fails, it is removed again."""
        try:
            with files.naming(self.path):
                # Exclusive: another file of this name, or a link, is never opened.
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                with os.fdopen(descriptor, "r+b") as stream:
                    with suppress(FileNotFoundError):  # there is nothing to replace
                        os.fchmod(descriptor, stat.S_IMODE(self.target.stat().st_mode))
                    yield stream
        except BaseException:
            self.abort()
            raise

    def prepare(self) -> None:
        """Flush the complete file to the disk."""
        if self._durable:
            files.flush(Path(self.path))

    def publish(self) -> None:
        """Give the file the name of its target, in one step.

        Raises
        ------
        ArchiveExistsError
            If the target appeared in the meantime and is not to be replaced.
        """
        status = Path(self.path).stat()
        self._inode = status.st_dev, status.st_ino
        try:
            if self._overwrite:
                self._keep_old()
                files.replace(Path(self.path), self.target)
            else:
                files.publish_new(Path(self.path), self.target)
        except OSError as error:
            # The step may have been made, and only its answer lost: as after a time-out of a network's disk.
            if not self._is_published():
                if isinstance(error, FileExistsError) and not self._overwrite:
                    raise self._exists() from None
                raise

    def _keep_old(self) -> None:
        """Give the old file a second name, by which it can be brought back."""
        old = self._beside(self._old_token)
        try:
            files.link(self.target, old)
        except FileNotFoundError:
            return
        except OSError:
            self._had_old = True  # on a file system without hard links
            return
        self._had_old, self._old = True, old

    def _is_published(self) -> bool:
        """Whether the target is this very file."""
        if self._inode is None:
            return False
        try:
            status = self.target.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._inode

    def withdraw(self) -> None:
        """Bring the old file back, or remove the new one where there was none."""
        if not self._is_published():
            return
        if self._old is not None:
            files.replace(self._old, self.target)
            self._old = None
        elif self._had_old:
            raise OSError("the file system has no hard links, by which the old file could have been kept")
        else:
            files.remove_file(self.target)

    def finish(self) -> Iterator[str]:
        """Flush the name to the disk, and remove the old file and what writers that were killed have left."""
        if self._durable:
            yield from attempted(f"flush {self.target.parent}", files.flush, self.target.parent)
        yield from self._remove_partials()
        folder, name = self.target.parent, self.target.name
        beside = LocalStore(folder).entries("", leases.partial_prefix(name))
        for partial in leases.abandoned_partials(beside, name):
            yield from attempted(f"remove {folder / partial}", files.remove_file, folder / partial)

    def _remove_partials(self) -> Iterator[str]:
        for path in (Path(self.path), self._old):
            if path is not None:
                yield from attempted(f"remove {path}", files.remove_file, path)
        for token in (self._token, self._old_token):
            leases.release(token)
        self._old = None

    def abort(self) -> None:
        """Remove the partial file; the target stays as it is."""
        if not leases.is_own(self._token):
            return
        with deferred():
            warn_of(list(self._remove_partials()))

    def _exists(self) -> ArchiveExistsError:
        return ArchiveExistsError(
            f"save {str(self.target)!r}: it exists already; pass overwrite=True to replace it, or choose "
            "another path"
        )
