"""Operations on each element: add, subtract, multiply, divide, pow, abs."""

from __future__ import annotations

from typing import Any, cast

from outgrad.ops.engine import run_rule
from outgrad.ops.operands import T, check_same_labels, content, is_number, like, number, pair
from outgrad.tensor import TensorBlock, TensorMap

Number = float | complex
Operand = TensorMap | TensorBlock | Number


def add(A: T, B: Operand) -> T:
    r"""Add two maps, or a number to a map.

    .. math:: h = A + B, \qquad \nabla h = \nabla A + \nabla B

    Maps are aligned by key. Blocks have the same samples, components and properties; gradient rows may
    differ, and a missing row is zero.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        Of the kind of ``A``, or a number.

    Returns
    -------
    TensorMap or TensorBlock
        Keys and ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.add(block, 1).values
    array([[2., 3.]])
    """
    return _binary("add", A, B, "add", "shift")


def subtract(A: T, B: Operand) -> T:
    r"""Subtract a map or a number from a map.

    .. math:: h = A - B, \qquad \nabla h = \nabla A - \nabla B

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        Of the kind of ``A``, with the same labels; gradient rows may differ.

    Returns
    -------
    TensorMap or TensorBlock
        Keys and ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.subtract(block, block).values
    array([[0., 0.]])
    """
    return _binary("subtract", A, -number(B) if is_number(B) else B, "subtract", "shift")


def multiply(A: T, B: Operand) -> T:
    r"""Multiply two maps, or a map by a number, element by element.

    .. math:: h = A B, \qquad \nabla h = B\,\nabla A + A\,\nabla B

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        Of the kind of ``A``, with the same labels; gradient rows may differ.

    Returns
    -------
    TensorMap or TensorBlock
        Keys and ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.multiply(block, block).values
    array([[1., 4.]])
    """
    return _binary("multiply", A, B, "multiply", "scale")


def divide(A: T, B: Operand) -> T:
    r"""Divide a map by another or by a number, element by element.

    .. math:: h = A / B, \qquad \nabla h = \nabla A / B - A\,\nabla B / B^2

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : TensorMap, TensorBlock or number
        Of the kind of ``A``, with the same labels; gradient rows may differ. Zeros give infinities, as
        in NumPy.

    Returns
    -------
    TensorMap or TensorBlock
        Keys and ``info`` of ``A``.

    Raises
    ------
    NotEqualError
        If keys, labels or gradient parameters differ.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.divide(block, 2).values
    array([[0.5, 1. ]])
    """
    return _binary("divide", A, B, "divide", "over")


def pow(A: T, B: Number) -> T:
    r"""Raise a map to the power of a number, element by element.

    .. math:: h = A^B, \qquad \nabla h = B A^{B-1}\,\nabla A

    The gradient of the power 0 is zero, and of the power 1 the gradient of ``A``, also where ``A`` is 0.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    B : number
        The exponent.

    Returns
    -------
    TensorMap or TensorBlock
        Keys and ``info`` of ``A``.

    Raises
    ------
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.array([[1.0, 2.0]]))
    >>> og.pow(block, 3).values
    array([[1., 8.]])
    """
    if not is_number(B):
        raise TypeError(f"pow: B must be a number, got {type(B).__name__}")
    return _with_number("pow", A, B, "power")


def abs(A: T) -> T:
    r"""Take the absolute value of each element.

    .. math:: h = |A|, \qquad \nabla h = \operatorname{sign}(A)\,\nabla A

    The gradient is 0 where ``A`` is 0. Of complex numbers the modulus is real, and its gradient is
    :math:`\operatorname{Re}(\bar{A}\,\nabla A) / |A|`.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Keys and ``info`` of ``A``.

    Raises
    ------
    TypeError
        If ``A`` is no map and no block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.abs(og.block_from_array(np.array([[-1.0, 2.0]]))).values
    array([[1., 2.]])
    """
    return like(A, run_rule("absolute", [content("abs", "A", A)], lambda n: ()))


def subtract_from(A: T, B: Number) -> T:
    """Compute ``B - A``: the reflected operator."""
    return _with_number("subtract", A, B, "shift_from")


def divide_into(A: T, B: Number) -> T:
    """Compute ``B / A``: the reflected operator."""
    return _with_number("divide", A, B, "inverse")


def pow_of(A: T, B: Number) -> T:
    """Compute ``B ** A``: the reflected operator."""
    return _with_number("pow", A, B, "exponential")


def _binary(call: str, A: T, B: Any, rule: str, number_rule: str) -> T:
    if is_number(B):
        return _with_number(call, A, B, number_rule)
    if not isinstance(B, (TensorMap, TensorBlock)):
        raise TypeError(f"{call}: B must be a TensorMap, a TensorBlock or a number, got {type(B).__name__}")
    operands = pair(call, A, cast(T, B))
    check_same_labels(call, operands)
    return like(A, run_rule(rule, operands, lambda n: ()))


def _with_number(call: str, A: T, B: Any, rule: str) -> T:
    blocks = content(call, "A", A)
    if not is_number(B):
        raise TypeError(f"{call}: a number is needed, got {type(B).__name__}")
    constant = number(B)
    return like(A, run_rule(rule, [blocks], lambda n: (constant,)))
