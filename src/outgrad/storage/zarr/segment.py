"""The part of a segment that a client writes itself: label tables, offsets, chunk edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.chunk import Table
from outgrad.storage.zarr.edges import slices
from outgrad.storage.zarr.format import (
    LABEL_DTYPE,
    ArchiveKind,
    ChunkOptions,
    FirstRow,
    SegmentSpec,
    TableSpec,
)
from outgrad.storage.zarr.layout import Contents, Layout, array_spec, key_values, table_grid
from outgrad.storage.zarr.offsets import OffsetWriter
from outgrad.storage.zarr.storage_chunks import ChunkRecords, RowSink, SegmentStore
from outgrad.storage.zarr.table_ranges import TableRanges

ShardRecords = dict[tuple[int, int], ChunkRecords]
"""Records of chunks by (number of the array, number of the shard)."""


def write_segment(
    store: SegmentStore,
    name: str,
    kind: ArchiveKind,
    layout: Layout,
    contents: Contents,
    options: ChunkOptions,
) -> tuple[SegmentSpec, ShardRecords]:
    """Write label tables and offsets in slices; return the complete segment, and what was written."""
    samples = {block.samples for block in layout.blocks}
    ranges = {number: _ranges_of(layout, number) for number in sorted(samples)}
    sinks: dict[int, RowSink] = {}
    for table in layout.unwritten:
        first = layout.tables[table].first
        if first.array not in sinks:
            sinks[first.array] = RowSink(store, layout.arrays[first.array])
        sink = sinks[first.array]
        assert sink.rows == first.row, "tables are written in the order of their rows"
        for rows in slices(layout.labels[table]):
            sink.append(rows)
            if table in ranges:
                ranges[table].add(rows)
    for table in samples.difference(layout.unwritten):
        for rows in slices(layout.labels[table]):
            ranges[table].add(rows)
    written: ShardRecords = {}
    for number, sink in sinks.items():
        sink.close()
        written.update(numbered_shards(number, sink.shards))

    offsets = OffsetWriter(store, contents.metadata, options, len(layout.arrays))
    each = zip(layout.blocks, contents.metadata, contents.outlines, strict=True)
    blocks = tuple(offsets.finish(number, *block) for number, block in enumerate(each))
    arrays = [*layout.arrays, *(sink.close() for sink in offsets.sinks)]
    for number, sink in enumerate(offsets.sinks, start=len(layout.arrays)):
        written.update(numbered_shards(number, sink.shards))

    tables, sink_of_ranges = _with_ranges(store, layout.tables, ranges, len(arrays), options)
    if sink_of_ranges is not None:
        written.update(numbered_shards(len(arrays), sink_of_ranges.shards))
        arrays.append(sink_of_ranges.array)
    segment = SegmentSpec(
        name=name,
        arrays=tuple(arrays),
        tables=tables,
        blocks=blocks,
        keys=layout.keys,
        key_values=key_values(layout.labels[layout.keys], kind != "labels"),
    )
    return segment, written


def _ranges_of(layout: Layout, table: int) -> TableRanges:
    array, row = layout.tables[table].first
    return TableRanges(layout.arrays[array], row, layout.tables[table].names)


def _with_ranges(
    store: SegmentStore,
    tables: Sequence[TableSpec],
    ranges: dict[int, TableRanges],
    number: int,
    options: ChunkOptions,
) -> tuple[tuple[TableSpec, ...], RowSink | None]:
    """Add to the samples of blocks what is in them; the ranges of chunks go to an array with this number."""
    with_bounds = list(tables)
    several: list[Table] = []
    rows = 0
    for table, found in ranges.items():
        first = None
        if len(found.chunks) > 1:
            first = FirstRow(number, rows)
            several.append(found.chunks)
            rows += len(found.chunks)
        with_bounds[table] = tables[table]._replace(bounds=found.bounds, ranges=first)
    if not several:
        return tuple(with_bounds), None
    spec = array_spec("ranges", LABEL_DTYPE, (rows, 2), table_grid(options.sizes), options.compressor)
    sink = RowSink(store, spec)
    sink.append(np.concatenate(several))
    sink.close()
    return tuple(with_bounds), sink


def numbered_shards(array: int, shards: Sequence[ChunkRecords]) -> ShardRecords:
    return {(array, shard): records for shard, records in enumerate(shards)}
