"""A number added to one dimension of samples, in the rows of gradients too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.errors import ValidationError
from outgrad.graph.lazy_blocks import rowwise
from outgrad.labels.checks import INT32
from outgrad.labels.labels import Labels
from outgrad.labels.rows import sliced_digest
from outgrad.tree import GradientPath, fold_down

SLICE_ROWS = 2**20
"""Rows of stored labels that are read at a time, chosen to be some MiB."""

ShiftedColumns = Mapping[GradientPath, int]
"""The column of the dimension in the samples of a block, by (), and of its gradients."""


def shifted(call: str, blocks: Blocks, name: str, number: int) -> Blocks:
    """Add ``number`` to dimension ``name`` of all samples; data are shared, but for rows that tasks carry."""
    if not len(blocks):
        return blocks
    columns: dict[GradientPath, int] = {}
    dimensions = []
    for path, node in blocks.metadata[0].walk():
        names = node.samples.names
        dimensions.append(f"gradient {'/'.join(path)!r}, {names}" if path else f"the samples, {names}")
        # The first dimension of a gradient is a row of its parent, even if it has the same name.
        first = 1 if path else 0
        if name in names[first:]:
            columns[path] = names.index(name, first)
    if not columns:
        raise ValidationError(
            f"{call}: {name!r} is not a dimension of {', nor of '.join(dimensions)}; give one of their names"
        )
    if number == 0:
        return blocks
    metadata = tuple(
        _shifted_metadata(f"{call}: block {n}", block, columns, name, number)
        for n, block in enumerate(blocks.metadata)
    )
    return shift_rows(replace(blocks, metadata=metadata), columns, number)


def _shifted_metadata(
    where: str, metadata: BlockMetadata, columns: ShiftedColumns, name: str, number: int
) -> BlockMetadata:
    def shift(path: GradientPath, _: Any, node: BlockMetadata, gradients: Any) -> BlockMetadata:
        old = node.samples
        if path not in columns:
            return replace(node, gradients=gradients)
        rows, count = ShiftedRows(old, columns[path], number), len(old)
        try:
            if old.is_stored:  # read once, in slices, for the digest; the labels stay where they are
                hashed = sliced_digest(old.names, count, rows.slices())
                samples = Labels.from_source(old.names, count, hashed, rows)
            else:
                samples = Labels(old.names, rows.read(0, count), assume_unique=True)
        except OverflowError as error:
            raise ValidationError(
                f"{where}: {error.args[0]} of {name!r} and {number} do not fit into 32-bit integers "
                f"together; labels stay within {INT32.min} and {INT32.max}"
            ) from None
        return replace(node, samples=samples, gradients=gradients)

    return fold_down(shift, metadata)


@dataclass(frozen=True)
class ShiftedRows:
    """A source of labels: those of other labels, with a number added to one column."""

    labels: Labels
    column: int
    number: int

    def read(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop)."""
        return _add_to_column(self.labels.read(start, stop), self.column, self.number)

    def slices(self) -> Iterator[Table]:
        """All rows, a slice at a time."""
        for start in range(0, len(self.labels), SLICE_ROWS):
            yield self.read(start, min(start + SLICE_ROWS, len(self.labels)))


def _add_to_column(table: Table, column: int, number: int) -> Table:
    low, high = (int(limit(initial=0)) for limit in (table[:, column].min, table[:, column].max))
    if low + number < INT32.min or high + number > INT32.max:
        raise OverflowError(high if number > 0 else low)
    out = table.copy()
    out[:, column] += np.int32(number)
    return out


@singledispatch
def shift_rows(blocks: Blocks, columns: ShiftedColumns, number: int) -> Blocks:
    """Shift the tables of gradient rows that the data carry."""
    raise NotImplementedError


@shift_rows.register(InMemory)
def shift_rows_in_memory(blocks: InMemory, columns: ShiftedColumns, number: int) -> Blocks:
    """Arrays carry no tables: rows are known from the labels alone."""
    return blocks


@shift_rows.register(Lazy)
def shift_rows_lazily(blocks: Lazy, columns: ShiftedColumns, number: int) -> Blocks:
    if not any(columns):  # only the samples of the values
        return blocks
    configs = [(columns, number)] * len(blocks.data.parts)
    data = rowwise("shift", shift_part, configs, [blocks.data], blocks.data.outlines)
    return replace(blocks, data=data)


def shift_part(columns: ShiftedColumns, number: int, part: Sequence[Chunk]) -> list[Chunk]:
    """Shift the rows of gradients that chunks carry: this runs in tasks."""

    def shift(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        table = node.table
        if path in columns and table is not None:
            table = _add_to_column(table, columns[path], number)
        return Chunk(node.values, gradients, table)

    return [fold_down(shift, chunk) for chunk in part]
