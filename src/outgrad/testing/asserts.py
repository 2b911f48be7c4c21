"""Assertions on blocks and maps."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from outgrad._foreign import kind_of
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.check import gradient_of
from outgrad.tensor.map import TensorMap


def assert_identical(a: TensorMap | TensorBlock, b: TensorMap | TensorBlock) -> None:
    """Raise unless two maps or blocks are the same to the last bit.

    Compared are the kind, keys in their order, all labels, dtypes, the bytes of values and of gradients at
    every depth, and ``info``. So NaN equals NaN, and -0.0 differs from 0.0. Lazy data are computed; how
    they are chunked makes no difference.

    Parameters
    ----------
    a, b : TensorMap or TensorBlock
        What to compare.

    Raises
    ------
    AssertionError
        If they differ; the message names the first place.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, np.nan]]))
    >>> assert_identical(block, block.chunk().compute())
    """
    if type(a) is not type(b):
        _fail("kind", kind_of(a), kind_of(b))
    if isinstance(a, TensorMap) and isinstance(b, TensorMap):
        if a.keys != b.keys:
            _fail("keys", repr(a.keys), repr(b.keys))
        if a.info() != b.info():
            _fail("info", a.info(), b.info())
    first, second = (each.compute()._blocks().in_memory("assert_identical") for each in (a, b))
    for number in range(len(first)):
        where = f"block {a.keys.entry(number).print()}" if isinstance(a, TensorMap) else "the block"
        for path, metadata in first.metadata[number].walk():
            _compare_labels(gradient_of(path, where), metadata, second.metadata[number].at(path))
        for path, chunk in first.chunks[number].walk():
            _compare_arrays(gradient_of(path, where), chunk, second.chunks[number].at(path))


def _compare_labels(where: str, a: BlockMetadata, b: BlockMetadata) -> None:
    for axis in ("samples", "components", "properties"):
        if getattr(a, axis) != getattr(b, axis):
            _fail(f"{axis} of {where}", getattr(a, axis), getattr(b, axis))
    if sorted(a.gradients) != sorted(b.gradients):
        _fail(f"gradients of {where}", sorted(a.gradients), sorted(b.gradients))


def _compare_arrays(where: str, a: Chunk, b: Chunk) -> None:
    if a.values.dtype != b.values.dtype:
        _fail(f"dtype of {where}", a.values.dtype, b.values.dtype)
    if a.values.shape != b.values.shape or a.values.tobytes() != b.values.tobytes():
        with np.printoptions(threshold=20, precision=17):
            _fail(f"values of {where}", a.values, b.values)


def _fail(what: str, a: Any, b: Any) -> NoReturn:
    raise AssertionError(f"not identical: {what}\nfirst:  {a}\nsecond: {b}")
