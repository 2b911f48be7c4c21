"""A folder of this machine as a store."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from outgrad.storage import files
from outgrad.storage.leases import partial_name
from outgrad.storage.store import Bytes, Entry, Staged, Store, UnreadableError

FLUSHED_AT_ONCE = 16


class LocalStore(Store):
    """A folder, which need not exist yet."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self._prefix = f"{self.root}/"

    @property
    def name(self) -> str:
        return str(self.root)

    def path(self, key: str) -> Path:
        """Where an object or a folder is."""
        return self.root / key

    # ---- reading ----
    def get(self, key: str, most: int | None = None) -> Bytes | None:
        return self._read(key, 0, None, most)

    def get_range(self, key: str, start: int, stop: int) -> Bytes | None:
        return self._read(key, start, stop, None)

    def _read(self, key: str, start: int, stop: int | None, most: int | None) -> Bytes | None:
        path = self._prefix + key
        try:
            # What would block, such as a pipe, or fill the memory, is refused before it is opened.
            status = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, once a chunk
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("is not a file")
            if most is not None and status.st_size > most:
                raise UnreadableError(f"is corrupted: its {status.st_size} bytes are more than it can have")
            end = status.st_size if stop is None else min(stop, status.st_size)
            data = np.empty(max(0, end - start), np.uint8)
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                if start:
                    file.seek(start)
                buffer, filled = memoryview(data.data), 0
                while count := file.readinto(buffer[filled:]):  # 0 at the end of the file, and of the buffer
                    filled += count
                return data[:filled]
        except (FileNotFoundError, NotADirectoryError):  # it, or the whole store, is gone
            return None
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror or error}") from error

    def exists(self, key: str) -> bool:
        return self.path(key).exists()

    def is_there(self) -> bool:
        return self.root.exists()

    def is_folder(self) -> bool:
        return self.root.is_dir()

    def entries(self, folder: str, prefix: str = "") -> list[Entry]:
        found = []
        try:
            with os.scandir(self.path(folder)) as listed:
                for each in listed:
                    if not each.name.startswith(prefix):
                        continue
                    is_folder = each.is_dir(follow_symlinks=False)
                    is_object = each.is_file(follow_symlinks=False)
                    kind = "folder" if is_folder else "object" if is_object else "other"
                    try:
                        status = each.stat(follow_symlinks=False)
                    except FileNotFoundError:  # it was removed since: the others are still there
                        continue
                    found.append(Entry(each.name, kind, status.st_mtime, status.st_size))  # type: ignore[arg-type]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)

    def names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self.path(folder))  # noqa: PTH208 - without the status of each
        except (FileNotFoundError, NotADirectoryError):
            return []

    # ---- writing ----
    def put(self, key: str, data: bytes | Bytes, *, durable: bool = True) -> None:
        files.write_file(self.path(key), np.frombuffer(data, dtype=np.uint8).data, durable=durable)

    def create(self, key: str, data: bytes | Bytes = b"") -> None:
        path = self.path(key)
        with files.naming(path):
            files.write_new(path, np.frombuffer(data, dtype=np.uint8).data, durable=False)

    def stage(self, key: str, data: bytes, token: str, *, durable: bool = True) -> Staged:
        staged = _StagedFile(self.path(key), token)
        try:
            with files.naming(staged.target):
                files.write_new(staged.partial, data, durable=durable)
        except BaseException:
            with suppress(OSError):
                staged.discard()
            raise
        return staged

    def remove(self, key: str) -> None:
        files.remove_file(self.path(key))

    def remove_folder(self, folder: str) -> None:
        files.remove_folder(self.path(folder))

    def make_parents(self) -> list[str]:
        return [str(path) for path in files.make_parents(self.root)]

    def remove_parents(self, made: Sequence[str]) -> None:
        for parent in reversed(made):
            files.remove_folder_if_empty(Path(parent))

    def make_folder(self, folder: str) -> None:
        files.make_folder(self.path(folder))

    def remove_folder_if_empty(self, folder: str) -> bool:
        return files.remove_folder_if_empty(self.path(folder))

    def flush(self, written: Sequence[str], folders: Sequence[str]) -> None:
        """Flush many at once: a file system writes its journal once for all threads that wait for it."""
        with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:
            for keys in (written, folders):
                list(pool.map(files.flush, map(self.path, keys)))


class _StagedFile:
    """A file next to its name."""

    def __init__(self, target: Path, token: str) -> None:
        self.target = target
        self.partial = target.with_name(partial_name(target.name, token))

    def publish(self) -> None:
        files.publish_new(self.partial, self.target)

    def discard(self) -> None:
        files.remove_file(self.partial)
