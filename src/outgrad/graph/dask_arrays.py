"""Dask arrays from lazy blocks, and lazy blocks from Dask arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import dask.array as da
import numpy as np

from outgrad._foreign import kind_of, native, plain
from outgrad.data.chunk import Array, Chunk, ChunkList
from outgrad.data.outline import Outline, Piece
from outgrad.errors import ValidationError
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, add_blocks
from outgrad.task import task


class RowArray(da.Array):
    """A Dask array that takes rows by a list, and inserts axes in the same index, ``values[row, None, :]``.

    Dask inserts axes in the tasks that take the rows and fails if these are not plain slices
    (https://github.com/dask/dask/issues/11993), so the two are done one after the other.
    """

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if not any(isinstance(part, (list, np.ndarray)) for part in parts):
            return super().__getitem__(index)  # type: ignore[no-untyped-call]
        array = without_empty_chunks(self)
        if not any(part is None for part in parts):
            return da.Array.__getitem__(array, index)  # type: ignore[no-untyped-call]
        taken = da.Array.__getitem__(array, tuple(part for part in parts if part is not None))  # type: ignore[no-untyped-call]
        # Integers have removed their axes; of those that are left, everything is taken.
        left = (part for part in parts if not isinstance(part, (int, np.integer)))
        return taken[tuple(part if part is None or part is Ellipsis else slice(None) for part in left)]


def without_empty_chunks(array: da.Array) -> da.Array:
    """The same array without chunks of no rows, as many gradients have.

    Where an array has more chunks than rows, Dask 2026.8 takes no rows by a list: its ``take`` divides the
    count of rows by that of chunks, and fails with "range() arg 3 must not be zero".
    """
    rows = tuple(count for count in array.chunks[0] if count) or (0,)
    if len(rows) == len(array.chunks[0]):
        return array
    return array.rechunk({0: rows})  # type: ignore[no-untyped-call,no-any-return]


def dask_array(blocks: LazyBlocks, block: int, path: tuple[str, ...] = ()) -> da.Array:
    """Show one array of one block as a Dask array, chunked along its rows."""
    outline = blocks.outlines[block].at(path)
    places = list(blocks.chunks_of(block))
    zeros = (0,) * len(outline.trailing)
    draft = Draft(grid=[(chunk, *zeros) for chunk in range(outline.chunk_count)])
    draft.add_all(pick, [(index, path) for _, index in places], [[key for key, _ in places]])
    chunks = (outline.chunk_rows, *((size,) for size in outline.trailing))
    meta = np.empty((0,) * (1 + len(outline.trailing)), outline.dtype)

    def note() -> Notes:
        return Notes({(0, n): rows * outline.row_bytes for n, rows in enumerate(outline.chunk_rows)})

    layer = draft.place("values", [blocks.graph], note)
    return RowArray(layer.graph, layer.name, chunks, meta=meta)  # type: ignore[no-untyped-call]


def from_dask(array: da.Array, block: str) -> LazyBlocks:
    """Take a Dask array as the values of one block; only rows stay chunked.

    Tasks compare each chunk with what the array says about it, and name ``block`` where they differ.
    """
    if any(len(sizes) > 1 for sizes in array.chunks[1:]):
        array = checked(array, block)
        array = array.rechunk(dict.fromkeys(range(1, array.ndim), -1))  # type: ignore[no-untyped-call]
    edges = np.cumsum([0, *array.chunks[0]], dtype=np.int64)
    draft = Draft()
    draft.add_all(from_array, *_compared(array, block))
    parts = tuple((Piece(0, chunk),) for chunk in range(len(edges) - 1))
    outline = Outline(edges, array.shape[1:], native(array.dtype))
    return add_blocks("block", draft, [array.dask], parts, (outline,))


def checked(array: da.Array, block: str) -> da.Array:
    """The same array, whose tasks compare each chunk with what the array says about it.

    Dask's own functions do not: cutting and joining chunks of other shapes can lose or mix numbers.
    """
    dtype = native(array.dtype)
    draft = Draft(grid=list(_chunk_numbers(array)))
    constants, needs = _compared(array, block)
    draft.add_all(checked_array, constants, needs)
    sizes: dict[Key, int] = {
        (0, number): prod(chunk.shape) * dtype.itemsize for number, (chunk,) in enumerate(constants)
    }
    layer = draft.place("checked", [array.dask], lambda: Notes(sizes))
    meta = np.empty((0,) * array.ndim, dtype)
    return da.Array(layer.graph, layer.name, array.chunks, meta=meta)  # type: ignore[no-untyped-call]


def _compared(array: da.Array, block: str) -> tuple[list[tuple[DaskChunk]], list[list[Key]]]:
    """What tasks are told of each chunk, and its key."""
    dtype = native(array.dtype)
    chunks: list[tuple[DaskChunk]] = []
    keys: list[Key] = []
    for numbers in _chunk_numbers(array):
        shape = tuple(int(sizes[number]) for sizes, number in zip(array.chunks, numbers, strict=True))
        chunks.append((DaskChunk(block, numbers, shape, dtype),))
        keys.append((array.name, *numbers))
    return chunks, [keys]


def _chunk_numbers(array: da.Array) -> Iterator[tuple[int, ...]]:
    """The number of each chunk along each axis."""
    return product(*(range(len(sizes)) for sizes in array.chunks))


@dataclass(frozen=True)
class DaskChunk:
    """What a Dask array from outside says about one of its chunks."""

    block: str
    numbers: tuple[int, ...]
    """Along each axis."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@task(copies=True)
def checked_array(chunk: DaskChunk, array: Any) -> Array:
    """Return a chunk of a Dask array from outside as a plain array, if it is what the array says it is."""
    number: Any = chunk.numbers if any(chunk.numbers[1:]) else chunk.numbers[0]
    where = f"chunk {number} of the values of {chunk.block}"
    if not isinstance(array, np.ndarray):
        raise ValidationError(f"{where} must be a NumPy array, got {kind_of(array)}")
    result: Array = plain(where, array)
    if result.shape != chunk.shape or result.dtype != chunk.dtype:
        raise ValidationError(
            f"{where} has shape {result.shape} and dtype {result.dtype}, but its Dask array says "
            f"{chunk.shape} and {chunk.dtype}; tell Dask what its function returns, as in "
            "map_blocks(…, chunks=…, dtype=…)"
        )
    return result


@task(copies=True)
def from_array(chunk: DaskChunk, array: Any) -> ChunkList:
    """Return a part of one chunk that has no gradients."""
    return [Chunk(checked_array(chunk, array))]


@task(copies=True)
def pick(index: int, path: tuple[str, ...], part: ChunkList) -> Array:
    """Take one array out of a part."""
    return part[index].at(path).values
