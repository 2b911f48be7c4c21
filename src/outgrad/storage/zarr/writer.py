"""Writing a map, a block or labels: laid out by the client, filled by tasks, made visible by one commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import NO_TEXTS, Request, Seam, Written
from outgrad.errors import ArchiveError
from outgrad.labels.labels import Labels
from outgrad.storage.publishing import Unpublished
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import (
    DEFAULT_COMPRESSOR,
    PLAN,
    SEGMENTS,
    ArraySpec,
    BlockSpec,
    Kind,
    SegmentSpec,
    Sizes,
    find_compressor,
)
from outgrad.storage.zarr.layout import lay_out
from outgrad.storage.zarr.save_session import Description, Draft, chunk_checksums
from outgrad.storage.zarr.seams import (
    Array,
    Rows,
    Stretch,
    assemble,
    find_seams,
    left_over,
    merge_rows,
    owned,
    stretches,
)
from outgrad.storage.zarr.segment import ChunkChecksums, write_segment
from outgrad.storage.zarr.storage_chunks import ByteStore, SegmentStore

Compressed = tuple[int, int, int]


class TaskWriter:
    """The part of a writer that tasks need: small to pickle; it reads the segment's plan once a process."""

    def __init__(self, root: str, segment_name: str, durable: bool) -> None:
        self._root = root
        self._segment_name = segment_name
        self._durable = durable

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> Written:
        """Write the storage chunks that lie inside the rows of one part; return the rows at the ends.

        It may run twice: what is written is the same.
        """
        segment, store = self._opened()
        written: list[Compressed] = []
        ends = []
        nbytes = 0
        for stretch in stretches(_pieces(segment, requests, chunks)):
            spec = segment.arrays[stretch.array]
            for number, rows in _own_chunks(stretch, spec):
                written.append((stretch.array, number, store.write_chunk(spec, number, rows)))
                nbytes += rows.nbytes
            ends.extend(left_over(stretch, spec))
        return Written(nbytes, tuple(written), tuple(ends))

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Write one storage chunk whose rows were left over from several parts."""
        segment, store = self._opened()
        spec = segment.arrays[seam.array]
        rows = assemble(seam, spec, (end for each in written for end in each.ends))
        checksum = store.write_chunk(spec, seam.chunk, rows)
        return Written(rows.nbytes, ((seam.array, seam.chunk, checksum),))

    def _opened(self) -> tuple[SegmentSpec, SegmentStore]:
        return _open_plan(self._root, self._segment_name, self._durable)


@lru_cache(maxsize=8)
def _open_plan(root: str, segment_name: str, durable: bool) -> tuple[SegmentSpec, SegmentStore]:
    store = ByteStore.local(Path(root), read_only=False)
    draft_store = SegmentStore(store, f"{SEGMENTS}/{segment_name}/", durable=durable)
    return commits.read_plan(Path(root) / SEGMENTS / segment_name / PLAN), draft_store


def _pieces(
    segment: SegmentSpec, requests: Sequence[Request], chunks: Sequence[Chunk]
) -> Iterator[tuple[int, int, Array]]:
    """Where the arrays of some chunks go: number of the Zarr array, first row, rows."""
    for request, chunk in zip(requests, chunks, strict=True):
        walked = zip(segment.blocks[request.block].walk(), request.ranges, strict=True)
        for (path, block), (start, stop) in walked:
            values = chunk.at(path).values
            spec = segment.arrays[block.values.array]
            expected = (stop - start, *spec.shape[1:])
            if (values.shape, values.dtype.newbyteorder("<")) != (expected, spec.dtype):
                raise ArchiveError(
                    f"save: rows [{start}, {stop}) of {spec.path} (block {request.block}) have shape "
                    f"{values.shape} and dtype {values.dtype}, but {expected} and {spec.dtype} were planned; "
                    "nothing was changed: compute the map alone to see which of its tasks makes them"
                )
            yield block.values.array, block.values.first + start, values


def _own_chunks(stretch: Stretch, spec: ArraySpec) -> Iterator[tuple[int, Array]]:
    first, last = owned(stretch.span, spec)
    for number in spec.chunks_of(first, last):
        yield number, stretch.take(*spec.chunk_range(number))


class ZarrWriter:
    """Write a map, a block or labels as a Zarr archive.

    The client calls :meth:`start`, tasks call :meth:`write` and :meth:`write_seam`, the client calls
    :meth:`prepare`, and publishes. Until then nothing is visible, and what was at ``path`` stays as it was.

    Parameters
    ----------
    path : str or Path
        The directory to make.
    keys : Labels
        Keys of the map; ``Labels.single()`` for a block; the labels themselves for kind "labels".
    metadata : sequence of BlockMetadata
        Labels of each block.
    outlines : sequence of Outline
        Shapes and dtypes of each block; its edges do not matter here.
    info : dict of str to str
        Additional texts of the map.
    overwrite : bool
        Replace an archive that is at ``path``. It stays readable until the new one is whole.
    kind : {"map", "block", "labels"}
        What is saved.
    compressor : {"lz4", "zstd", "none"}
        How chunks are compressed; all are checksummed.
    provenance : dict
        Anything that JSON holds: how the data were made.
    sizes : Sizes
        Sizes of chunks, in bytes.
    durable : bool
        Whether everything is flushed to the disk before it becomes visible.
    """

    def __init__(
        self,
        path: str | Path,
        keys: Labels,
        metadata: Sequence[BlockMetadata],
        outlines: Sequence[Outline],
        *,
        info: dict[str, str] | None = None,
        overwrite: bool = False,
        kind: Kind = "map",
        compressor: str = DEFAULT_COMPRESSOR,
        provenance: dict[str, Any] | None = None,
        sizes: Sizes | None = None,
        durable: bool = True,
    ) -> None:
        self._description = Description(kind, dict(info or {}), dict(provenance or {}))
        self._draft = Draft(path, overwrite=overwrite, durable=durable)
        self._metadata = tuple(metadata)
        self._outlines = tuple(outlines)
        self._sizes = sizes or Sizes()
        self._compressor = find_compressor(compressor)
        self._layout = lay_out(keys, metadata, outlines, self._sizes, self._compressor)
        self._segment: SegmentSpec | None = None
        self._checksums: ChunkChecksums = {}

    def start(self) -> None:
        """Claim the path, write label tables and offsets, and leave the plan for the tasks.

        Raises
        ------
        ArchiveExistsError
            If the path exists and ``overwrite`` is not set.
        NotAnArchiveError
            If it exists and is no archive.
        """
        self._draft.begin()
        self._segment, self._checksums = write_segment(
            self._draft.store(),
            self._draft.segment_name,
            self._description.kind,
            self._layout,
            self._metadata,
            self._outlines,
            self._sizes,
            self._compressor,
        )
        for array in self._segment.arrays:
            self._draft.store().make_folders(array.path)
        commits.write_plan(self._draft.plan_path, self._segment)

    def seams(self, parts: Sequence[Sequence[Request]]) -> list[Seam]:
        """List the storage chunks whose rows come from several parts. No file is touched."""
        blocks = self._layout.blocks
        runs = [merge_rows(_rows(blocks, part)) for part in parts]
        return find_seams(runs, self._layout.arrays)

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> Written:
        """Write one part; see :meth:`TaskWriter.write`."""
        return self._task_writer().write(requests, chunks)

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Write one shared storage chunk; see :meth:`TaskWriter.write_seam`."""
        return self._task_writer().write_seam(seam, written)

    def _task_writer(self) -> TaskWriter:
        return TaskWriter(str(self._draft.root), self._draft.segment_name, self._draft.durable)

    def __reduce__(self) -> tuple[type[TaskWriter], tuple[str, str, bool]]:
        """What travels in tasks is only the part that they need."""
        return TaskWriter, (str(self._draft.root), self._draft.segment_name, self._draft.durable)

    def prepare(self, receipts: Sequence[Written], texts: Mapping[str, str] = NO_TEXTS) -> Unpublished:
        """Check that everything was written, and flush it; return what is to be published.

        ``texts`` are added to the info.

        Raises
        ------
        ArchiveError
            If storage chunks were not written, or another writer was faster.
        """
        assert self._segment is not None, "start() comes before prepare()"
        for receipt in receipts:
            self._checksums.update({(array, chunk): checksum for array, chunk, checksum in receipt.checksums})
        checksums = chunk_checksums(self._draft.root, self._segment, self._checksums)
        description = replace(self._description, info={**self._description.info, **texts})
        self._draft.prepare(description, self._segment, checksums, self._sizes)
        return self._draft

    def abort(self) -> None:
        """Remove what was written; an archive that was there before stays."""
        self._draft.abort()


def _rows(blocks: Sequence[BlockSpec], part: Sequence[Request]) -> Iterator[Rows]:
    for request in part:
        walked = zip(blocks[request.block].walk(), request.ranges, strict=True)
        for (_, block), (start, stop) in walked:
            first = block.values.first
            yield Rows(block.values.array, first + start, first + stop)
