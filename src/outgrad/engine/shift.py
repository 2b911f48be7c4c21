"""A number added to one dimension of samples, in the rows of gradients too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.errors import ValidationError
from outgrad.graph.lazy_blocks import rowwise
from outgrad.labels.check import INT32
from outgrad.labels.labels import Labels
from outgrad.labels.packing import Table
from outgrad.labels.tables import sliced_digest
from outgrad.tree import GradientPath, fold_down

SLICE_ROWS = 2**20

Columns = Mapping[GradientPath, int]
"""The column of the dimension in the samples of a block, by (), and of its gradients."""


def shifted(call: str, blocks: Blocks, name: str, number: int) -> Blocks:
    """Add ``number`` to dimension ``name`` of all samples; data are shared, but for rows that tasks carry."""
    columns = _columns(blocks.metadata[0], name) if len(blocks) else {}
    if len(blocks) and not columns:
        raise ValidationError(f"{call}: {name!r} is no dimension of {_dimensions(blocks.metadata[0])}")
    if not (columns and number):
        return blocks
    metadata = tuple(
        _shifted_labels(f"{call}: block {n}", m, columns, name, number) for n, m in enumerate(blocks.metadata)
    )
    return shift_rows(replace(blocks, metadata=metadata), columns, number)


@singledispatch
def shift_rows(blocks: Blocks, columns: Columns, number: int) -> Blocks:
    """Shift the tables of gradient rows that the data carry."""
    raise NotImplementedError


@shift_rows.register(InMemory)
def shift_rows_in_memory(blocks: InMemory, columns: Columns, number: int) -> Blocks:
    """Arrays carry no tables: rows are known from the labels alone."""
    return blocks


@shift_rows.register(Lazy)
def shift_rows_lazily(blocks: Lazy, columns: Columns, number: int) -> Blocks:
    if not any(columns):  # only the samples of the values
        return blocks
    configs = [(columns, number)] * len(blocks.data.parts)
    data = rowwise("shift", _shifted_part, configs, [blocks.data], blocks.data.outlines)
    return replace(blocks, data=data)


def _columns(metadata: BlockMetadata, name: str) -> dict[GradientPath, int]:
    """The first dimension of a gradient is a row of its parent, whatever the dimensions are called."""
    found = {}
    for path, below in metadata.walk():
        names = below.samples.names
        if name in names[bool(path) :]:
            found[path] = names.index(name, bool(path))
    return found


def _dimensions(metadata: BlockMetadata) -> str:
    listed = [f"the samples, which are {metadata.samples.names}"]
    for path, below in metadata.walk():
        if path:
            listed.append(f"nor of gradient {'/'.join(path)!r}, {below.samples.names}")
    return ", ".join(listed)


def _shifted_labels(
    where: str, metadata: BlockMetadata, columns: Columns, name: str, number: int
) -> BlockMetadata:
    def shift(path: GradientPath, _: Any, own: BlockMetadata, gradients: Any) -> BlockMetadata:
        samples = own.samples
        if path in columns:
            samples = _labels(where, samples, ShiftedRows(samples, columns[path], number), name)
        return replace(own, samples=samples, gradients=gradients)

    return fold_down(shift, metadata)


@dataclass(frozen=True)
class ShiftedRows:
    """A source of labels: those of other labels, with a number added to one column."""

    labels: Labels
    column: int
    number: int

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        return _added(self.labels.read(start, stop), self.column, self.number)

    def slices(self) -> Iterator[Table]:
        """All rows, a slice at a time."""
        for start in range(0, len(self.labels), SLICE_ROWS):
            yield self.read(start, min(start + SLICE_ROWS, len(self.labels)))


def _labels(where: str, old: Labels, rows: ShiftedRows, name: str) -> Labels:
    """Stored labels are read once, in slices, for their digest, and stay where they are."""
    count = len(old)
    try:
        if old.is_stored:
            return Labels.from_source(old.names, count, sliced_digest(old.names, count, rows.slices()), rows)
        return Labels(old.names, rows.read(0, count), assume_unique=True)
    except OverflowError as error:
        raise ValidationError(
            f"{where}: {error.args[0]} of {name!r} and {rows.number} do not fit into 32-bit integers "
            f"together; labels stay within {INT32.min} and {INT32.max}"
        ) from None


def _added(table: Table, column: int, number: int) -> Table:
    low, high = (int(limit(initial=0)) for limit in (table[:, column].min, table[:, column].max))
    if low + number < INT32.min or high + number > INT32.max:
        raise OverflowError(high if number > 0 else low)
    found = table.copy()
    found[:, column] += np.int32(number)
    return found


def _shifted_part(columns: Columns, number: int, part: Sequence[Chunk]) -> list[Chunk]:
    """Shift the rows of gradients that chunks carry: this runs in tasks."""

    def shift(path: GradientPath, _: Any, own: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        table = own.table
        if path in columns and table is not None:
            table = _added(table, columns[path], number)
        return Chunk(own.values, gradients, table)

    return [fold_down(shift, chunk) for chunk in part]
