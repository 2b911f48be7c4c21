"""What the rows of arrays are called: by metatensor's paths."""

from __future__ import annotations

from typing import Literal, NamedTuple

from outgrad.storage.zarr.format import FirstRow, SegmentSpec, path_in_block
from outgrad.tree import GradientPath

RowKind = Literal["values", "samples", "others"]


def block_path(number: int, path: GradientPath) -> str:
    """``blocks/3/gradients/positions/``: metatensor's path, and where arrays are that do not share one."""
    return f"blocks/{number}/{path_in_block(path)}"


class NamedRows(NamedTuple):
    """Rows [start, stop) of a Zarr array, and the path that metatensor's format has for them."""

    start: int
    stop: int
    path: str
    block: int | None = None
    """The number of their block in the segment, if they belong to one."""
    gradient: GradientPath = ()
    kind: RowKind = "others"


def named_rows(segment: SegmentSpec) -> list[list[NamedRows]]:
    """For each array of a segment, what its rows are: to say what a damaged chunk is needed for."""
    named: list[list[NamedRows]] = [[] for _ in segment.arrays]

    def add(
        first: FirstRow,
        rows: int,
        path: str,
        block: int | None = None,
        gradient: GradientPath = (),
        kind: RowKind = "others",
    ) -> None:
        named[first.array].append(NamedRows(first.row, first.row + rows, path, block, gradient, kind))

    def add_table(
        number: int,
        path: str,
        block: int | None = None,
        gradient: GradientPath = (),
        kind: RowKind = "others",
    ) -> None:
        table = segment.tables[number]
        add(table.first, table.rows, path, block, gradient, kind)
        if table.ranges is not None:
            array, row = table.first
            chunks = len(segment.arrays[array].chunks_of(row, row + table.rows))
            add(table.ranges, chunks, f"the ranges of {path}", block, gradient)

    add_table(segment.keys, "keys")
    for number, block in enumerate(segment.blocks):
        for path, spec in block.walk():
            prefix = block_path(number, path)
            where = number, path
            add(spec.values, segment.tables[spec.samples].rows, f"{prefix}values", *where, "values")
            add_table(spec.samples, f"{prefix}samples", *where, "samples")
            for axis, component in enumerate(spec.components):
                add_table(component, f"{prefix}components/{axis}", *where)
            if not path:
                add_table(spec.properties, f"{prefix}properties", *where)
            if spec.offsets is not None:
                parent = segment.tables[block.at(path[:-1]).samples]
                add(spec.offsets, parent.rows + 1, f"{prefix}offsets", *where)
    return named
