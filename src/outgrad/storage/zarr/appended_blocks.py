"""A block whose rows arrive piece by piece: every array is written in whole storage chunks as they fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, sliced_digest
from outgrad.labels.types import Table
from outgrad.storage.zarr.codecs import Compressor
from outgrad.storage.zarr.edges import slices
from outgrad.storage.zarr.format import LABEL_DTYPE, ArraySpec, Place, Sizes, path_in_block
from outgrad.storage.zarr.layout import array_spec, check_dtype
from outgrad.storage.zarr.repeated_rows import SeenRows
from outgrad.storage.zarr.storage_chunks import RowSink, SegmentStore, SinkState
from outgrad.tree import GradientPath, Tree, fold, fold_down

State = list[tuple[SinkState, SinkState, SeenRows]]

_LAST_ROW = 2**31


@dataclass(frozen=True)
class Target:
    """Where growing arrays are written, and how."""

    store: SegmentStore
    sizes: Sizes
    compressor: Compressor | None

    def values(self, path: str, dtype: np.dtype[Any], trailing: tuple[int, ...]) -> RowSink:
        check_dtype(dtype, path)
        return self._sink(path, dtype, trailing, self.sizes.storage_chunk)

    def table(self, path: str, width: int) -> RowSink:
        return self._sink(path, LABEL_DTYPE, (width,), self.sizes.table_chunk)

    def _sink(self, path: str, dtype: np.dtype[Any], trailing: tuple[int, ...], chunk_bytes: int) -> RowSink:
        one_row = array_spec(path, dtype, (1, *trailing), chunk_bytes, self.compressor)
        rows = max(1, chunk_bytes // max(1, one_row.row_bytes))
        return RowSink(self.store, array_spec(path, dtype, (rows, *trailing), chunk_bytes, self.compressor))


class GrowingBlock(Tree):
    """A block or a gradient that grows.

    Components and properties stay those of the first piece. ``seen`` keeps 8 bytes a sample, to find
    samples that occur in two pieces; gradients need none, since their rows count samples.
    """

    def __init__(self, target: Target, path: str, metadata: BlockMetadata, dtype: np.dtype[Any]) -> None:
        self.path = path
        self.metadata = metadata
        self.dtype = dtype
        self.values = target.values(f"{path}values", dtype, metadata.trailing)
        self.samples = target.table(f"{path}samples", len(metadata.samples.names))
        self.seen = SeenRows()
        self.gradients = {
            parameter: GrowingBlock(target, f"{path}{path_in_block((parameter,))}", gradient, dtype)
            for parameter, gradient in metadata.gradients.items()
        }

    def append(self, metadata: BlockMetadata, chunk: Chunk) -> None:
        """Add the rows of a checked piece."""
        before = {path: own.values.rows for path, own in self.walk()}
        for path, own in self.walk():
            for rows in slices(metadata.at(path).samples):
                own.samples.append(_shifted(rows, before[path[:-1]]) if path else rows)
            own.values.append(chunk.at(path).values)

    def state(self) -> State:
        """What :meth:`restore` needs to forget what comes after."""
        return [(own.values.state(), own.samples.state(), own.seen) for _, own in self.walk()]

    def restore(self, state: State) -> None:
        """Forget all rows that were appended since."""
        for (_, own), (values, samples, seen) in zip(self.walk(), state, strict=True):
            own.seen = seen
            own.values.restore(values)
            own.samples.restore(samples)

    def find(self, rows: Table) -> tuple[int, int] | None:
        """Find the first sample that is one of ``rows``: its place there, and the row that it has here."""
        first = 0
        for table in self.samples.read():
            places = find_rows(rows, table)
            if (places >= 0).any():
                at = int((places >= 0).argmax())
                return int(places[at]), first + at
            first += len(table)
        return None

    def largest(self, column: int) -> int:
        """The largest value in a column of the samples; −1 if there are none."""
        return max((int(table[:, column].max()) for table in self.samples.read() if len(table)), default=-1)

    # ---- what does not continue the block is refused, before any of it is written ----
    def check(self, metadata: BlockMetadata, dtype: np.dtype[Any]) -> None:
        """Refuse labels and dtypes that are not those of the pieces before."""
        same = (
            self.metadata.components == metadata.components
            and self.metadata.properties == metadata.properties
            and self.metadata.samples.names == metadata.samples.names
            and self.metadata.gradients.keys() == metadata.gradients.keys()
        )
        if not same:
            raise ValidationError(
                f"append: {self._name} has other sample names, components, properties or "
                "gradients than in the pieces before; give each block the same ones in every piece"
            )
        if dtype != self.dtype:
            raise ValidationError(
                f"append: {self._name} has dtype {dtype}, and {self.dtype} in the pieces before; convert "
                f"this piece with .to(dtype={str(self.dtype)!r})"
            )
        for parameter, gradient in self.gradients.items():
            gradient.check(metadata.gradients[parameter], dtype)
            below = metadata.gradients[parameter].samples
            gradient.check_rows(below, self.values.rows, len(metadata.samples))

    def check_rows(self, samples: Labels, before: int, rows: int) -> None:
        """Refuse rows of a gradient that its parent, of ``rows`` rows after ``before`` others, has not."""
        if before + rows > _LAST_ROW:
            raise ValidationError(
                f"append: the parent of {self._name} has more than {_LAST_ROW} rows, which 32-bit "
                "labels cannot number; write several archives"
            )
        if samples.is_stored or not len(samples):
            return  # checked when they were written
        column = samples.column(samples.names[0])
        if column.min() < 0 or column.max() >= rows:
            raise ValidationError(
                f"append: {self._name} has 'sample' from {column.min()} to {column.max()}, but its parent "
                f"has {rows} rows in this map, numbered from 0"
            )

    def check_arrays(self, metadata: BlockMetadata, chunk: Chunk) -> None:
        """Refuse arrays that are not what their labels say."""
        for path, own in self.walk():
            values, shape = chunk.at(path).values, metadata.at(path).shape
            if values.shape != shape or values.dtype != own.dtype:
                raise ValidationError(
                    f"append: {own._name} has values of shape {values.shape} and dtype {values.dtype}, where "
                    f"its labels and the pieces before ask for {shape} and {own.dtype}"
                )

    @property
    def _name(self) -> str:
        return self.path.rstrip("/")

    @property
    def signature(self) -> tuple[Any, ...]:
        """What all blocks of a map have in common: names, dtype, and those of the gradients."""

        def own(block: GrowingBlock, gradients: dict[str, Any]) -> tuple[Any, ...]:
            names = (block.metadata.samples, *block.metadata.components, block.metadata.properties)
            return (*(tuple(labels.names) for labels in names), block.dtype.name, *sorted(gradients.items()))

        return fold(own, self)


def _shifted(rows: Table, by: int) -> Table:
    shifted = rows.copy()
    shifted[:, 0] += by
    return shifted


@dataclass(frozen=True)
class WrittenTable:
    """A source of labels that were just written."""

    store: SegmentStore
    array: ArraySpec
    checksums: Sequence[int]

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        return self.store.read_rows(self.array, self.checksums, start, stop)

    def labels(self, names: Sequence[str]) -> Labels:
        """The labels of the whole table; it is read once in slices, for its digest."""
        rows = self.array.shape[0]
        step = self.array.chunk_rows
        pieces = (self.read(start, min(start + step, rows)) for start in range(0, rows, step))
        return Labels.from_source(names, rows, sliced_digest(names, rows, pieces), self)


class GrownArrays:
    """The arrays of growing blocks, closed one after the other."""

    def __init__(self, store: SegmentStore) -> None:
        self.arrays: list[ArraySpec] = []
        self.checksums: list[list[int]] = []
        self.value_places: list[Place] = []
        self.sample_places: list[tuple[Labels, Place]] = []
        self._store = store

    def close(self, block: GrowingBlock) -> tuple[BlockMetadata, Outline]:
        """Write what is left of a block and its gradients; return their labels and shapes."""
        tables: dict[GradientPath, Labels] = {}
        for path, own in block.walk():
            self.value_places.append(self._add(own.values))
            place = self._add(own.samples)
            table = WrittenTable(self._store, self.arrays[-1], self.checksums[-1])
            tables[path] = table.labels(own.metadata.samples.names)
            self.sample_places.append((tables[path], place))

        def labels(path: GradientPath, _: object, own: GrowingBlock, gradients: Any) -> BlockMetadata:
            return replace(own.metadata, samples=tables[path], gradients=gradients)

        def outline(own: GrowingBlock, gradients: dict[str, Outline]) -> Outline:
            edges = np.array([0, own.values.rows], dtype=np.int64)
            return Outline(edges, own.metadata.trailing, own.dtype, gradients)

        return fold_down(labels, block), fold(outline, block)

    def _add(self, sink: RowSink) -> Place:
        self.arrays.append(sink.close())
        self.checksums.append(sink.checksums)
        return Place(len(self.arrays) - 1, 0)
