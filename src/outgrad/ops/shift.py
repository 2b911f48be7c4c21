"""Adding a number to one dimension of the samples."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from outgrad._foreign import kind_of
from outgrad.engine.shift import shifted
from outgrad.ops.operands import T, content, like


def shift_dimension(tensor: T, name: str, number: int) -> T:
    r"""Add a number to one dimension of the samples, for example to renumber systems.

    Programs that compute descriptors count systems from 0 in each call. Shift each map by the number of
    systems in the maps before it, and they can be joined or appended to one archive.

    The dimension is shifted in the samples of the values and of all gradients, except for the first dimension
    of gradients, ``sample``, which is a row of the values. Keys, components and properties stay as they are.
    Arrays are shared; lazy data keep their chunks.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    name : str
        Name of the dimension.
    number : int
        The number to add; it may be negative.

    Returns
    -------
    TensorMap or TensorBlock
        The same values and ``info`` with the new samples.

    Raises
    ------
    ValidationError
        If neither the samples nor the gradients have this dimension, or a sum does not fit into 32 bits.
    TypeError
        If an argument has the wrong type.

    See Also
    --------
    ArchiveWriter.append : ``shift={name: number}`` shifts each map that is appended
    join : ``add_dimension`` distinguishes samples by the number of their map

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)), ["system"])
    >>> og.shift_dimension(block, "system", 30).samples["system"]
    array([30, 31], dtype=int32)
    """
    call = "shift_dimension"
    blocks = content(call, "tensor", tensor)
    return like(tensor, shifted(call, blocks, *shift(call, name, number)))


def shift(call: str, name: Any, number: Any) -> tuple[str, int]:
    """Check the name of a dimension and what is added to it."""
    if not isinstance(name, str):
        raise TypeError(f"{call}: the name of the dimension must be a str, got {kind_of(name)}")
    try:
        return name, operator.index(number)
    except TypeError:
        raise TypeError(
            f"{call}: the number to add to {name!r} must be an int, got {kind_of(number)}"
        ) from None


def shifted_samples(call: str, tensor: T, shifts: Any) -> T:
    """Shift several dimensions; None shifts none."""
    if not (shifts is None or isinstance(shifts, Mapping)):
        raise TypeError(f"{call}: shift must be a dict of dimensions to numbers, got {kind_of(shifts)}")
    for name, number in (shifts or {}).items():
        tensor = shift_dimension(tensor, name, number)
    return tensor
