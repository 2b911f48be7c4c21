"""Whether the parts of a commit agree: checked before it is written, and when it is parsed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from outgrad.storage.zarr.format import ArchiveKind, ArraySpec, BlockSpec, FileTables, SegmentSpec, TableSpec
from outgrad.tree import GradientPath

MAXIMUM_BYTES = 2**60
"""Of all arrays of a segment: sums of bytes stay far from 64 bits."""
MAXIMUM_CHUNKS = 2**26
"""Storage chunks of a segment: their checksums are read at once, 256 MiB of them at most."""
MAXIMUM_PER_SHARD = 2**16
"""Chunks of a shard, whose index is read at once."""
PIECE_COLUMNS = 6
"""First row, file, first byte, first byte and size of the member, CRC-32."""
MAXIMUM_AXES = 32
MAXIMUM_DEPTH = 16
"""Of gradients of gradients: nobody needs more, and parsing stays far from Python's recursion limit."""
MAXIMUM_CHUNK_BYTES = 2**31 - 1
"""Bytes of a compressed storage chunk, decoded; Blosc has no larger ones."""


def array_mistake(array: ArraySpec) -> str:
    """What is wrong with a Zarr array by itself; "" if nothing is."""
    shape = array.shape
    if not 0 < len(shape) <= MAXIMUM_AXES or array.chunk_rows < 1:
        return f"an array with rows, of at most {MAXIMUM_AXES} axes"
    # An axis of length 0 makes an array of no bytes, whose other axes have to fit all the same.
    shard_bytes = array.chunk_nbytes * array.chunks_per_shard
    largest = max(shard_bytes, prod(max(1, size) for size in shape) * array.dtype.itemsize)
    if largest > MAXIMUM_BYTES:
        return "an array with rows, of a size that can exist"
    is_coded = array.compressor is not None or array.chunks_per_shard > 1
    if is_coded and array.chunk_nbytes > MAXIMUM_CHUNK_BYTES:
        return f"an array of compressed chunks of at most {MAXIMUM_CHUNK_BYTES} bytes"
    if array.chunks_per_shard > MAXIMUM_PER_SHARD:
        return f"an array of at most {MAXIMUM_PER_SHARD} chunks a shard"
    return ""


def arrays_mistake(arrays: Sequence[ArraySpec]) -> str:
    """What is wrong with the arrays of a segment together; "" if nothing is."""
    paths = {array.path for array in arrays}
    if len(paths) != len(arrays):
        return "two arrays have one path"
    for path in paths:
        slash = path.find("/")
        while slash >= 0:
            if path[:slash] in paths:
                return "an array is inside another one"
            slash = path.find("/", slash + 1)
    chunks = sum(array.chunk_count for array in arrays)
    if chunks > MAXIMUM_CHUNKS:
        return f"there are {chunks} storage chunks, more than {MAXIMUM_CHUNKS}"
    total = sum(array.shape[0] * array.row_bytes for array in arrays)
    return f"the arrays have {total} bytes, more than {MAXIMUM_BYTES}" if total > MAXIMUM_BYTES else ""


def files_mistake(arrays: Sequence[ArraySpec], files: FileTables) -> str:
    """What is wrong with the arrays that say where rows in other files are; "" if nothing is."""
    expected = {files.paths: ("uint8", 1), files.files: ("int64", 2), files.pieces: ("int64", 2)}
    if len(expected) < 3 or max(expected) >= len(arrays):
        return "paths, files and pieces are three arrays"
    for number, (dtype, axes) in expected.items():
        array = arrays[number]
        if array.dtype.name != dtype or len(array.shape) != axes or array.pieces is not None:
            return f"{array.path} is not an array of {dtype} of {axes} axes"
    if arrays[files.files].shape[1] != 2 or arrays[files.pieces].shape[1] != PIECE_COLUMNS:
        return f"files have 2 numbers each, and pieces {PIECE_COLUMNS}"
    used = 0
    for array in arrays:
        if array.pieces is not None:
            if array.pieces.first != used:
                return f"the pieces of {array.path} do not follow those before"
            used += array.pieces.length
    return "" if used == arrays[files.pieces].shape[0] else "there are pieces that belong to nothing"


def gradient_mistake(spec: BlockSpec, parent: BlockSpec, arrays: Any, tables: Sequence[TableSpec]) -> str:
    """In what a gradient does not fit its parent; "" if it does."""
    if tables[spec.samples].names[:1] != ("sample",):
        return "a gradient whose samples begin with 'sample'"
    digests, parents = ([tables[n].digest for n in each.components] for each in (spec, parent))
    if parents and digests[-len(parents) :] != parents:
        return "a gradient whose last components are those of its parent"
    if arrays[spec.values.array].dtype != arrays[parent.values.array].dtype:
        return "a gradient of the dtype of its parent"
    return ""


def segment_mistake(segment: SegmentSpec) -> str:
    """What is wrong with the blocks of a segment together; "" if nothing is."""
    mistake = _placement_mistake(segment)
    if mistake:
        return mistake
    expected = signature(segment, segment.blocks[0]) if segment.blocks else {}
    for number, block in enumerate(segment.blocks):
        if signature(segment, block) != expected:
            return f"block {number} has other names, gradients or another dtype than block 0"
    return ""


def _placement_mistake(segment: SegmentSpec) -> str:
    """Rows of values belong to one block: they follow each other without a gap, in the order of blocks."""
    value_ends: dict[int, int] = {}
    label_ends: dict[int, int] = {}
    for table in segment.tables:
        array, row = table.first
        label_ends[array] = max(row + table.rows, label_ends.get(array, 0))
        if table.ranges is not None:
            chunks = len(segment.arrays[array].chunks_of(row, row + table.rows))
            array, row = table.ranges
            label_ends[array] = max(row + chunks, label_ends.get(array, 0))
    for number, block in enumerate(segment.blocks):
        for path, spec in block.walk():
            array, row = spec.values
            if row != value_ends.get(array, 0):
                where = "".join(f" gradient {name!r}" for name in path)
                return f"the values of block {number}{where} do not follow those before in their array"
            value_ends[array] = row + segment.tables[spec.samples].rows
            if spec.offsets is not None:
                array, row = spec.offsets
                end = row + segment.tables[block.at(path[:-1]).samples].rows + 1
                label_ends[array] = max(end, label_ends.get(array, 0))
    if value_ends.keys() & label_ends.keys():
        return "an array holds both values and labels"
    for array, end in (value_ends | label_ends).items():
        if end != segment.arrays[array].shape[0]:
            return f"{segment.arrays[array].path} has rows that belong to nothing"
    return ""


def signature(segment: SegmentSpec, block: BlockSpec) -> dict[GradientPath, tuple[Any, ...]]:
    """What all blocks of a map have in common: names, dtype and gradients."""
    tables = segment.tables
    return {
        path: (
            tables[spec.samples].names,
            tables[spec.properties].names,
            [tables[number].names for number in spec.components],
            segment.arrays[spec.values.array].dtype,
        )
        for path, spec in block.walk()
    }


def kind_mistake(kind: ArchiveKind, segment: SegmentSpec) -> str:
    """What is wrong with the number of blocks; "" if nothing is."""
    keys = segment.tables[segment.keys].rows
    expected = {"map": keys, "block": 1, "labels": 0}[kind]
    if len(segment.blocks) != expected or (kind == "block" and keys != 1):
        return f"a {kind} of {keys} keys has {expected} blocks, found {len(segment.blocks)}"
    return ""
