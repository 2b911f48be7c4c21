"""The part of a segment that a client writes itself: label tables, offsets, chunk edges."""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.storage.zarr.codecs import Compressor
from outgrad.storage.zarr.edges import slices
from outgrad.storage.zarr.format import Kind, SegmentSpec, Sizes
from outgrad.storage.zarr.layout import Layout, key_values
from outgrad.storage.zarr.offsets import OffsetWriter
from outgrad.storage.zarr.storage_chunks import RowSink, SegmentStore

ChunkChecksums = dict[tuple[int, int], int]
"""CRC32C by (number of the array, number of the chunk)."""


def write_segment(
    store: SegmentStore,
    name: str,
    kind: Kind,
    layout: Layout,
    metadata: Sequence[BlockMetadata],
    outlines: Sequence[Outline],
    sizes: Sizes,
    compressor: Compressor | None,
) -> tuple[SegmentSpec, ChunkChecksums]:
    """Write label tables and offsets in slices; return the whole segment, and what was written."""
    checksums = _write_tables(store, layout)
    offsets = OffsetWriter(store, metadata, sizes, compressor, len(layout.arrays))
    each = zip(layout.blocks, metadata, outlines, strict=True)
    blocks = tuple(offsets.finish(number, *block) for number, block in enumerate(each))
    arrays, written = offsets.close()
    for number, own in enumerate(written, start=len(layout.arrays)):
        checksums.update(numbered(number, own))
    segment = SegmentSpec(
        name=name,
        arrays=(*layout.arrays, *arrays),
        tables=layout.tables,
        blocks=blocks,
        keys=layout.keys,
        key_values=key_values(layout.labels[layout.keys], kind != "labels"),
    )
    return segment, checksums


def numbered(array: int, checksums: Sequence[int]) -> ChunkChecksums:
    return {(array, chunk): checksum for chunk, checksum in enumerate(checksums)}


def _write_tables(store: SegmentStore, layout: Layout) -> ChunkChecksums:
    sinks: dict[int, RowSink] = {}
    for table in layout.unwritten:
        place = layout.tables[table].place
        if place.array not in sinks:
            sinks[place.array] = RowSink(store, layout.arrays[place.array])
        sink = sinks[place.array]
        assert sink.rows == place.first, "tables are written in the order of their places"
        for rows in slices(layout.labels[table]):
            sink.append(rows)
    checksums: ChunkChecksums = {}
    for number, sink in sinks.items():
        sink.close()
        checksums.update(numbered(number, sink.checksums))
    return checksums
