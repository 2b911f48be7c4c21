"""What concerns arrays alone: their order in memory, and the switches of automatic differentiation."""

from __future__ import annotations

import warnings

from outgrad.engine import convert
from outgrad.ops.operands import T, block_twin, content, like


def is_contiguous(tensor: T) -> bool:
    r"""Tell whether all arrays, those of gradients too, are contiguous in C order.

    Chunks of lazy data are not computed for the answer: it is True only for what :func:`make_contiguous`
    returned.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    bool
        True if no array needs to be copied.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.is_contiguous(og.block_from_array(np.ones((2, 3)).T))
    False
    """
    return convert.all_contiguous(content("is_contiguous", "tensor", tensor))


def make_contiguous(tensor: T) -> T:
    r"""Copy arrays that are not contiguous in C order, gradients too; others are shared.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        The same values.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.make_contiguous(og.block_from_array(np.ones((2, 3)).T))
    >>> block.values.flags.c_contiguous
    True
    """
    return like(tensor, convert.contiguous(content("make_contiguous", "tensor", tensor)))


def detach(tensor: T) -> T:
    r"""Return the same map: NumPy and Dask arrays are part of no graph of automatic differentiation.

    To drop explicit gradients call :func:`remove_gradients`.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        A new object that shares the arrays.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.detach(block).values is block.values
    True
    """
    return like(tensor, content("detach", "tensor", tensor))


def requires_grad(tensor: T, requires_grad: bool = True) -> T:
    r"""Return the same map: NumPy and Dask arrays record no operations for automatic differentiation.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    requires_grad : bool
        Has no effect; True warns.

    Returns
    -------
    TensorMap or TensorBlock
        A new object that shares the arrays.

    Warns
    -----
    UserWarning
        If ``requires_grad`` is True.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.requires_grad(block, False).values is block.values
    True
    """
    blocks = content("requires_grad", "tensor", tensor)
    warn_requires_grad("requires_grad", requires_grad)
    return like(tensor, blocks)


def warn_requires_grad(call: str, requires_grad: bool, stacklevel: int = 3) -> None:
    """Say that an argument for other arrays has no effect here."""
    if requires_grad:
        warnings.warn(
            f"{call}: `requires_grad=True` does nothing for numpy arrays, nor for Dask arrays; explicit "
            "gradients go through operations without it",
            stacklevel=stacklevel,
        )


detach_block = block_twin(detach)
is_contiguous_block = block_twin(is_contiguous)
make_contiguous_block = block_twin(make_contiguous)
requires_grad_block = block_twin(requires_grad)
