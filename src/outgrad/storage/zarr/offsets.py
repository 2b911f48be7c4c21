"""Offsets of gradients, written as they are found: each content once."""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.storage.zarr.codecs import Compressor
from outgrad.storage.zarr.edges import Offsets, fine_edges, sample_offsets
from outgrad.storage.zarr.format import OFFSET_DTYPE, ArraySpec, BlockSpec, Place, Sizes
from outgrad.storage.zarr.layout import array_spec, block_path, finish_block
from outgrad.storage.zarr.storage_chunks import RowSink, SegmentStore
from outgrad.tree import GradientPath

Key = tuple[str, int]
"""Digest of the gradient's samples and rows of its parent: they decide what the offsets are."""


class OffsetWriter:
    """Reads the samples of gradients, and writes offsets and chunk edges of one block after the other.

    Small offsets share the array ``shared/offsets/0``, unless there are only one block's.
    """

    def __init__(
        self,
        store: SegmentStore,
        metadata: Sequence[BlockMetadata],
        sizes: Sizes,
        compressor: Compressor | None,
        first: int,
    ) -> None:
        self._store = store
        self._sizes = sizes
        self._compressor = compressor
        self._first = first
        self._sinks: list[RowSink] = []
        self._shared: int | None = None
        self._places: dict[Key, Place | None] = {}
        self._is_alone = len({key for block in metadata for key in _keys(block)}) == 1

    def finish(self, number: int, block: BlockSpec, metadata: BlockMetadata, outline: Outline) -> BlockSpec:
        """Write the offsets of a block's gradients, and return the block with their places and its edges."""
        found: dict[GradientPath, Offsets | None] = {}
        places: dict[GradientPath, Place | None] = {}
        for path, gradient in metadata.walk():
            if path:
                parent = metadata.at(path[:-1])
                key = gradient.samples.digest, len(parent.samples)
                found[path], places[path] = self._find(key, gradient, f"{block_path(number, path)}offsets")
        edges = fine_edges(metadata, outline, found, self._sizes)
        return finish_block(block, edges, places)

    def _find(self, key: Key, gradient: BlockMetadata, path: str) -> tuple[Offsets | None, Place | None]:
        offsets = sample_offsets(gradient.samples, key[1])
        if key not in self._places:
            self._places[key] = None if offsets is None else self._write(offsets, path)
        return offsets, self._places[key]

    def _write(self, offsets: Offsets, path: str) -> Place:
        if self._is_alone or offsets.nbytes >= self._sizes.share_below:
            spec = self._spec(path, len(offsets))
            self._sinks.append(RowSink(self._store, spec))
            number = len(self._sinks) - 1
        else:
            number = self._shared_number()
        place = Place(self._first + number, self._sinks[number].rows)
        self._sinks[number].append(offsets)
        return place

    def _shared_number(self) -> int:
        if self._shared is None:
            self._shared = len(self._sinks)
            rows_a_chunk = max(1, self._sizes.table_chunk // OFFSET_DTYPE.itemsize)
            self._sinks.append(RowSink(self._store, self._spec("shared/offsets/0", rows_a_chunk)))
        return self._shared

    def _spec(self, path: str, rows: int) -> ArraySpec:
        return array_spec(path, OFFSET_DTYPE, (rows,), self._sizes.table_chunk, self._compressor)

    def close(self) -> tuple[list[ArraySpec], list[list[int]]]:
        """Write what is left; return the arrays, and the checksums of their chunks."""
        arrays = [sink.close() for sink in self._sinks]
        return arrays, [sink.checksums for sink in self._sinks]


def _keys(metadata: BlockMetadata) -> list[Key]:
    return [
        (gradient.samples.digest, len(metadata.at(path[:-1]).samples))
        for path, gradient in metadata.walk()
        if path
    ]
