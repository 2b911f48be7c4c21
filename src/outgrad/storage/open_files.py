"""What a process keeps of the files that it reads: as much as fits, and each of it made once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from outgrad._forks import forgets_in_child, fork_safe_lock

FileKey = TypeVar("FileKey", bound=Hashable)
Kept = TypeVar("Kept")


class OpenFiles(Generic[FileKey, Kept]):
    """The items used most recently, at most ``limit`` of them; several threads may ask for them at once.

    An item that is dropped may still be in use by another thread. So it is not closed here: it closes itself
    once nobody refers to it any more, as files do that have a :func:`weakref.finalize`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._items: OrderedDict[FileKey, Kept] = OrderedDict()
        self._making: dict[FileKey, threading.Lock] = {}
        self._lock = fork_safe_lock()
        forgets_in_child(self)

    def __len__(self) -> int:
        return len(self._items)

    def forget_threads(self) -> None:
        """Do not wait for items that threads of the parent are making."""
        self._making = {}

    def get(self, key: FileKey, make: Callable[[], Kept]) -> Kept:
        """Return an item; make it if it is not here, while other threads that ask for it wait.

        If it cannot be made, only the caller that tried has the error: the next one tries again.
        """
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
            making = self._making.setdefault(key, threading.Lock())
        # Not under the common lock: it takes as long as the disk does, and other items are not concerned.
        with making:
            with self._lock:
                if key in self._items:  # another thread has made it in the meantime
                    return self._items[key]
            try:
                item = make()
                self.put(key, item)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return item

    def put(self, key: FileKey, item: Kept) -> None:
        """Keep an item that was made elsewhere, instead of the one before."""
        with self._lock:
            self._items[key] = item
            self._items.move_to_end(key)
            while len(self._items) > self.limit:
                self._items.popitem(last=False)

    def snapshot(self) -> dict[FileKey, Kept]:
        """Return all items as they are now, those used longest ago first."""
        with self._lock:
            return dict(self._items)
