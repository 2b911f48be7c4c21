"""Task graphs on chunks: the only room that builds them. It knows parts and outlines, no labels."""

from outgrad.lazy.arrays import checked, dask_array, from_dask, is_lazy
from outgrad.lazy.blocks import LazyBlocks, gather_chunks
from outgrad.lazy.build import collect, from_chunks, made_blocks, read_blocks, recut, rowwise
from outgrad.lazy.store import StoreGraph, store_blocks

__all__ = [
    "LazyBlocks",
    "StoreGraph",
    "checked",
    "collect",
    "dask_array",
    "from_chunks",
    "from_dask",
    "gather_chunks",
    "is_lazy",
    "made_blocks",
    "read_blocks",
    "recut",
    "rowwise",
    "store_blocks",
]
