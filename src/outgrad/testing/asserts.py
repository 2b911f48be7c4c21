"""Assertions on blocks and maps."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from outgrad._foreign import kind_of
from outgrad.engine.content import Blocks
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.tree import GradientPath


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
    first, second = a.compute()._blocks(), b.compute()._blocks()
    for number in range(len(first)):
        name = f"block {a.keys.entry(number).print()}" if isinstance(a, TensorMap) else "the block"
        _check_block(name, first, second, number)


def _check_block(name: str, first: Blocks, second: Blocks, number: int) -> None:
    for path, metadata in first.metadata[number].walk():
        where, other = _nested(path, name), second.metadata[number].at(path)
        for axis in ("samples", "components", "properties"):
            if getattr(metadata, axis) != getattr(other, axis):
                _fail(f"{axis} of {where}", getattr(metadata, axis), getattr(other, axis))
        if sorted(metadata.gradients) != sorted(other.gradients):
            _fail(f"gradients of {where}", sorted(metadata.gradients), sorted(other.gradients))
    for path, chunk in first.chunk(number).walk():
        where, x, y = _nested(path, name), chunk.values, second.chunk(number).at(path).values
        if x.dtype != y.dtype:
            _fail(f"dtype of {where}", x.dtype, y.dtype)
        # Bytes, and not numbers: NaN equals NaN, and -0.0 differs from 0.0.
        if x.shape != y.shape or x.tobytes() != y.tobytes():
            with np.printoptions(threshold=20, precision=17):
                _fail(f"values of {where}", x, y)


def _nested(path: GradientPath, name: str) -> str:
    return "".join(f"gradient {parameter!r} of " for parameter in reversed(path)) + name


def _fail(what: str, a: Any, b: Any) -> NoReturn:
    raise AssertionError(f"not identical: {what}\nfirst:  {a}\nsecond: {b}")
