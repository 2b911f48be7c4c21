"""Bytes and storage chunks in a Zarr store: a missing, corrupted or misplaced chunk is an error."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from outgrad.data.chunk import Array
from outgrad.errors import MemoryLimitError
from outgrad.storage import files
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.zarr.codecs import (
    Bytes,
    CodecError,
    encode,
    most_stored_bytes,
    packed,
    stored_crc32c,
    unpack,
)
from outgrad.storage.zarr.format import ArraySpec

Checksums = Sequence[int] | npt.NDArray[np.uint32]

CACHED_CHUNKS = 8
"""Decoded chunks of label tables kept a process, 1 MiB each: reading thousands of small tables in order
decodes each chunk once."""

ChunkCache = OpenFiles[tuple[str, int], Array]
"""Decoded chunks, by the path of their array and their number in it."""


class ChunkError(Exception):
    """A storage chunk that cannot be used; the archive adds where it is, and what to do."""

    def __init__(self, array: ArraySpec, chunk: int, reason: str) -> None:
        super().__init__(array, chunk, reason)
        self.array = array
        self.chunk = chunk
        self.reason = reason


class UnreadableError(Exception):
    """An object that is there but cannot be read; the text says why."""


class ByteStore:
    """Whole objects by name in a folder, synchronously: tasks of Dask bring the threads.

    They are read through Zarr's store, and written by our own steps: Zarr's store makes folders on the way,
    also those of a save that was aborted meanwhile, and does not flush to the disk.
    """

    def __init__(self, root: Path, store: LocalStore) -> None:
        self.root = root
        self._store = store
        self._prototype = default_buffer_prototype()
        self._is_direct = hasattr(store, "get_sync")

    @classmethod
    def local(cls, root: Path, *, read_only: bool) -> ByteStore:
        return cls(root, LocalStore(root, read_only=read_only))

    def get(self, key: str, most: int | None = None) -> Bytes | None:
        """The bytes of an object; None if there is none.

        Raises
        ------
        UnreadableError
            If it cannot be read, is not a regular file, or has more than ``most`` bytes, which are not read.
        """
        try:
            # What would block, such as a pipe, or fill the memory, is refused before it is opened.
            status = os.stat(self.root / key)  # noqa: PTH116 - half the time of Path.stat, once a chunk
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("is not a file")
            if most is not None and status.st_size > most:
                raise UnreadableError(f"is corrupted: its {status.st_size} bytes are more than it can have")
            if self._is_direct:
                buffer = self._store.get_sync(key, prototype=self._prototype)
            else:
                buffer = sync(self._store.get(key, self._prototype))
        except (FileNotFoundError, NotADirectoryError):  # it, or the whole store, is gone
            return None
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror or error}") from error
        return None if buffer is None else buffer.as_numpy_array().view(np.uint8)

    def put(self, key: str, data: bytes | Bytes, *, durable: bool = True) -> None:
        """Write an object in one step, into a folder that exists."""
        files.write_file(self.root / key, np.frombuffer(data, dtype=np.uint8).data, durable=durable)


class SegmentStore:
    """The storage chunks of one segment.

    Its owner passes a list ``made``: then folders are made as they are needed, and files are not flushed one
    by one, but listed, to be flushed together at the end. A task has none: if the save was aborted meanwhile
    it must find no folder, and only its own machine can flush what it has written.
    """

    def __init__(
        self, store: ByteStore, prefix: str, *, durable: bool = True, made: list[Path] | None = None
    ) -> None:
        self.store = store
        self.prefix = prefix
        self._durable = durable
        self._made = made

    def put(self, key: str, data: bytes | Bytes) -> None:
        """Write one object of the segment in one step."""
        if self._made is not None:
            self.make_folders(key.rpartition("/")[0])
            self._made.append(self.store.root / self.prefix / key)
        self.store.put(self.prefix + key, data, durable=self._durable and self._made is None)

    def make_folders(self, path: str) -> None:
        """Make the folders of ``path`` below the segment, which must exist itself."""
        folder = self.store.root / self.prefix
        for part in filter(None, path.split("/")):
            folder = folder / part
            if not folder.is_dir():
                with suppress(FileExistsError):
                    files.make_folder(folder)

    def write_chunk(self, array: ArraySpec, number: int, rows: Array) -> int:
        """Write one complete storage chunk, also if it holds only zeros; return its checksum.

        ``rows`` may be fewer than a chunk has at the end of the array: Zarr stores complete chunks.
        """
        if rows.shape != array.chunk_shape:
            padded = np.zeros(array.chunk_shape, array.dtype)
            padded[: len(rows)] = rows
            rows = padded
        data, checksum = encode(np.ascontiguousarray(rows, array.dtype), array.compressor)
        self.put(array.chunk_key(number), data)
        return checksum

    def read_rows(
        self,
        array: ArraySpec,
        checksums: Checksums,
        start: int,
        stop: int,
        cache: ChunkCache | None = None,
    ) -> Array:
        """Read rows [start, stop) into new memory.

        Raises
        ------
        ChunkError
            If a storage chunk is missing, corrupted, or not the one with the checksum in ``checksums``.
        """
        out: Array | None = None
        for number in array.chunks_of(start, stop):
            first, last = array.chunk_range(number)
            if start <= first and last <= stop and last - first == array.chunk_rows:
                body = self._body(array, checksums, number)
                # Memory is only given now: shapes that no file confirms get none.
                out = _new_rows(array, start, stop) if out is None else out
                _unpack(array, number, body, out[first - start : last - start])
            else:
                chunk = self.read_chunk(array, checksums, number, cache)
                out = _new_rows(array, start, stop) if out is None else out
                lower, upper = max(start, first), min(stop, last)
                out[lower - start : upper - start] = chunk[lower - first : upper - first]
        return _new_rows(array, start, stop) if out is None else out

    def read_chunk(
        self, array: ArraySpec, checksums: Checksums | None, number: int, cache: ChunkCache | None = None
    ) -> Array:
        """Read one complete storage chunk; without checksums only its own is checked."""
        read = partial(self._decoded, array, checksums, number)
        return read() if cache is None else cache.get((array.path, number), read)

    def _decoded(self, array: ArraySpec, checksums: Checksums | None, number: int) -> Array:
        body = self._body(array, checksums, number)
        chunk = _allocate(array, array.chunk_shape)
        _unpack(array, number, body, chunk)
        return chunk

    def _body(self, array: ArraySpec, checksums: Checksums | None, number: int) -> Bytes:
        """The stored bytes of a chunk: the ones that were committed, and a frame of the right size."""
        try:
            raw = self.store.get(self.prefix + array.chunk_key(number), most_stored_bytes(array.chunk_nbytes))
        except UnreadableError as error:
            raise ChunkError(array, number, str(error)) from error
        if raw is None:
            raise ChunkError(array, number, "is missing")
        try:
            body = packed(raw, array.compressor, array.chunk_nbytes)
        except CodecError as error:
            raise ChunkError(array, number, f"is corrupted: {error}") from error
        if checksums is not None and stored_crc32c(raw) != int(checksums[number]):
            reason = "belongs to another position or version: its checksum is not the one in the manifest"
            raise ChunkError(array, number, reason)
        return body


def _unpack(array: ArraySpec, number: int, body: Bytes, out: Array) -> None:
    try:
        unpack(body, array.compressor, out.reshape(-1).view(np.uint8))
    except CodecError as error:
        raise ChunkError(array, number, f"is corrupted: {error}") from error


def _new_rows(array: ArraySpec, start: int, stop: int) -> Array:
    return _allocate(array, (stop - start, *array.shape[1:]))


def _allocate(array: ArraySpec, shape: tuple[int, ...]) -> Array:
    try:
        return np.empty(shape, array.dtype)
    except MemoryError as error:
        raise MemoryLimitError(
            f"read: {shape[0]} rows of {array.path}, of shape {list(shape)} and {array.dtype.name}, do not "
            "fit into the memory of this machine; open the archive lazily, and work on it in smaller chunks"
        ) from error


SinkState = tuple[int, int, tuple[Array, ...], int]


class RowSink:
    """Rows that arrive in order, written as complete storage chunks as they fill.

    ``array`` need not know its number of rows yet: :meth:`close` returns it with the right one.
    """

    def __init__(self, segment: SegmentStore, array: ArraySpec) -> None:
        self.array = array
        self.rows = 0
        self.checksums: list[int] = []
        self._segment = segment
        self._pending: list[Array] = []
        self._pending_rows = 0

    def state(self) -> SinkState:
        """What :meth:`restore` needs to forget the rows that come after."""
        return self.rows, len(self.checksums), tuple(self._pending), self._pending_rows

    def restore(self, state: SinkState) -> None:
        """Go back to an earlier state; chunks written since are overwritten, or no commit names them."""
        self.rows, chunks, pending, self._pending_rows = state
        del self.checksums[chunks:]
        self._pending = list(pending)

    def read(self) -> Iterator[Array]:
        """Yield all rows, a storage chunk at a time."""
        for number in range(len(self.checksums)):
            yield self._segment.read_chunk(self.array, self.checksums, number)
        yield from self._pending

    def append(self, rows: Array) -> None:
        """Take some more rows; what does not fill a chunk is copied and kept."""
        assert rows.shape[1:] == self.array.shape[1:], "rows of a sink have the shape of its array"
        self.rows += len(rows)
        size = self.array.chunk_rows
        if self._pending_rows:
            # The chunk that was begun is filled first.
            added = min(size - self._pending_rows, len(rows))
            self._keep(rows[:added])
            rows = rows[added:]
            if self._pending_rows == size:
                self._flush()
        complete = len(rows) // size * size
        for start in range(0, complete, size):
            self._write(rows[start : start + size])
        self._keep(rows[complete:])

    def close(self) -> ArraySpec:
        """Write what is left, and return the array with its final number of rows."""
        if not self.checksums and 0 < self.rows < self.array.chunk_rows:
            self.array = replace(self.array, chunk_rows=self.rows)
        self._flush()
        self.array = replace(self.array, shape=(self.rows, *self.array.shape[1:]))
        return self.array

    def _keep(self, rows: Array) -> None:
        if len(rows):
            self._pending.append(rows.copy())
            self._pending_rows += len(rows)

    def _flush(self) -> None:
        if self._pending:
            self._write(np.concatenate(self._pending))
            self._pending, self._pending_rows = [], 0

    def _write(self, rows: Array) -> None:
        if all(self.array.shape[1:]):
            self.checksums.append(self._segment.write_chunk(self.array, len(self.checksums), rows))
