"""Writing a map, a block or labels: laid out by the client, filled by tasks, made visible by one commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from outgrad.data.chunk import Array, Chunk
from outgrad.data.requests import NO_TEXTS, Request, Seam, Written
from outgrad.errors import ArchiveError
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.publishing import Unpublished
from outgrad.storage.store import Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import PLAN, SEGMENTS, ChunkOptions, SegmentSpec
from outgrad.storage.zarr.layout import Contents, lay_out
from outgrad.storage.zarr.save_session import Description, SaveSession, chunk_records
from outgrad.storage.zarr.seams import (
    ArrayRange,
    assemble,
    find_seams,
    join_consecutive,
    merge_ranges,
    owned,
    shared_ends,
)
from outgrad.storage.zarr.segment import ShardRecords, write_segment
from outgrad.storage.zarr.storage_chunks import ChunkRecords, SegmentStore
from outgrad.storage.zarr.updates import Update


class TaskWriter:
    """The part of a writer that tasks need: small to pickle; it reads the segment's plan once a process."""

    def __init__(self, store: Store, segment_name: str, durable: bool) -> None:
        self._store = store
        self._segment_name = segment_name
        self._durable = durable

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> Written:
        """Write the shards that lie inside the rows of one part; return the rows at the ends.

        It may run twice: what is written is the same.
        """
        segment, store = self._plan()
        shards: list[tuple[int, int, ChunkRecords]] = []
        ends = []
        nbytes = 0
        for rows in join_consecutive(_planned_rows(segment, requests, chunks)):
            spec = segment.arrays[rows.array]
            for number in spec.shards_of(*owned(rows.range, spec)):
                shard = rows.take(*spec.shard_range(number))
                shards.append((rows.array, number, store.write_shard(spec, number, shard)))
                nbytes += shard.nbytes
            ends.extend(shared_ends(rows, spec))
        return Written(nbytes, tuple(shards), tuple(ends))

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Write one shard whose rows were left over from several parts."""
        segment, store = self._plan()
        spec = segment.arrays[seam.array]
        rows = assemble(seam, spec, (end for each in written for end in each.ends))
        records = store.write_shard(spec, seam.shard, rows)
        return Written(rows.nbytes, ((seam.array, seam.shard, records),))

    def _plan(self) -> tuple[SegmentSpec, SegmentStore]:
        """The plan of the segment and the store to fill it, which all tasks of a process share."""
        key = self._store.name, self._segment_name, self._durable
        return _plans.get(key, partial(_open_plan, self._store, self._segment_name, self._durable))


_plans: OpenFiles[tuple[str, str, bool], tuple[SegmentSpec, SegmentStore]] = OpenFiles(8)


def _open_plan(store: Store, segment_name: str, durable: bool) -> tuple[SegmentSpec, SegmentStore]:
    prefix = f"{SEGMENTS}/{segment_name}/"
    return commits.read_plan(store, f"{prefix}{PLAN}"), SegmentStore(store, prefix, durable=durable)


def _planned_rows(
    segment: SegmentSpec, requests: Sequence[Request], chunks: Sequence[Chunk]
) -> Iterator[tuple[int, int, Array]]:
    """Where the arrays of some chunks go: number of the Zarr array, first row, rows."""
    for request, chunk in zip(requests, chunks, strict=True):
        walked = zip(segment.blocks[request.block].walk(), request.ranges, strict=True)
        for (path, block), (start, stop) in walked:
            values = chunk.at(path).values
            spec = segment.arrays[block.values.array]
            shape = (stop - start, *spec.shape[1:])
            if (values.shape, values.dtype.newbyteorder("<")) != (shape, spec.dtype):
                raise ArchiveError(
                    f"save: rows [{start}, {stop}) of {spec.path} (block {request.block}) have shape "
                    f"{values.shape} and dtype {values.dtype}, but {shape} and {spec.dtype} were planned; "
                    "nothing was changed: compute the map alone to see which of its tasks makes them"
                )
            yield block.values.array, block.values.row + start, values


class ZarrWriter:
    """Write a map, a block or labels as a Zarr archive.

    The client calls :meth:`start`, tasks call :meth:`write` and :meth:`write_seam`, the client calls
    :meth:`prepare`, and publishes. Until then nothing is visible, and what was there before stays as it was.

    Parameters
    ----------
    store : Store
        Where to make it.
    contents : Contents
        Keys, and the labels and the shape of each block.
    description : Description
        What the commit says about the archive, apart from its data.
    options : ChunkOptions
        Sizes of chunks, and how they are compressed; all are checksummed.
    update : Update
        What becomes of an archive that is there. It stays readable until the new version is complete.
    durable : bool
        Whether everything is flushed to the disk before it becomes visible.
    """

    def __init__(
        self,
        store: Store,
        contents: Contents,
        description: Description,
        options: ChunkOptions,
        update: Update,
        *,
        durable: bool = True,
    ) -> None:
        self._session = SaveSession(store, update, durable=durable)
        self._contents = contents
        self._description = description
        self._options = options
        self._layout = lay_out(contents, options)
        self._segment: SegmentSpec | None = None
        self._written: ShardRecords = {}

    def start(self) -> None:
        """Claim the path, write label tables and offsets, and leave the plan for the tasks.

        Raises
        ------
        ArchiveExistsError
            If the path exists and is not to be replaced.
        NotAnArchiveError
            If it exists and is not an archive.
        """
        self._session.begin()
        store = self._session.segment_store()
        self._segment, self._written = write_segment(
            store,
            self._session.segment_name,
            self._description.kind,
            self._layout,
            self._contents,
            self._options,
        )
        for array in self._segment.arrays:
            store.make_folders(array.path)
        plan = commits.plan_bytes(self._segment)
        self._session.store.put(self._session.plan_key, plan, durable=False)

    def seams(self, parts: Sequence[Sequence[Request]]) -> list[Seam]:
        """List the shards whose rows come from several parts. No file is touched."""
        ranges: list[list[ArrayRange]] = []
        for part in parts:
            ranges.append([])
            for request in part:
                walked = zip(self._layout.blocks[request.block].walk(), request.ranges, strict=True)
                for (_, block), (start, stop) in walked:
                    array, first = block.values
                    ranges[-1].append(ArrayRange(array, first + start, first + stop))
        return find_seams([merge_ranges(each) for each in ranges], self._layout.arrays)

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> Written:
        """Write one part; see :meth:`TaskWriter.write`."""
        return self._task_writer().write(requests, chunks)

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Write one shared shard; see :meth:`TaskWriter.write_seam`."""
        return self._task_writer().write_seam(seam, written)

    def _task_writer(self) -> TaskWriter:
        return TaskWriter(self._session.store, self._session.segment_name, self._session.durable)

    def __reduce__(self) -> tuple[type[TaskWriter], tuple[Store, str, bool]]:
        """Only the part that tasks need is pickled into them."""
        return TaskWriter, (self._session.store, self._session.segment_name, self._session.durable)

    def prepare(self, receipts: Sequence[Written], texts: Mapping[str, str] = NO_TEXTS) -> Unpublished:
        """Check that everything was written, and flush it; return what is to be published.

        ``texts`` are added to the info.

        Raises
        ------
        ArchiveError
            If shards were not written, or another writer was faster.
        """
        assert self._segment is not None, "start() comes before prepare()"
        for receipt in receipts:
            self._written.update({(array, shard): records for array, shard, records in receipt.shards})
        records = chunk_records(self._session.name, self._segment, self._written)
        description = replace(self._description, info={**self._description.info, **texts})
        self._session.prepare(description, self._segment, records, self._options.sizes)
        return self._session

    def abort(self) -> None:
        """Remove what was written; an archive that was there before stays."""
        self._session.abort()
