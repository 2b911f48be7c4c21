"""New maps with the labels of others: zeros, ones, random numbers, or uninitialized values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from outgrad.data.chunk import Array
from outgrad.engine.create import Fill, NewChunk, create
from outgrad.errors import ValidationError
from outgrad.ops.arrays import warn_requires_grad
from outgrad.ops.operands import T, content, like, names_of
from outgrad.ops.twins import block_twin

GradientNames = str | Sequence[str] | None


def zeros_like(tensor: T, gradients: GradientNames = None, requires_grad: bool = False) -> T:
    r"""Create a map of zeros with the labels of another map.

    .. math:: h = 0, \qquad \nabla h = 0

    The values of ``tensor`` are not read. If they are lazy, so is the result, in the same chunks.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    gradients : str or list of str, optional
        Gradients that the result has, including their own gradients; the default is all.
    requires_grad : bool
        Has no effect; True raises a warning.

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels, shapes, dtype and ``info`` of ``tensor``.

    Raises
    ------
    ValidationError
        If a gradient does not exist.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.zeros_like(og.block_from_array(np.ones((1, 2)))).values
    array([[0., 0.]])
    """
    return _made("zeros_like", _zeros, tensor, gradients, requires_grad)


def ones_like(tensor: T, gradients: GradientNames = None, requires_grad: bool = False) -> T:
    r"""Create a map of ones with the labels of another map.

    .. math:: h = 1, \qquad \nabla h = 1

    The gradients are ones too, and not the derivative of the values; pass ``gradients=[]`` to omit them.

    The values of ``tensor`` are not read. If they are lazy, so is the result, in the same chunks.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    gradients : str or list of str, optional
        Gradients that the result has, including their own gradients; the default is all.
    requires_grad : bool
        Has no effect; True raises a warning.

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels, shapes, dtype and ``info`` of ``tensor``.

    Raises
    ------
    ValidationError
        If a gradient does not exist.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.ones_like(og.block_from_array(np.zeros((1, 2)))).values
    array([[1., 1.]])
    """
    return _made("ones_like", _ones, tensor, gradients, requires_grad)


def empty_like(tensor: T, gradients: GradientNames = None, requires_grad: bool = False) -> T:
    r"""Create a map with the labels of another map and uninitialized values.

    The values of ``tensor`` are not read. If they are lazy, so is the result, in the same chunks; its values
    may then differ each time they are computed.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    gradients : str or list of str, optional
        Gradients that the result has, including their own gradients; the default is all.
    requires_grad : bool
        Has no effect; True raises a warning.

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels, shapes, dtype and ``info`` of ``tensor``.

    Raises
    ------
    ValidationError
        If a gradient does not exist.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.empty_like(og.block_from_array(np.ones((1, 2)))).shape
    (1, 2)
    """
    return _made("empty_like", _empty, tensor, gradients, requires_grad)


def random_uniform_like(tensor: T, gradients: GradientNames = None, requires_grad: bool = False) -> T:
    r"""Create a map with the labels of another map and random values, uniform in [0, 1).

    The call takes one seed from NumPy's global generator, so ``numpy.random.seed`` makes the result
    reproducible. Each number depends only on this seed and on its position in the map, not on the chunks.
    Numbers are drawn in float64 and converted to the dtype of the map. As in metatensor, integers are then 0
    and complex numbers are real.

    The values of ``tensor`` are not read. If they are lazy, so is the result, in the same chunks.

    Parameters
    ----------
    tensor : TensorMap or TensorBlock
        Values (S, \*C, P).
    gradients : str or list of str, optional
        Gradients that the result has, including their own gradients; the default is all.
    requires_grad : bool
        Has no effect; True raises a warning.

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels, shapes, dtype and ``info`` of ``tensor``.

    Raises
    ------
    ValidationError
        If a gradient does not exist.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> values = og.random_uniform_like(og.block_from_array(np.ones((1, 2)))).values
    >>> bool((values < 1).all())
    True
    """
    seed = int(np.random.randint(0, 2**63 - 1, dtype=np.int64))
    return _made("random_uniform_like", _Uniform(seed), tensor, gradients, requires_grad)


def _made(call: str, fill: Fill, tensor: T, gradients: GradientNames, requires_grad: bool) -> T:
    blocks = content(call, "tensor", tensor)
    warn_requires_grad(call, requires_grad, stacklevel=4)
    names = None if gradients is None else names_of(call, "gradients", gradients)
    metadata = []
    for labels in blocks.metadata:
        missing = [name for name in names or () if name not in labels.gradients]
        if missing:
            raise ValidationError(
                f"{call}: requested gradient {missing[0]!r} is not defined in this tensor, which has "
                f"{list(labels.gradients)}"
            )
        kept = labels.gradients if names is None else {name: labels.gradients[name] for name in names}
        metadata.append(replace(labels, gradients=kept))
    return like(tensor, create(blocks, call, fill, metadata))


# ---- what fills arrays ----
def _zeros(chunk: NewChunk) -> Array:
    return np.zeros(chunk.shape, chunk.dtype)


def _ones(chunk: NewChunk) -> Array:
    return np.ones(chunk.shape, chunk.dtype)


def _empty(chunk: NewChunk) -> Array:
    return np.empty(chunk.shape, chunk.dtype)


@dataclass(frozen=True)
class _Uniform:
    """One stream of random numbers for all elements of all blocks; a chunk jumps to where its own start."""

    seed: int

    def __call__(self, chunk: NewChunk) -> Array:
        numbers = np.random.Generator(np.random.PCG64(self.seed).advance(chunk.start)).random(chunk.shape)
        if chunk.dtype.kind != "f" or chunk.dtype.itemsize >= 8:
            return numbers.astype(chunk.dtype, copy=False)
        largest = np.nextafter(chunk.dtype.type(1), chunk.dtype.type(0))
        rounded: Array = np.minimum(numbers.astype(chunk.dtype), largest)  # a narrow float may become 1
        return rounded


zeros_like_block = block_twin(zeros_like)
ones_like_block = block_twin(ones_like)
empty_like_block = block_twin(empty_like)
random_uniform_like_block = block_twin(random_uniform_like)
