"""Linear algebra: dot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.errors import NotEqualError, ValidationError
from outgrad.kernels.chunk import Chunk
from outgrad.lazy import recut
from outgrad.lazy.contract import with_whole
from outgrad.ops.engine import run_eagerly
from outgrad.ops.operands import T, like, pair
from outgrad.plan.chunks import pack
from outgrad.rules.table import run
from outgrad.tensor import outlines, relabel
from outgrad.tensor.blocks import Blocks, to_lazy
from outgrad.tensor.metadata import BlockMetadata


def dot(tensor_1: T, tensor_2: T) -> T:
    r"""Multiply the properties of one map with those of another: the operator ``@``.

    .. math:: h = X_1 X_2^T, \qquad \nabla h = (\nabla X_1) X_2^T

    Parameters
    ----------
    tensor_1 : TensorMap or TensorBlock
        Values (S, \*C, P), with any gradients.
    tensor_2 : TensorMap or TensorBlock
        Values (Q, P) with the same properties, without components and gradients. Each block is held
        in memory as a whole.

    Returns
    -------
    TensorMap or TensorBlock
        Values (S, \*C, Q); the properties are the samples of ``tensor_2``.

    Raises
    ------
    NotEqualError
        If keys or properties differ.
    ValidationError
        If ``tensor_2`` has components or gradients.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.dot(block, block).values
    array([[5.]])
    """
    first, second = pair("dot", tensor_1, tensor_2, ("tensor_1", "tensor_2"))
    for a, b in zip(first.metadata, second.metadata, strict=True):
        _check(a, b)

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        return replace(metadata, properties=second.metadata[n].samples)

    if first.lazy is None and second.lazy is None:
        return like(tensor_1, run_eagerly("dot", [first, second], lambda n: (), top))
    return like(tensor_1, _dot_lazily(first, second))


def _check(a: BlockMetadata, b: BlockMetadata) -> None:
    if a.properties != b.properties:
        raise NotEqualError(
            f"inputs to 'dot' should have the same properties, in the same order; found "
            f"{a.properties.names} with {len(a.properties)} entries, and "
            f"{b.properties.names} with {len(b.properties)} entries"
        )
    if b.components or b.gradients:
        raise ValidationError(
            f"dot: tensor_2 must have no components and no gradients, found {len(b.components)} component(s) "
            f"and gradients {list(b.gradients)}; remove_gradients(tensor_2) drops them"
        )


def _dot_lazily(first: Blocks, second: Blocks) -> Blocks:
    left, right = to_lazy(first, chunk_bytes()).lazy, to_lazy(second, chunk_bytes()).lazy
    assert left is not None, "it was made lazy"
    assert right is not None, "it was made lazy"
    uncut = tuple(outlines.whole(m, second.dtype(n)) for n, m in enumerate(second.metadata))
    whole = recut(right, uncut, pack(uncut, 1))
    cuts, metadata = [], []
    for n, (a, b) in enumerate(zip(first.metadata, second.metadata, strict=True)):
        other = Chunk(np.broadcast_to(np.zeros((), second.dtype(n)), b.shape))  # a shape without bytes
        result = run("dot", [relabel.without_rows(a, first.dtype(n)), other])
        cuts.append(relabel.same_cuts([left.outlines[n]], result))
        metadata.append(relabel.relabelled(a, result, replace(a, properties=b.samples), rows_stay=True))
    return Blocks(tuple(metadata), with_whole("dot", left, whole, tuple(cuts)))
