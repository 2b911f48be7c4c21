"""Conversions of blocks: dtype, kind of arrays, memory layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad._foreign import kind_of, native
from outgrad.data.chunk import Chunk
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.gradients.rule import map_arrays
from outgrad.graph.lazy_blocks import rowwise


def conversion(positional: Sequence[Any], dtype: Any, device: str | None) -> tuple[Any, str | None]:
    """Sort positional arguments as metatensor does: a str is a device, a dtype or a type is a dtype."""
    for argument in positional:
        if isinstance(argument, str):
            if device is not None:
                raise ValueError(f"to: two devices are given, {device!r} and {argument!r}; give one")
            device = argument
        elif isinstance(argument, (np.dtype, type)):
            if dtype is not None:
                raise ValueError(f"to: two dtypes are given, {dtype!r} and {argument!r}; give one")
            dtype = argument
        else:
            raise TypeError(f"to: a dtype or a device is needed, got {kind_of(argument)}")
    return dtype, device


def converted(blocks: Blocks, dtype: Any, device: str | None, arrays: str | None) -> Blocks:
    """Change the dtype, or move between NumPy and Dask arrays."""
    if device not in (None, "cpu") or arrays not in (None, "numpy", "dask"):
        raise ValueError(
            f"to({device=}, {arrays=}): data are on the CPU, as 'numpy' or 'dask' arrays; "
            "give the device 'cpu' and one of these, or neither"
        )
    if dtype is not None:
        dtype = native(np.dtype(dtype))
        if any(blocks.dtype(number) != dtype for number in range(len(blocks))):
            blocks = astype(blocks, dtype)
    if arrays == "numpy":
        return blocks.in_memory("to(arrays='numpy')")
    return blocks.to_lazy() if arrays == "dask" else blocks


# ---- dtype ----
@singledispatch
def astype(blocks: Blocks, dtype: np.dtype[Any]) -> Blocks:
    """Convert values and gradients."""
    raise NotImplementedError


@astype.register(InMemory)
def astype_in_memory(blocks: InMemory, dtype: np.dtype[Any]) -> Blocks:
    return blocks.like(blocks.metadata, astype_part(dtype, blocks.chunks))


@astype.register(Lazy)
def astype_lazily(blocks: Lazy, dtype: np.dtype[Any]) -> Blocks:
    outlines = tuple(outline.map(lambda node: replace(node, dtype=dtype)) for outline in blocks.data.outlines)
    configs = [(dtype,)] * len(blocks.data.parts)
    return Lazy(blocks.metadata, rowwise("astype", astype_part, configs, [blocks.data], outlines))


def astype_part(dtype: np.dtype[Any], chunks: Sequence[Chunk]) -> list[Chunk]:
    """Convert the arrays of chunks; this runs in tasks, too."""
    return [map_arrays(chunk, lambda array: array.astype(dtype, copy=False)) for chunk in chunks]


# ---- memory layout ----
@singledispatch
def all_contiguous(blocks: Blocks) -> bool:
    """Whether all arrays are contiguous in C order, as far as is known without computing them."""
    raise NotImplementedError


@all_contiguous.register(InMemory)
def all_contiguous_in_memory(blocks: InMemory) -> bool:
    return all(node.values.flags.c_contiguous for chunk in blocks.chunks for _, node in chunk.walk())


@all_contiguous.register(Lazy)
def all_contiguous_lazily(blocks: Lazy) -> bool:
    return blocks.data.made_by(contiguous_part)


@singledispatch
def contiguous(blocks: Blocks) -> Blocks:
    """Copy the arrays that are not contiguous in C order."""
    raise NotImplementedError


@contiguous.register(InMemory)
def contiguous_in_memory(blocks: InMemory) -> Blocks:
    return blocks.like(blocks.metadata, contiguous_part(blocks.chunks))


@contiguous.register(Lazy)
def contiguous_lazily(blocks: Lazy) -> Blocks:
    if all_contiguous(blocks):
        return blocks
    configs = [()] * len(blocks.data.parts)
    data = rowwise("make_contiguous", contiguous_part, configs, [blocks.data], blocks.data.outlines)
    return Lazy(blocks.metadata, data)


def contiguous_part(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Copy arrays that are not contiguous; this runs in tasks, too."""
    return [map_arrays(chunk, np.ascontiguousarray) for chunk in chunks]
