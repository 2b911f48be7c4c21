"""Where an archive is kept: named objects in a folder of this machine, or in a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Asked = TypeVar("Asked")
Reply = TypeVar("Reply")

Bytes = npt.NDArray[np.uint8]
ByteRange = tuple[int, int]
"""Bytes [start, stop) of an object."""


class UnreadableError(Exception):
    """An object that is there but cannot be read; the text says why."""


class Entry(NamedTuple):
    """What a folder holds."""

    name: str
    kind: Literal["object", "folder", "other"]
    """Other: what no writer makes, such as a link."""
    modified: float = 0.0
    """Seconds since the epoch; 0 where it is not known."""
    nbytes: int = 0
    """Of an object."""


class Staged(Protocol):
    """An object that is complete and safe, and not visible yet."""

    def publish(self) -> None:
        """Make it visible in one step.

        Raises
        ------
        FileExistsError
            If its name is taken, also if it was taken a moment ago.
        """
        ...

    def discard(self) -> None:
        """Remove what is left of it besides the visible object."""
        ...


class Store(ABC):
    """Objects by name. Names have slashes; what is before the last one is the folder, "" is the root.

    Each change is one step, which happens or does not.
    """

    @property
    def lists(self) -> bool:
        """Whether it tells what a folder holds; if not, folders seem to be empty."""
        return True

    @property
    def at_once(self) -> int:
        """For how many answers :meth:`each` waits at the same time."""
        return 1

    @property
    @abstractmethod
    def name(self) -> str:
        """How messages call it: a path or a URL, by which it can be opened again."""

    # ---- reading ----
    @abstractmethod
    def get(self, key: str, most: int | None = None) -> Bytes | None:
        """The bytes of an object; None if there is none.

        Raises
        ------
        UnreadableError
            If it cannot be read, is not a regular file, or has more than ``most`` bytes, which are not read.
        """

    @abstractmethod
    def get_range(self, key: str, start: int, stop: int) -> Bytes | None:
        """Some bytes of an object, fewer where it ends earlier; None if there is none.

        Raises
        ------
        UnreadableError
            As for :meth:`get`.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is an object."""

    @abstractmethod
    def is_there(self) -> bool:
        """Whether there is anything at the root: a folder, a file, or objects whose names begin with it."""

    @abstractmethod
    def is_folder(self) -> bool:
        """Whether that is a folder, or objects whose names begin with it."""

    @abstractmethod
    def entries(self, folder: str, prefix: str = "") -> list[Entry]:
        """What a folder holds whose name begins with ``prefix``, by name; nothing if there is no folder."""

    def names(self, folder: str) -> list[str]:
        """The names of what a folder holds; a folder that grows is listed often."""
        return [entry.name for entry in self.entries(folder)]

    def walk(self, folder: str) -> Iterator[tuple[str, Entry]]:
        """All objects in a folder and in those below, by their names in the store."""
        prefix = f"{folder}/" if folder else ""
        for entry in self.entries(folder):
            if entry.kind == "folder":
                yield from self.walk(prefix + entry.name)
            elif entry.kind == "object":
                yield prefix + entry.name, entry

    def each(self, function: Callable[[Asked], Reply], items: Iterable[Asked]) -> Iterator[Reply]:
        """Yield ``function(item)`` in the order of the items; several at once, where answers take a while."""
        return map(function, items)

    # ---- writing ----
    @abstractmethod
    def put(self, key: str, data: bytes | Bytes, *, durable: bool = True) -> None:
        """Write an object in one step, into a folder that exists, in place of the one before."""

    @abstractmethod
    def create(self, key: str, data: bytes | Bytes = b"") -> None:
        """Make an object that nobody reads yet, in a folder that exists; it is not flushed."""

    @abstractmethod
    def stage(self, key: str, data: bytes, token: str, *, durable: bool = True) -> Staged:
        """Prepare an object that must not exist when it is published."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object; it is not an error if there is none."""

    @abstractmethod
    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all in it."""

    # ---- what only file systems have ----
    @abstractmethod
    def make_parents(self) -> list[str]:
        """Make what is above the root; return what was made, the uppermost first."""

    @abstractmethod
    def remove_parents(self, made: Sequence[str]) -> None:
        """Remove what :meth:`make_parents` made, where it is empty."""

    @abstractmethod
    def make_folder(self, folder: str) -> None:
        """Make a folder; FileExistsError if there is one. Object stores have none, and never fail."""

    @abstractmethod
    def remove_folder_if_empty(self, folder: str) -> bool:
        """Whether there is no such folder now."""

    @abstractmethod
    def flush(self, written: Sequence[str], folders: Sequence[str]) -> None:
        """Flush objects that were written without, then the names in folders, to the disk."""
