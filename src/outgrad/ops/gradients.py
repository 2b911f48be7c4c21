"""Removing gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from outgrad.data.chunk import Chunk
from outgrad.data.outline import Outline
from outgrad.engine.attach.chunks import strip_part
from outgrad.engine.content import Blocks
from outgrad.graph.layers import rowwise
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.ops.operands import T, block_twin, content, like, names_of


def remove_gradients(tensor: T, remove: str | Sequence[str] | None = None) -> T:
    r"""Remove some or all gradients; the remaining arrays are shared.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    remove : str or list of str, optional
        Gradients to remove, including their own gradients; the default is all. Names that do not occur are
        ignored.

    Returns
    -------
    TensorMap or TensorBlock
        The same values, without these gradients.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.remove_gradients(og.block_from_array(np.ones((1, 2)))).gradients_list()
    []
    """
    blocks = content("remove_gradients", "tensor", tensor)
    found = list(dict.fromkeys(name for m in blocks.metadata for name in m.gradients))
    gone = set(found if remove is None else names_of("remove_gradients", "remove", remove))
    keep = tuple(sorted(name for name in found if name not in gone))
    return like(tensor, _kept(blocks, keep))


def _kept(blocks: Blocks, keep: tuple[str, ...]) -> Blocks:
    metadata = tuple(
        replace(m, gradients={p: g for p, g in m.gradients.items() if p in keep}) for m in blocks.metadata
    )
    if not isinstance(blocks.data, LazyBlocks):
        return Blocks(metadata, tuple(_kept_chunk(chunk, keep) for chunk in blocks.data))
    cuts = tuple(
        Outline(o.edges, o.trailing, o.dtype, {p: g for p, g in o.gradients.items() if p in keep})
        for o in blocks.data.outlines
    )
    configs = [(keep,)] * len(blocks.data.parts)
    return Blocks(metadata, rowwise("remove_gradients", strip_part, configs, [blocks.data], cuts))


def _kept_chunk(chunk: Chunk, keep: tuple[str, ...]) -> Chunk:
    return strip_part(keep, [chunk])[0]


remove_gradients_block = block_twin(remove_gradients)
