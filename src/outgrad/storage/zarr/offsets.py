"""Offsets of gradients, written block by block; equal ones only once."""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.storage.zarr.edges import Offsets, fine_edges, sample_offsets
from outgrad.storage.zarr.format import OFFSET_DTYPE, BlockSpec, ChunkOptions, FirstRow
from outgrad.storage.zarr.layout import array_spec, finish_block, table_grid
from outgrad.storage.zarr.row_names import block_path
from outgrad.storage.zarr.storage_chunks import RowSink, SegmentStore
from outgrad.tree import GradientPath

OffsetsKey = tuple[str, int]
"""Digest of the gradient's samples and rows of its parent: they decide what the offsets are."""


class OffsetWriter:
    """Reads the samples of gradients, and writes offsets and chunk edges, one block after the other.

    Many small offsets share the array ``shared/offsets/0``.
    """

    def __init__(
        self, store: SegmentStore, metadata: Sequence[BlockMetadata], options: ChunkOptions, first_number: int
    ) -> None:
        self._store = store
        self._options = options
        self._first_number = first_number
        self.sinks: list[RowSink] = []
        """Of the arrays that were begun; who made the writer closes them."""
        self._shared: int | None = None
        self._written: dict[OffsetsKey, FirstRow | None] = {}
        gradients = [(block, path) for block in metadata for path, _ in block.walk() if path]
        self._is_shared = (
            len({_offsets_key(block, path) for block, path in gradients}) >= options.sizes.share_from
        )

    def finish(self, number: int, block: BlockSpec, metadata: BlockMetadata, outline: Outline) -> BlockSpec:
        """Write the offsets of a block's gradients; return the block, which now has them and its edges."""
        offsets: dict[GradientPath, Offsets | None] = {}
        first_rows: dict[GradientPath, FirstRow | None] = {}
        for path, gradient in metadata.walk():
            if path:
                key = _offsets_key(metadata, path)
                content = sample_offsets(gradient.samples, key[1])
                if key not in self._written:
                    name = f"{block_path(number, path)}offsets"
                    self._written[key] = None if content is None else self._write(content, name)
                offsets[path], first_rows[path] = content, self._written[key]
        edges = fine_edges(metadata, outline, offsets, self._options.sizes)
        return finish_block(block, edges, first_rows)

    def _write(self, offsets: Offsets, path: str) -> FirstRow:
        """Append offsets to the shared array; large ones, or the only ones, have an array of their own."""
        sizes = self._options.sizes
        number = self._shared
        if not self._is_shared or offsets.nbytes >= sizes.share_below:
            number = self._add_sink(path, len(offsets))
        elif number is None:
            # As many rows as fill a shard: how many there will be is not known yet.
            rows_per_shard = max(1, sizes.table_shard // OFFSET_DTYPE.itemsize)
            number = self._shared = self._add_sink("shared/offsets/0", rows_per_shard)
        first = FirstRow(self._first_number + number, self.sinks[number].rows)
        self.sinks[number].append(offsets)
        return first

    def _add_sink(self, path: str, rows: int) -> int:
        options = self._options
        spec = array_spec(path, OFFSET_DTYPE, (rows,), table_grid(options.sizes), options.compressor)
        self.sinks.append(RowSink(self._store, spec))
        return len(self.sinks) - 1


def _offsets_key(metadata: BlockMetadata, path: GradientPath) -> OffsetsKey:
    return metadata.at(path).samples.digest, len(metadata.at(path[:-1]).samples)
