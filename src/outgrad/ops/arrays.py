"""Functions of the arrays themselves: memory layout, and stand-ins for automatic differentiation."""

from __future__ import annotations

import warnings

from outgrad.engine import convert
from outgrad.ops.operands import T, content, like
from outgrad.ops.twins import block_twin


def is_contiguous(tensor: T) -> bool:
    r"""Check whether all arrays, including those of gradients, are contiguous in C order.

    Lazy data are not computed to find out: for them, the result is True only if they come directly from
    :func:`make_contiguous`.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    bool
        True if all arrays are contiguous.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.is_contiguous(og.block_from_array(np.ones((2, 3)).T))
    False
    """
    return convert.all_contiguous(content("is_contiguous", "tensor", tensor))


def make_contiguous(tensor: T) -> T:
    r"""Make all arrays, including those of gradients, contiguous in C order.

    Arrays that are contiguous already are shared with the result, the others are copied.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        The same data and labels.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.make_contiguous(og.block_from_array(np.ones((2, 3)).T))
    >>> block.values.flags.c_contiguous
    True
    """
    return like(tensor, convert.contiguous(content("make_contiguous", "tensor", tensor)))


def detach(tensor: T) -> T:
    r"""Return the same data: NumPy and Dask arrays do not take part in automatic differentiation.

    To drop explicit gradients, call :func:`remove_gradients`.

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
    r"""Return the same data: NumPy and Dask arrays do not record operations for automatic differentiation.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    requires_grad : bool
        Has no effect; True raises a warning.

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
    """Warn that this argument has no effect on NumPy and Dask arrays."""
    if requires_grad:
        warnings.warn(
            f"{call}: `requires_grad=True` does nothing for numpy arrays, nor for Dask arrays; explicit "
            "gradients are propagated without it",
            stacklevel=stacklevel,
        )


detach_block = block_twin(detach)
is_contiguous_block = block_twin(is_contiguous)
make_contiguous_block = block_twin(make_contiguous)
requires_grad_block = block_twin(requires_grad)
