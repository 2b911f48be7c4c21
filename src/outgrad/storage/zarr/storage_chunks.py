"""Shards and their chunks in a store: one that is missing, corrupted or misplaced is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Array
from outgrad.errors import MemoryLimitError
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.store import Bytes, Store, UnreadableError
from outgrad.storage.zarr.codecs import (
    CHECKSUM_BYTES,
    CodecError,
    encode,
    most_stored_bytes,
    packed,
    read_shard_index,
    shard_bytes,
    shard_index_bytes,
    stored_crc32c,
    unpack,
)
from outgrad.storage.zarr.format import RECORD_DTYPE, ArraySpec, fitted

ChunkRecords = npt.NDArray[np.uint32]
"""Of consecutive chunks (n, 2): the CRC32C, and the number of bytes in the store; 0 where it is not known."""

MOST_RECORDED = 2**32 - 1

Records = Callable[[int, int], ChunkRecords]
"""What looks up the records of the chunks [first, last) of an array."""

EXAMINED_BYTES = 16 * 2**20
"""Chunks of a shard that are examined are read so many bytes at once."""

CACHED_CHUNKS = 256
"""Decoded chunks of label tables kept for an archive, 64 KiB each: reading thousands of small tables in order
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


class SegmentStore:
    """The shards of one segment.

    Its owner passes a list ``made``: then folders are made as they are needed, and objects are not flushed
    one by one, but listed, to be flushed together at the end. A task has none: if the save was aborted
    meanwhile it must find no folder, and only its own machine can flush what it has written.
    """

    def __init__(
        self, store: Store, prefix: str, *, durable: bool = True, made: list[str] | None = None
    ) -> None:
        self.store = store
        self.prefix = prefix
        self._durable = durable
        self._made = made
        self._folders: set[str] = set()
        self._keys: set[str] = set()

    def put(self, key: str, data: bytes | Bytes) -> None:
        """Write one object of the segment; a task, which may run twice, does so in one step."""
        if self._made is None:
            self.store.put(self.prefix + key, data, durable=self._durable)
        elif key in self._keys:  # rows of a sink that went back to an earlier state
            self.store.put(self.prefix + key, data, durable=False)
        else:
            self.make_folders(key.rpartition("/")[0])
            self._made.append(self.prefix + key)
            self._keys.add(key)
            self.store.create(self.prefix + key, data)

    def make_folders(self, path: str) -> None:
        """Make the folders of ``path`` below the segment, which must exist itself."""
        folder = self.prefix.rstrip("/")
        for part in filter(None, path.split("/")):
            folder = f"{folder}/{part}"
            if folder not in self._folders:
                with suppress(FileExistsError):
                    self.store.make_folder(folder)
                self._folders.add(folder)

    def write_shard(self, array: ArraySpec, number: int, rows: Array) -> ChunkRecords:
        """Write one complete shard, also if it holds only zeros; return the records of its chunks.

        ``rows`` may be fewer than a shard has at the end of the array: Zarr stores complete chunks.
        """
        encoded = []
        for start in range(0, len(rows), array.chunk_rows):
            chunk = rows[start : start + array.chunk_rows]
            if chunk.shape != array.chunk_shape:
                padded = np.zeros(array.chunk_shape, array.dtype)
                padded[: len(chunk)] = chunk
                chunk = padded
            encoded.append(encode(np.ascontiguousarray(chunk, array.dtype), array.compressor))
        records = np.array([(crc, min(len(data), MOST_RECORDED)) for data, crc in encoded], RECORD_DTYPE)
        if array.chunks_per_shard == 1:
            self.put(array.shard_key(number), encoded[0][0])
        else:
            self.put(
                array.shard_key(number), shard_bytes([data for data, _ in encoded], array.chunks_per_shard)
            )
        return records

    def read_rows(
        self,
        array: ArraySpec,
        records: Records,
        start: int,
        stop: int,
        cache: ChunkCache | None = None,
        out: Array | None = None,
        *,
        keep: bool = False,
    ) -> Array:
        """Read rows [start, stop) into ``out``, or into new memory.

        Of a ``cache``, chunks that are read in part are kept; with ``keep`` all.

        Raises
        ------
        ChunkError
            If a chunk is missing, corrupted, or not the one in ``records``.
        """
        wanted = array.chunks_of(start, stop)
        runs = []
        for shard in array.shards_of(start, stop):
            inside = array.chunks_in(shard)
            numbers = range(max(inside.start, wanted.start), min(inside.stop, wanted.stop))
            # Only chunks at the ends are read in part: what is left is consecutive.
            ends = [] if cache is None else [n for n in numbers if keep or not _covers(array, n, start, stop)]
            for number in ends:
                chunk = self.read_chunk(array, records, number, cache)
                out = _copy_rows(array, number, chunk, start, stop, out)
            rest = [number for number in numbers if number not in ends]
            if rest:
                runs.append(_Run(array, shard, rest[0], rest[-1] + 1, records(inside.start, rest[-1] + 1)))
        for stored in self.store.each(self._stored, runs):
            for number, body in stored.bodies():
                if _covers(array, number, start, stop):
                    # Memory is only given now: shapes that no file confirms get none.
                    out = _new_rows(array, start, stop) if out is None else out
                    lower = number * array.chunk_rows - start
                    _unpack(array, number, body, out[lower : lower + array.chunk_rows])
                else:
                    chunk = allocate(array.chunk_shape, array.dtype, array.path)
                    _unpack(array, number, body, chunk)
                    out = _copy_rows(array, number, chunk, start, stop, out)
        return _new_rows(array, start, stop) if out is None else out

    def examine(
        self, array: ArraySpec, records: Records | None, shard: int
    ) -> Iterator[tuple[int, Bytes | ChunkError]]:
        """Yield the number of every chunk of a shard with its stored bytes, or why it cannot be used.

        Each is decoded too. Without records only their own checksums are compared.
        """
        inside = array.chunks_in(shard)
        step = max(1, EXAMINED_BYTES // array.chunk_nbytes)
        known = None if records is None else records(inside.start, inside.stop)
        decoded: Array | None = None
        for first in range(inside.start, inside.stop, step):
            numbers = range(first, min(first + step, inside.stop))
            begin = first - inside.start
            try:
                raw, sizes = self._raw(array, known, shard, begin, begin + len(numbers))
                if raw is None:
                    raise UnreadableError("is missing")
            except UnreadableError as error:
                for number in numbers:
                    yield number, ChunkError(array, number, str(error))
                continue
            places = pairwise(np.cumsum([0, *sizes], dtype=np.int64).tolist())
            for number, (start, stop) in zip(numbers, places, strict=True):
                record = None if known is None else known[number - inside.start]
                try:
                    body = _body(array, number, raw[start:stop], record)
                    # Memory is only given now: shapes that no file confirms get none.
                    decoded = (
                        allocate(array.chunk_shape, array.dtype, array.path) if decoded is None else decoded
                    )
                    _unpack(array, number, body, decoded)
                except ChunkError as error:
                    yield number, error
                except MemoryLimitError as error:
                    yield number, ChunkError(array, number, str(error))
                else:
                    yield number, raw[start:stop]

    def index_mistake(self, array: ArraySpec, records: Records | None, shard: int) -> str:
        """What is wrong with the index of a shard whose chunks are whole, by which other readers of Zarr find
        them; "" if nothing is. Outgrad does not read it."""
        if array.chunks_per_shard == 1:
            return ""
        if records is None:
            try:
                self.shard_index(array, shard)
            except UnreadableError as error:
                return str(error)
            return ""
        inside = array.chunks_in(shard)
        sizes = records(inside.start, inside.stop)[:, 1].astype(np.int64)
        expected = shard_index_bytes(sizes, array.chunks_per_shard)
        end = int(sizes.sum())
        try:
            # One byte more: a shard ends with its index.
            found = self.store.get_range(self.prefix + array.shard_key(shard), end, end + len(expected) + 1)
        except UnreadableError as error:
            return str(error)
        is_right = found is not None and np.array_equal(found, expected)
        return "" if is_right else "is corrupted: its index is not one of its chunks"

    def read_chunk(
        self, array: ArraySpec, records: Records | None, number: int, cache: ChunkCache | None = None
    ) -> Array:
        """Read one complete chunk; without records only its own checksum is compared."""

        def read() -> Array:
            shard = number // array.chunks_per_shard
            known = None if records is None else records(array.chunks_in(shard).start, number + 1)
            ((_, body),) = self._stored(_Run(array, shard, number, number + 1, known)).bodies()
            chunk = allocate(array.chunk_shape, array.dtype, array.path)
            _unpack(array, number, body, chunk)
            return chunk

        return read() if cache is None else cache.get((self.prefix + array.path, number), read)

    def _stored(self, run: _Run) -> _StoredRun:
        """Read some chunks of a shard at once."""
        begin = run.array.chunks_in(run.shard).start
        try:
            raw, sizes = self._raw(run.array, run.known, run.shard, run.first - begin, run.last - begin)
        except UnreadableError as error:
            raise ChunkError(run.array, run.first, str(error)) from error
        if raw is None:
            raise ChunkError(run.array, run.first, "is missing")
        return _StoredRun(run, raw, sizes)

    def _raw(
        self, array: ArraySpec, known: ChunkRecords | None, shard: int, first: int, last: int
    ) -> tuple[Bytes | None, list[int]]:
        """The bytes of some chunks, counted from the start of their shard, and how many each has."""
        key = self.prefix + array.shard_key(shard)
        if array.chunks_per_shard == 1:
            raw = self.store.get(key, most_stored_bytes(array.chunk_nbytes))
            return raw, [0 if raw is None else len(raw)]
        if known is None:
            ends = self.shard_index(array, shard)
            if ends is None:
                return None, []
            start = int(ends[first, 0])
            sizes = (ends[first:last, 1] - ends[first:last, 0]).tolist()
        else:  # they follow each other from the start of the shard
            start = int(known[:first, 1].sum(dtype=np.int64))
            sizes = known[first:last, 1].tolist()
        if max(sizes) > most_stored_bytes(array.chunk_nbytes):
            raise UnreadableError(f"is corrupted: its {max(sizes)} bytes are more than it can have")
        return self.store.get_range(key, start, start + sum(sizes)), sizes

    def shard_index(self, array: ArraySpec, shard: int) -> npt.NDArray[np.int64] | None:
        """Where the chunks of a shard begin and end in it, as it says itself; None if it is missing."""
        count = len(array.chunks_in(shard))
        most = count * most_stored_bytes(array.chunk_nbytes) + 16 * array.chunks_per_shard + CHECKSUM_BYTES
        raw = self.store.get(self.prefix + array.shard_key(shard), most)
        if raw is None:
            return None
        try:
            return read_shard_index(raw, array.chunks_per_shard, count)
        except CodecError as error:
            raise UnreadableError(f"is corrupted: {error}") from error


def _body(array: ArraySpec, number: int, stored: Bytes, record: ChunkRecords | None) -> Bytes:
    """The stored bytes of a chunk without their checksum, if they are those that were committed."""
    try:
        body = packed(stored, array.compressor, array.chunk_nbytes)
    except CodecError as error:
        raise ChunkError(array, number, f"is corrupted: {error}") from error
    if record is not None and stored_crc32c(stored) != int(record[0]):
        reason = "belongs to another position or version: its checksum is not the one in the manifest"
        raise ChunkError(array, number, reason)
    return body


class _Run(NamedTuple):
    """The chunks [first, last) of a shard, and the records of all up to there, if they are known."""

    array: ArraySpec
    shard: int
    first: int
    last: int
    known: ChunkRecords | None


class _StoredRun(NamedTuple):
    """The bytes of the chunks of a run, one after the other, and how many each has."""

    run: _Run
    raw: Bytes
    sizes: Sequence[int]

    def bodies(self) -> Iterator[tuple[int, Bytes]]:
        """Yield the number and the bytes of each chunk: those that were committed.

        Frames of another size than a chunk are refused.
        """
        array, known = self.run.array, self.run.known
        begin = array.chunks_in(self.run.shard).start
        position = 0
        for number, size in zip(range(self.run.first, self.run.last), self.sizes, strict=True):
            record = None if known is None else known[number - begin]
            yield number, _body(array, number, self.raw[position : position + size], record)
            position += size


def _covers(array: ArraySpec, number: int, start: int, stop: int) -> bool:
    """Whether all of a chunk, which is not padded, lies in the rows [start, stop)."""
    first, last = array.chunk_range(number)
    return start <= first and last <= stop and last - first == array.chunk_rows


def _copy_rows(
    array: ArraySpec, number: int, chunk: Array, start: int, stop: int, out: Array | None
) -> Array:
    """Copy those rows of a chunk that lie in [start, stop)."""
    first, last = array.chunk_range(number)
    out = _new_rows(array, start, stop) if out is None else out
    lower, upper = max(start, first), min(stop, last)
    out[lower - start : upper - start] = chunk[lower - first : upper - first]
    return out


def _unpack(array: ArraySpec, number: int, body: Bytes, out: Array) -> None:
    try:
        unpack(body, array.compressor, out.reshape(-1).view(np.uint8))
    except CodecError as error:
        raise ChunkError(array, number, f"is corrupted: {error}") from error


def _new_rows(array: ArraySpec, start: int, stop: int) -> Array:
    return allocate((stop - start, *array.shape[1:]), array.dtype, array.path)


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "a block") -> Array:
    """Memory for what is read; that there is too little is an error of this package."""
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        raise MemoryLimitError(
            f"read: {shape[0]} rows of {name}, of shape {list(shape)} and {dtype.name}, do not fit into the "
            "memory of this machine; open the archive lazily, and work on it in smaller chunks"
        ) from error


SinkState = tuple[int, int, tuple[Array, ...], int]


class RowSink:
    """Rows that arrive in order, written as complete shards as they fill.

    ``array`` need not know its number of rows yet: :meth:`close` returns it with the right one.
    """

    def __init__(self, segment: SegmentStore, array: ArraySpec) -> None:
        self.array = array
        self.rows = 0
        self.shards: list[ChunkRecords] = []
        self._segment = segment
        self._pending: list[Array] = []
        self._pending_rows = 0

    def state(self) -> SinkState:
        """What :meth:`restore` needs to forget the rows that come after."""
        return self.rows, len(self.shards), tuple(self._pending), self._pending_rows

    def restore(self, state: SinkState) -> None:
        """Go back to an earlier state; shards written since are overwritten, or no commit names them."""
        self.rows, shards, pending, self._pending_rows = state
        del self.shards[shards:]
        self._pending = list(pending)

    def read(self) -> Iterator[Array]:
        """Yield all rows, a shard at a time."""
        records = self.records
        rows = self.array.shard_rows
        written = replace(self.array, shape=(rows * len(self.shards), *self.array.shape[1:]))
        for start in range(0, written.shape[0], rows):
            yield self._segment.read_rows(
                written, lambda first, last: records[first:last], start, start + rows
            )
        yield from self._pending

    @property
    def records(self) -> ChunkRecords:
        """The records of all chunks that were written."""
        return np.concatenate([np.empty((0, 2), RECORD_DTYPE), *self.shards])

    def append(self, rows: Array) -> None:
        """Take some more rows; what does not fill a shard is copied and kept."""
        assert rows.shape[1:] == self.array.shape[1:], "rows of a sink have the shape of its array"
        self.rows += len(rows)
        size = self.array.shard_rows
        if self._pending_rows:
            # The shard that was begun is filled first.
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
        shape = (self.rows, *self.array.shape[1:])
        self.array = replace(self.array, shape=shape) if self.shards else fitted(self.array, shape)
        self._flush()
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
            self.shards.append(self._segment.write_shard(self.array, len(self.shards), rows))
