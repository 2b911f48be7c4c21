"""The part of a segment that a client writes itself: label tables, offsets, chunk edges."""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.storage.zarr.edges import slices
from outgrad.storage.zarr.format import ArchiveKind, ChunkOptions, SegmentSpec
from outgrad.storage.zarr.layout import Contents, Layout, key_values
from outgrad.storage.zarr.offsets import OffsetWriter
from outgrad.storage.zarr.storage_chunks import RowSink, SegmentStore

ChunkChecksums = dict[tuple[int, int], int]
"""CRC32C by (number of the array, number of the chunk)."""


def write_segment(
    store: SegmentStore,
    name: str,
    kind: ArchiveKind,
    layout: Layout,
    contents: Contents,
    options: ChunkOptions,
) -> tuple[SegmentSpec, ChunkChecksums]:
    """Write label tables and offsets in slices; return the complete segment, and what was written."""
    sinks: dict[int, RowSink] = {}
    for table in layout.unwritten:
        first = layout.tables[table].first
        if first.array not in sinks:
            sinks[first.array] = RowSink(store, layout.arrays[first.array])
        sink = sinks[first.array]
        assert sink.rows == first.row, "tables are written in the order of their rows"
        for rows in slices(layout.labels[table]):
            sink.append(rows)
    checksums: ChunkChecksums = {}
    for number, sink in sinks.items():
        sink.close()
        checksums.update(numbered_checksums(number, sink.checksums))

    offsets = OffsetWriter(store, contents.metadata, options, len(layout.arrays))
    each = zip(layout.blocks, contents.metadata, contents.outlines, strict=True)
    blocks = tuple(offsets.finish(number, *block) for number, block in enumerate(each))
    arrays, written = offsets.close()
    for number, array_checksums in enumerate(written, start=len(layout.arrays)):
        checksums.update(numbered_checksums(number, array_checksums))
    segment = SegmentSpec(
        name=name,
        arrays=(*layout.arrays, *arrays),
        tables=layout.tables,
        blocks=blocks,
        keys=layout.keys,
        key_values=key_values(layout.labels[layout.keys], kind != "labels"),
    )
    return segment, checksums


def numbered_checksums(array: int, checksums: Sequence[int]) -> ChunkChecksums:
    return {(array, chunk): checksum for chunk, checksum in enumerate(checksums)}
