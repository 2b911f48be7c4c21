"""Elementwise functions whose derivatives of every order are known: exp, log, sqrt, …"""

from __future__ import annotations

from numbers import Integral
from typing import Any

from outgrad._foreign import kind_of
from outgrad.engine.map.blocks import run_rule
from outgrad.errors import ValidationError
from outgrad.gradients.elementwise import CLIP, INVERSE
from outgrad.gradients.functions import COS, EXP, LOG, SIN, SQRT, SQUARE, TANH
from outgrad.gradients.rule import Rule
from outgrad.ops.operands import T, content, is_number, like, number


def exp(A: T) -> T:
    r"""Take the exponential of each element.

    .. math:: h = e^A, \qquad \nabla h = e^A\,\nabla A

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that NumPy's function returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.exp(og.block_from_array(np.array([[0.0, 1.0]]))).values.round(3)
    array([[1.   , 2.718]])
    """
    return _ready("exp", A, EXP)


def log(A: T) -> T:
    r"""Take the natural logarithm of each element.

    .. math:: h = \ln A, \qquad \nabla h = \nabla A / A

    Negative numbers give NaN and 0 gives −∞, with NumPy's warnings.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that NumPy's function returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.log(og.block_from_array(np.array([[1.0, 2.0]]))).values.round(3)
    array([[0.   , 0.693]])
    """
    return _ready("log", A, LOG)


def sqrt(A: T) -> T:
    r"""Take the square root of each element.

    .. math:: h = \sqrt{A}, \qquad \nabla h = \frac{\nabla A}{2 \sqrt{A}}

    At 0 the derivative is infinite: a gradient there becomes infinite, or NaN where it was 0. Negative
    numbers give NaN. NumPy warns in both cases.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that NumPy's function returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.sqrt(og.block_from_array(np.array([[4.0, 9.0]]))).values
    array([[2., 3.]])
    """
    return _ready("sqrt", A, SQRT)


def tanh(A: T) -> T:
    r"""Take the hyperbolic tangent of each element.

    .. math:: h = \tanh A, \qquad \nabla h = (1 - h^2)\,\nabla A

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that NumPy's function returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.tanh(og.block_from_array(np.array([[0.0, 1.0]]))).values.round(3)
    array([[0.   , 0.762]])
    """
    return _ready("tanh", A, TANH)


def sin(A: T) -> T:
    r"""Take the sine of each element, in radians.

    .. math:: h = \sin A, \qquad \nabla h = \cos A\,\nabla A

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that NumPy's function returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.sin(og.block_from_array(np.array([[0.0, np.pi / 2]]))).values
    array([[0., 1.]])
    """
    return _ready("sin", A, SIN)


def cos(A: T) -> T:
    r"""Take the cosine of each element, in radians.

    .. math:: h = \cos A, \qquad \nabla h = -\sin A\,\nabla A

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that NumPy's function returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.cos(og.block_from_array(np.array([[0.0, np.pi]]))).values
    array([[ 1., -1.]])
    """
    return _ready("cos", A, COS)


def reciprocal(A: T) -> T:
    r"""Take the reciprocal of each element.

    .. math:: h = 1 / A, \qquad \nabla h = -\nabla A / A^2

    This is the same as ``1 / A``: integers become float64, unlike in ``numpy.reciprocal``. Zeros give
    infinities, as in NumPy.

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
    >>> og.reciprocal(og.block_from_array(np.array([[1, 2]]))).values
    array([[1. , 0.5]])
    """
    return _ready("reciprocal", A, INVERSE, 1.0)


def square(A: T) -> T:
    r"""Take the square of each element.

    .. math:: h = A^2, \qquad \nabla h = 2 A\,\nabla A

    Integers stay integers, unlike in :func:`pow`.

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that NumPy's function returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.square(og.block_from_array(np.array([[2, 3]]))).values
    array([[4, 9]])
    """
    return _ready("square", A, SQUARE)


def clip(A: T, min: float | None = None, max: float | None = None) -> T:
    r"""Limit each element to an interval.

    .. math:: h = \min(\max(A, \mathrm{min}), \mathrm{max}), \qquad
        \nabla h = \nabla A \text{ where } \mathrm{min} \le A \le \mathrm{max}, \text{ else } 0

    Parameters
    ----------
    A : TensorMap or TensorBlock
        Values (S, \*C, P).
    min, max : number, optional
        The bounds, in the units of the values; None means no bound.

    Returns
    -------
    TensorMap or TensorBlock
        Has the labels and ``info`` of ``A``, and the dtype that :func:`numpy.clip` returns.

    Raises
    ------
    TypeError
        If ``A`` is neither a map nor a block, or a bound is not a real number.
    ValidationError
        If neither bound is given, ``min`` is larger than ``max``, or the values are complex.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.clip(og.block_from_array(np.array([[-2.0, 0.5, 3.0]])), 0, 1).values
    array([[0. , 0.5, 1. ]])
    """
    blocks = content("clip", "A", A)
    bounds = [_bound(name, given) for name, given in (("min", min), ("max", max))]
    if bounds == [None, None]:
        raise ValidationError("clip: got neither min nor max; give at least one bound")
    if None not in bounds and not bounds[0] <= bounds[1]:
        raise ValidationError(f"clip: min={min!r} is larger than max={max!r}; swap them")
    if len(blocks) and blocks.dtype(0).kind == "c":
        raise ValidationError(
            f"clip: the values are {blocks.dtype(0)}, and complex numbers are not ordered; "
            "clip the real and the imaginary part separately"
        )
    return like(A, run_rule(CLIP, [blocks], lambda n: tuple(bounds)))


def _bound(name: str, given: Any) -> Any:
    if given is None:
        return None
    if not is_number(given) or isinstance(number(given), complex):
        raise TypeError(f"clip: {name} must be a real number or None, got {kind_of(given)}")
    bound = number(given)
    if bound != bound:
        raise ValidationError(f"clip: {name} is NaN; give a number, or None for no bound")
    return int(given) if isinstance(given, Integral) else bound  # integers that are clipped stay integers


def _ready(call: str, A: T, rule: Rule, *constants: Any) -> T:
    return like(A, run_rule(rule, [content(call, "A", A)], lambda n: constants))
