"""What the parts of a commit say of each other: checked before it is written, and when it is parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from outgrad.storage.zarr.format import ArraySpec, BlockSpec, Kind, SegmentSpec, TableSpec
from outgrad.tree import GradientPath

MAXIMUM_BYTES = 2**60
"""Of all arrays of a segment: sums of bytes stay far from 64 bits."""
MAXIMUM_CHUNKS = 2**26
"""Storage chunks of a segment: their checksums are read at once, 256 MiB of them at most."""
MAXIMUM_AXES = 32
MAXIMUM_DEPTH = 16
"""Gradients of gradients of …: nobody needs more, and parsing stays far from Python's recursion limit."""
MAXIMUM_CHUNK_BYTES = 2**31 - 1
"""Bytes of a compressed storage chunk, decoded; Blosc has no larger ones."""


def array_mistake(array: ArraySpec) -> str:
    """What is wrong with a Zarr array by itself; "" if nothing is."""
    shape = array.shape
    if not 0 < len(shape) <= MAXIMUM_AXES or array.chunk_rows < 1:
        return f"an array with rows, of at most {MAXIMUM_AXES} axes"
    # An axis of length 0 makes an array of no bytes, whose other axes have to fit all the same.
    largest = max(array.chunk_nbytes, prod(max(1, size) for size in shape) * array.dtype.itemsize)
    if largest > MAXIMUM_BYTES:
        return "an array with rows, of a size that can exist"
    if array.compressor is not None and array.chunk_nbytes > MAXIMUM_CHUNK_BYTES:
        return f"an array of compressed chunks of at most {MAXIMUM_CHUNK_BYTES} bytes"
    return ""


def arrays_mistake(arrays: Sequence[ArraySpec]) -> str:
    """What is wrong with the arrays of a segment together; "" if nothing is."""
    paths = {array.path for array in arrays}
    if len(paths) != len(arrays):
        return "two arrays have one path"
    if any(above in paths for path in paths for above in _above(path)):
        return "an array is inside another one"
    chunks = sum(array.chunk_count for array in arrays)
    if chunks > MAXIMUM_CHUNKS:
        return f"there are {chunks} storage chunks, more than {MAXIMUM_CHUNKS}"
    total = sum(array.shape[0] * array.row_bytes for array in arrays)
    return f"the arrays have {total} bytes, more than {MAXIMUM_BYTES}" if total > MAXIMUM_BYTES else ""


def _above(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def gradient_mistake(spec: BlockSpec, parent: BlockSpec, arrays: Any, tables: Sequence[TableSpec]) -> str:
    """What is wrong with a gradient beside its parent; "" if nothing is."""
    if tables[spec.samples].names[:1] != ("sample",):
        return "a gradient whose samples begin with 'sample'"
    own, above = ([tables[n].digest for n in each.components] for each in (spec, parent))
    if above and own[-len(above) :] != above:
        return "a gradient whose last components are those of its parent"
    if arrays[spec.values.array].dtype != arrays[parent.values.array].dtype:
        return "a gradient of the dtype of its parent"
    return ""


def segment_mistake(segment: SegmentSpec) -> str:
    """What is wrong with the blocks of a segment together; "" if nothing is."""
    return _placement_mistake(segment) or _names_mistake(segment)


def _placement_mistake(segment: SegmentSpec) -> str:
    """Rows of values belong to one block: they follow each other without a gap, in the order of blocks."""
    taken: dict[int, int] = {}
    for number, block in enumerate(segment.blocks):
        for path, spec in block.walk():
            array, first = spec.values
            if first != taken.get(array, 0):
                where = "".join(f" gradient {name!r}" for name in path)
                return f"the values of block {number}{where} do not follow those before in their array"
            taken[array] = first + segment.tables[spec.samples].rows
    labels = _label_rows(segment)
    if taken.keys() & labels.keys():
        return "an array holds both values and labels"
    for array, rows in (taken | labels).items():
        if rows != segment.arrays[array].shape[0]:
            return f"{segment.arrays[array].path} has rows that nobody needs"
    return ""


def _label_rows(segment: SegmentSpec) -> dict[int, int]:
    """The end of the last table, or of the last offsets, in each array that holds such."""
    ends: dict[int, int] = {}
    for (array, first), rows, *_ in segment.tables:
        ends[array] = max(first + rows, ends.get(array, 0))
    for block in segment.blocks:
        for _, parent in block.walk():
            for gradient in parent.gradients.values():
                if gradient.offsets is not None:
                    array, first = gradient.offsets
                    stop = first + segment.tables[parent.samples].rows + 1
                    ends[array] = max(stop, ends.get(array, 0))
    return ends


def _names_mistake(segment: SegmentSpec) -> str:
    expected = _signature(segment, segment.blocks[0]) if segment.blocks else {}
    for number, block in enumerate(segment.blocks):
        if _signature(segment, block) != expected:
            return f"block {number} has other names, gradients or another dtype than block 0"
    return ""


def _signature(segment: SegmentSpec, block: BlockSpec) -> dict[GradientPath, tuple[Any, ...]]:
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


def kind_mistake(kind: Kind, segment: SegmentSpec) -> str:
    """What is wrong with the number of blocks; "" if nothing is."""
    keys = segment.tables[segment.keys].rows
    expected = {"map": keys, "block": 1, "labels": 0}[kind]
    if len(segment.blocks) != expected or (kind == "block" and keys != 1):
        return f"a {kind} of {keys} keys has {expected} blocks, found {len(segment.blocks)}"
    return ""
