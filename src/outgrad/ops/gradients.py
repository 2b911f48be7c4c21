"""Removing gradients."""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.engine.attach.blocks import keep_gradients
from outgrad.ops.operands import T, content, like, names_of
from outgrad.ops.twins import block_twin


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
    return like(tensor, keep_gradients(blocks, keep))


remove_gradients_block = block_twin(remove_gradients)
