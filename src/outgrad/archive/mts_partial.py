"""A file that is written beside its target and takes its place when it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from outgrad.errors import ArchiveExistsError, ArchiveNotFoundError

SHOWN_NAME = 60


class PartialFile:
    """Writes to ``.<name>.<random>.partial``; until it is published, the old file stays as it is.

    Parameters
    ----------
    path : path
        The target.
    overwrite : bool
        Whether a target that exists is replaced.
    durable : bool
        Whether the bytes are flushed to disk before the file becomes visible, to outlive a power cut.
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool, durable: bool) -> None:
        self.target = Path(path).resolve()
        name = f".{self.target.name[:SHOWN_NAME]}.{secrets.token_hex(8)}.partial"
        self.path = str(self.target.parent / name)
        self._overwrite, self._durable = overwrite, durable
        self.require_free()

    def require_free(self) -> None:
        """Raise if the target may not be written."""
        if self.target.is_dir():
            raise ArchiveExistsError(
                f"cannot write {str(self.target)!r}: it is a folder. Choose another path."
            )
        if self.target.exists() and not self._overwrite:
            raise self._exists()
        if not self.target.parent.is_dir():
            raise ArchiveNotFoundError(
                f"cannot write {str(self.target)!r}: its folder does not exist. Create it first."
            )

    @contextmanager
    def create(self) -> Iterator[BinaryIO]:
        """Create the file and open it; if the block fails, it is removed again."""
        # Exclusive: another file of this name, or a link, is never opened.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            with naming(self.path), open(self.path, "r+b") as stream:  # noqa: PTH123
                yield stream
        except BaseException:
            self.discard()
            raise

    def publish(self) -> None:
        """Put the file in the place of its target, in one step."""
        if self._durable:
            _flush(self.path)
        if self._overwrite:
            Path(self.path).replace(self.target)
        else:
            self._publish_new()
        if self._durable:
            _flush(str(self.target.parent))

    def _publish_new(self) -> None:
        """A link is refused by the system itself if the target appeared in the meantime."""
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise self._exists() from None
        except OSError:  # a file system without hard links
            self.require_free()
            Path(self.path).replace(self.target)
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the partial file."""
        Path(self.path).unlink(missing_ok=True)

    def _exists(self) -> ArchiveExistsError:
        return ArchiveExistsError(
            f"cannot write {str(self.target)!r}: it exists already. "
            "Pass overwrite=True to replace it, or choose another path."
        )


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Add the path to an error of the system that has none, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from error


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
