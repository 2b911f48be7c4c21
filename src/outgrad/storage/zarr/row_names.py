"""What the rows of arrays are called: by metatensor's paths."""

from __future__ import annotations

from typing import NamedTuple

from outgrad.storage.zarr.format import FirstRow, SegmentSpec, path_in_block
from outgrad.tree import GradientPath


def block_path(number: int, path: GradientPath) -> str:
    """``blocks/3/gradients/positions/``: metatensor's path, and where arrays are that do not share one."""
    return f"blocks/{number}/{path_in_block(path)}"


class NamedRows(NamedTuple):
    """Rows [start, stop) of a Zarr array, and the path that metatensor's format has for them."""

    start: int
    stop: int
    path: str


def named_rows(segment: SegmentSpec) -> list[list[NamedRows]]:
    """For each array of a segment, what its rows are: to say what a damaged chunk is needed for."""
    named: list[list[NamedRows]] = [[] for _ in segment.arrays]

    def add(first: FirstRow, rows: int, path: str) -> None:
        named[first.array].append(NamedRows(first.row, first.row + rows, path))

    def add_table(number: int, path: str) -> None:
        table = segment.tables[number]
        add(table.first, table.rows, path)
        if table.ranges is not None:
            array, row = table.first
            chunks = len(segment.arrays[array].chunks_of(row, row + table.rows))
            add(table.ranges, chunks, f"the ranges of {path}")

    add_table(segment.keys, "keys")
    for number, block in enumerate(segment.blocks):
        for path, spec in block.walk():
            prefix = block_path(number, path)
            add(spec.values, segment.tables[spec.samples].rows, f"{prefix}values")
            add_table(spec.samples, f"{prefix}samples")
            for axis, component in enumerate(spec.components):
                add_table(component, f"{prefix}components/{axis}")
            if not path:
                add_table(spec.properties, f"{prefix}properties")
            if spec.offsets is not None:
                parent = segment.tables[block.at(path[:-1]).samples]
                add(spec.offsets, parent.rows + 1, f"{prefix}offsets")
    return named
