"""A block whose rows arrive map by map: every array is written in complete shards as they fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, sliced_digest
from outgrad.storage.zarr.edges import slices
from outgrad.storage.zarr.format import LABEL_DTYPE, ArraySpec, ChunkOptions, FirstRow, path_in_block
from outgrad.storage.zarr.layout import ChunkGrid, array_spec, check_dtype, table_grid, values_grid
from outgrad.storage.zarr.repeated_rows import SeenRows
from outgrad.storage.zarr.storage_chunks import ChunkRecords, RowSink, SegmentStore, SinkState
from outgrad.tree import GradientPath, Tree, fold, fold_down

BlockState = list[tuple[SinkState, SinkState, SeenRows]]

MAXIMUM_PARENT_ROWS = 2**31
"""``sample`` is an int32."""


@dataclass(frozen=True)
class RowSinks:
    """Makes the sinks of growing arrays."""

    store: SegmentStore
    options: ChunkOptions

    def values(self, path: str, dtype: np.dtype[Any], trailing: tuple[int, ...], grid: ChunkGrid) -> RowSink:
        check_dtype(dtype, path)
        return self._sink(path, dtype, trailing, grid)

    def table(self, path: str, width: int) -> RowSink:
        return self._sink(path, LABEL_DTYPE, (width,), table_grid(self.options.sizes))

    def _sink(self, path: str, dtype: np.dtype[Any], trailing: tuple[int, ...], grid: ChunkGrid) -> RowSink:
        # More rows than fit into a shard: how many there will be is not known yet.
        rows = 2 + grid.shard // max(1, prod(trailing) * dtype.itemsize)
        return RowSink(self.store, array_spec(path, dtype, (rows, *trailing), grid, self.options.compressor))


class GrowingBlock(Tree):
    """A block or a gradient that grows.

    Components and properties stay those of the first map. ``seen`` keeps 8 bytes a sample, to find samples
    that occur in two maps; gradients need none, since their rows count samples.
    """

    def __init__(
        self,
        sinks: RowSinks,
        path: str,
        metadata: BlockMetadata,
        dtype: np.dtype[Any],
        block_bytes: int | None = None,
    ) -> None:
        self.path = path
        self.metadata = metadata
        self.dtype = dtype
        # How many gradient rows a sample has is taken from the first map.
        nbytes = {path: prod(each.shape) * dtype.itemsize for path, each in metadata.walk()}
        block_bytes = sum(nbytes.values()) if block_bytes is None else block_bytes
        grid = values_grid(nbytes[()], block_bytes, sinks.options.sizes)
        self.values = sinks.values(f"{path}values", dtype, metadata.trailing, grid)
        self.samples = sinks.table(f"{path}samples", len(metadata.samples.names))
        self.seen = SeenRows()
        self.gradients = {
            parameter: GrowingBlock(
                sinks, f"{path}{path_in_block((parameter,))}", gradient, dtype, block_bytes
            )
            for parameter, gradient in metadata.gradients.items()
        }

    def append(self, metadata: BlockMetadata, chunk: Chunk) -> None:
        """Add the rows of a block that was checked."""
        rows_before = {path: node.values.rows for path, node in self.walk()}
        for path, node in self.walk():
            for rows in slices(metadata.at(path).samples):
                if path:  # ``sample`` counts rows of the parent from the start of the map
                    rows = rows.copy()
                    rows[:, 0] += rows_before[path[:-1]]
                node.samples.append(rows)
            node.values.append(chunk.at(path).values)

    def state(self) -> BlockState:
        """What :meth:`restore` needs to forget what comes after."""
        return [(node.values.state(), node.samples.state(), node.seen) for _, node in self.walk()]

    def restore(self, state: BlockState) -> None:
        """Forget all rows that were appended since."""
        for (_, node), (values, samples, seen) in zip(self.walk(), state, strict=True):
            node.seen = seen
            node.values.restore(values)
            node.samples.restore(samples)

    def find(self, rows: Table) -> tuple[int, int] | None:
        """Find the first sample that is one of ``rows``: its position there, and its row here."""
        first = 0
        for table in self.samples.read():
            positions = find_rows(rows, table)
            if (positions >= 0).any():
                index = int((positions >= 0).argmax())
                return int(positions[index]), first + index
            first += len(table)
        return None

    def largest(self, column: int) -> int:
        """The largest value in a column of the samples; −1 if there are none."""
        return max((int(table[:, column].max()) for table in self.samples.read() if len(table)), default=-1)

    # ---- what does not continue the block is refused, before any of it is written ----
    def check(self, metadata: BlockMetadata, dtype: np.dtype[Any]) -> None:
        """Refuse labels and dtypes that are not those of the maps before."""
        for path, node in self.walk():
            new = metadata.at(path)
            is_same = (
                node.metadata.components == new.components
                and node.metadata.properties == new.properties
                and node.metadata.samples.names == new.samples.names
                and node.metadata.gradients.keys() == new.gradients.keys()
            )
            if not is_same:
                raise ValidationError(
                    f"append: {node._name} has other sample names, components, properties or gradients than "
                    "in the maps before; give each block the same ones in every map"
                )
            if dtype != node.dtype:
                raise ValidationError(
                    f"append: {node._name} has dtype {dtype}, and {node.dtype} in the maps before; convert "
                    f"this map with .to(dtype={str(node.dtype)!r})"
                )
            if path:
                rows_before = self.at(path[:-1]).values.rows
                node.check_rows(new.samples, rows_before, len(metadata.at(path[:-1]).samples))

    def check_rows(self, samples: Labels, rows_before: int, rows: int) -> None:
        """Refuse gradient rows of no row of their parent, which has ``rows`` after ``rows_before`` others."""
        if rows_before + rows > MAXIMUM_PARENT_ROWS:
            raise ValidationError(
                f"append: the parent of {self._name} has more than {MAXIMUM_PARENT_ROWS} rows, which 32-bit "
                "labels cannot number; write several archives"
            )
        if samples.is_stored or not len(samples):
            return  # checked when they were written
        column = samples.column(samples.names[0])
        if column.min() < 0 or column.max() >= rows:
            raise ValidationError(
                f"append: {self._name} has 'sample' from {column.min()} to {column.max()}, but its parent "
                f"has {rows} rows in this map; number them from 0"
            )

    def check_arrays(self, metadata: BlockMetadata, chunk: Chunk) -> None:
        """Refuse arrays that do not fit their labels."""
        for path, node in self.walk():
            values, shape = chunk.at(path).values, metadata.at(path).shape
            if values.shape != shape or values.dtype != node.dtype:
                raise ValidationError(
                    f"append: {node._name} has values of shape {values.shape} and dtype {values.dtype}, but "
                    f"its labels and the maps before ask for {shape} and {node.dtype}; convert them"
                )

    @property
    def _name(self) -> str:
        return self.path.rstrip("/")

    @property
    def signature(self) -> tuple[Any, ...]:
        """What all blocks of a map have in common: names, dtype, and those of the gradients."""

        def node_signature(block: GrowingBlock, gradients: dict[str, Any]) -> tuple[Any, ...]:
            labels = (block.metadata.samples, *block.metadata.components, block.metadata.properties)
            return (*(tuple(each.names) for each in labels), block.dtype.name, *sorted(gradients.items()))

        return fold(node_signature, self)


@dataclass(frozen=True)
class WrittenTable:
    """A label table that was just written, from which labels are read."""

    store: SegmentStore
    array: ArraySpec
    records: ChunkRecords

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        return self.store.read_rows(self.array, lambda first, last: self.records[first:last], start, stop)

    def labels(self, names: Sequence[str]) -> Labels:
        """The labels of the complete table; it is read once in slices, for its digest."""
        rows = self.array.shape[0]
        step = self.array.shard_rows
        slices_read = (self.read(start, min(start + step, rows)) for start in range(0, rows, step))
        return Labels.from_source(names, rows, sliced_digest(names, rows, slices_read), self)


class GrownArrays:
    """The arrays of growing blocks, closed one after the other.

    ``values`` and ``samples`` say where those of each block and gradient are, in the order of ``walk()``.
    """

    def __init__(self, store: SegmentStore) -> None:
        self.arrays: list[ArraySpec] = []
        self.shards: list[list[ChunkRecords]] = []
        self.values: list[FirstRow] = []
        self.samples: list[tuple[Labels, FirstRow]] = []
        self._store = store

    def close(self, block: GrowingBlock) -> tuple[BlockMetadata, Outline]:
        """Write what is left of a block and its gradients; return their labels and shapes."""
        tables: dict[GradientPath, Labels] = {}
        for path, node in block.walk():
            self.values.append(self._add(node.values))
            first = self._add(node.samples)
            table = WrittenTable(self._store, self.arrays[-1], node.samples.records)
            tables[path] = table.labels(node.metadata.samples.names)
            self.samples.append((tables[path], first))

        def metadata(path: GradientPath, _: object, node: GrowingBlock, gradients: Any) -> BlockMetadata:
            return replace(node.metadata, samples=tables[path], gradients=gradients)

        def outline(node: GrowingBlock, gradients: dict[str, Outline]) -> Outline:
            edges = np.array([0, node.values.rows], dtype=np.int64)
            return Outline(edges, node.metadata.trailing, node.dtype, gradients)

        return fold_down(metadata, block), fold(outline, block)

    def _add(self, sink: RowSink) -> FirstRow:
        self.arrays.append(sink.close())
        self.shards.append(sink.shards)
        return FirstRow(len(self.arrays) - 1, 0)
