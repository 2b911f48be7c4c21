"""Operations on each element: add, subtract, multiply, divide, pow, abs."""

from __future__ import annotations

from typing import Any, cast

from outgrad._foreign import kind_of
from outgrad.engine.map.blocks import run_rule
from outgrad.gradients.elementwise import (
    ABSOLUTE,
    ADD,
    DIVIDE,
    EXPONENTIAL,
    INVERSE,
    OVER,
    POWER,
    SCALE,
    SHIFT,
    SHIFT_FROM,
    SUBTRACT,
    Number,
)
from outgrad.gradients.functions import RAISE
from outgrad.gradients.rule import PRODUCT, Rule
from outgrad.ops.operands import Align, T, aligned, check_align, content, is_number, like, number
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Operand = TensorMap | TensorBlock | Number


def add(A: T, B: Operand, *, align: Align = None) -> T:
    r"""Add two maps, or a number to a map.

    .. math:: h = A + B, \qquad \nabla h = \nabla A + \nabla B

    Maps are aligned by key and blocks by sample, in the order of ``A``. Components and properties must be the
    same. Gradient rows may differ; a missing row is zero.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        A map if ``A`` is a map, a block if ``A`` is a block, or a number.
    align : {None, "inner", "outer"}
        None requires the same keys and samples, in any order. "inner" keeps those that both operands have, in
        the order of ``A``. "outer" keeps those that at least one operand has: the keys of ``A`` come first,
        and samples are sorted where they differ. Missing blocks and samples are zero.

    Returns
    -------
    TensorMap or TensorBlock
        Has the ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    ValidationError
        If ``align`` is not None, "inner" or "outer".
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.add(block, 1).values
    array([[2., 3.]])

    Keep samples that only one of the blocks has:

    >>> values, n = np.array([[1.0], [2.0]]), og.Labels.range("n", 1)
    >>> A = og.TensorBlock(values, og.Labels("system", [[0], [1]]), [], n)
    >>> B = og.TensorBlock(values, og.Labels("system", [[2], [1]]), [], n)
    >>> total = og.add(A, B, align="outer")
    >>> total.samples["system"], total.values[:, 0]
    (array([0, 1, 2], dtype=int32), array([1., 4., 1.]))
    """
    return _binary("add", A, B, ADD, SHIFT, align)


def subtract(A: T, B: Operand, *, align: Align = None) -> T:
    r"""Subtract a map or a number from a map.

    .. math:: h = A - B, \qquad \nabla h = \nabla A - \nabla B

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        A map or block like ``A``, with the same labels (gradient rows may differ), or a number.
    align : {None, "inner", "outer"}
        Which keys and samples the result has, as in :func:`add`.

    Returns
    -------
    TensorMap or TensorBlock
        Has the ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    ValidationError
        If ``align`` is not None, "inner" or "outer".
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.subtract(block, block).values
    array([[0., 0.]])
    """
    return _binary("subtract", A, -number(B) if is_number(B) else B, SUBTRACT, SHIFT, align)


def multiply(A: T, B: Operand, *, align: Align = None) -> T:
    r"""Multiply two maps, or a map by a number, element by element.

    .. math:: h = A B, \qquad \nabla h = B\,\nabla A + A\,\nabla B

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        A map or block like ``A``, with the same labels (gradient rows may differ), or a number.
    align : {None, "inner", "outer"}
        Which keys and samples the result has, as in :func:`add`.

    Returns
    -------
    TensorMap or TensorBlock
        Has the ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    ValidationError
        If ``align`` is not None, "inner" or "outer".
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.multiply(block, block).values
    array([[1., 4.]])
    """
    return _binary("multiply", A, B, PRODUCT, SCALE, align)


def divide(A: T, B: Operand, *, align: Align = None) -> T:
    r"""Divide a map by another or by a number, element by element.

    .. math:: h = A / B, \qquad \nabla h = \nabla A / B - A\,\nabla B / B^2

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        A map or block like ``A``, with the same labels (gradient rows may differ), or a number. Division by
        zero gives infinity or NaN, as in NumPy; this includes the zeros of missing blocks and samples.
    align : {None, "inner", "outer"}
        Which keys and samples the result has, as in :func:`add`.

    Returns
    -------
    TensorMap or TensorBlock
        Has the ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    ValidationError
        If ``align`` is not None, "inner" or "outer".
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.divide(block, 2).values
    array([[0.5, 1. ]])
    """
    return _binary("divide", A, B, DIVIDE, OVER, align)


def pow(A: T, B: Operand, *, align: Align = None) -> T:
    r"""Raise a map to the power of a number or of another map, element by element.

    .. math:: h = A^B, \qquad \nabla h = B A^{B-1}\,\nabla A + \ln(A)\,A^B\,\nabla B

    The first weight is 0 where ``B`` is 0, and the second is 0 where :math:`A^B` is 0, even where ``A`` is 0.
    If ``B`` has no gradients, no logarithm is taken, and ``A`` may be negative. Integers become float64.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        The exponent: a map or block like ``A``, with the same labels (gradient rows may differ), or a number.
        Unless ``align="outer"``, one of the two may have no gradients at all.
    align : {None, "inner", "outer"}
        Which keys and samples the result has, as in :func:`add`; a missing base or exponent is 0.

    Returns
    -------
    TensorMap or TensorBlock
        Has the ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    ValidationError
        If ``align`` is not None, "inner" or "outer".
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.pow(block, 3).values
    array([[1., 8.]])
    >>> og.pow(block, block).values
    array([[1., 4.]])
    """
    check_align("pow", align)
    if is_number(B):
        return _with_number("pow", A, B, POWER)
    if not isinstance(B, (TensorMap, TensorBlock)):
        raise TypeError(f"pow: B must be a TensorMap, a TensorBlock or a number, got {kind_of(B)}")
    keys, operands = aligned("pow", A, cast(T, B), align, constants=align != "outer")
    moving = tuple(any(metadata.gradients for metadata in operand.metadata) for operand in operands)
    return like(A, run_rule(RAISE, operands, lambda n: (moving,)), keys)


def abs(A: T) -> T:
    r"""Take the absolute value of each element.

    .. math:: h = |A|, \qquad \nabla h = \operatorname{sign}(A)\,\nabla A

    The gradient is 0 where ``A`` is 0. For complex numbers the result is the modulus, which is real, and the
    gradient is :math:`\operatorname{Re}(\bar{A}\,\nabla A) / |A|`.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.abs(og.block_from_array(np.array([[-1.0, 2.0]]))).values
    array([[1., 2.]])
    """
    return like(A, run_rule(ABSOLUTE, [content("abs", "A", A)], lambda n: ()))


def subtract_from(A: T, B: Number) -> T:
    """Compute ``B - A``: the reflected operator."""
    return _with_number("subtract", A, B, SHIFT_FROM)


def divide_into(A: T, B: Number) -> T:
    """Compute ``B / A``: the reflected operator."""
    return _with_number("divide", A, B, INVERSE)


def pow_of(A: T, B: Number) -> T:
    """Compute ``B ** A``: the reflected operator."""
    return _with_number("pow", A, B, EXPONENTIAL)


def _binary(call: str, A: T, B: Any, rule: Rule, number_rule: Rule, align: Align = None) -> T:
    check_align(call, align)
    if is_number(B):
        return _with_number(call, A, B, number_rule)
    if not isinstance(B, (TensorMap, TensorBlock)):
        raise TypeError(f"{call}: B must be a TensorMap, a TensorBlock or a number, got {kind_of(B)}")
    keys, operands = aligned(call, A, cast(T, B), align)
    return like(A, run_rule(rule, operands, lambda n: ()), keys)


def _with_number(call: str, A: T, B: Any, rule: Rule) -> T:
    blocks = content(call, "A", A)
    if not is_number(B):
        raise TypeError(f"{call}: the other operand must be a number, got {kind_of(B)}")
    constant = number(B)
    return like(A, run_rule(rule, [blocks], lambda n: (constant,)))
