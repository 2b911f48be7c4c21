"""Copies and conversions of whole blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from outgrad._foreign import kind_of, native
from outgrad.config import chunk_bytes
from outgrad.data.chunk import Array, Chunk
from outgrad.engine.content import Blocks, to_lazy
from outgrad.gradients.rule import map_arrays
from outgrad.graph.lazy_blocks import LazyBlocks, rowwise


def copied(blocks: Blocks) -> Blocks:
    """Copy arrays in memory; lazy data never change, and are shared."""
    if isinstance(blocks.data, LazyBlocks):
        return blocks
    return Blocks(blocks.metadata, tuple(map_arrays(chunk, np.array) for chunk in blocks.data))


def conversion(positional: Sequence[Any], dtype: Any, device: str | None) -> tuple[Any, str | None]:
    """Sort positional arguments as metatensor does: a str is a device, a dtype or a type is a dtype."""
    for given in positional:
        if isinstance(given, str):
            if device is not None:
                raise ValueError(f"to: two devices are given, {device!r} and {given!r}; give one")
            device = given
        elif isinstance(given, (np.dtype, type)):
            if dtype is not None:
                raise ValueError(f"to: two dtypes are given, {dtype!r} and {given!r}; give one")
            dtype = given
        else:
            raise TypeError(f"to: a dtype or a device is needed, got {kind_of(given)}")
    return dtype, device


def converted(blocks: Blocks, dtype: Any, device: str | None, arrays: str | None) -> Blocks:
    """Change the dtype, or move between NumPy and Dask arrays."""
    if device not in (None, "cpu") or arrays not in (None, "numpy", "dask"):
        raise ValueError(
            f"to({device=}, {arrays=}): data are on the CPU, as 'numpy' or 'dask' arrays; there is no other"
        )
    if dtype is not None:
        blocks = _astype(blocks, native(np.dtype(dtype)))
    if arrays == "dask":
        return to_lazy(blocks, chunk_bytes())
    if arrays == "numpy" and blocks.lazy is not None:
        raise ValueError("to(arrays='numpy'): the data are lazy; compute() brings them into memory")
    return blocks


def _astype(blocks: Blocks, dtype: np.dtype[Any]) -> Blocks:
    if all(blocks.dtype(n) == dtype for n in range(len(blocks))):
        return blocks
    if isinstance(blocks.data, LazyBlocks):
        outlines = tuple(
            outline.map(lambda own: replace(own, dtype=dtype)) for outline in blocks.data.outlines
        )
        configs = [(dtype,)] * len(blocks.data.parts)
        return Blocks(blocks.metadata, rowwise("astype", _part_astype, configs, [blocks.data], outlines))
    return Blocks(blocks.metadata, tuple(_chunk_astype(chunk, dtype) for chunk in blocks.data))


def _chunk_astype(chunk: Chunk, dtype: np.dtype[Any]) -> Chunk:
    def convert(array: Array) -> Array:
        return array.astype(dtype, copy=False)

    return map_arrays(chunk, convert)


def _part_astype(dtype: np.dtype[Any], part: list[Chunk]) -> list[Chunk]:
    return [_chunk_astype(chunk, dtype) for chunk in part]
