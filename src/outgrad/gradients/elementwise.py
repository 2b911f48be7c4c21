"""The derivative of every operation: one entry each.

``x``, ``y`` are the chunks of the arguments, other letters are constants. A weight is written with the
entries of this table, so that it can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Chunk
from outgrad.gradients.components import permute_components, sum_components
from outgrad.gradients.fold import fold_axes
from outgrad.gradients.rule import PRODUCT, Rule, Term

Terms = Sequence[Term]
Number = complex | float


# ---- two maps ----
def _subtract(x: Chunk, y: Chunk) -> Terms:
    return [Term(), Term(-1)]


def _divide(x: Chunk, y: Chunk) -> Terms:
    """∂(x/y)/∂x = 1/y and ∂(x/y)/∂y = −(x/y)/y."""
    inverse = INVERSE([y], 1.0)
    return [Term(inverse), Term(SCALE([PRODUCT([DIVIDE([x, y]), inverse])], -1.0))]


# ---- one map, one number ----
def _power(x: Chunk, n: Number) -> Terms:
    """∂xⁿ/∂x = n xⁿ⁻¹; n = 0 and n = 1 are written out, since 0 · 0⁻¹ would not be zero."""
    if n == 0:
        return [Term(0.0)]
    return [Term() if n == 1 else Term(SCALE([POWER([x], n - 1)], n))]


def _inverse(x: Chunk, c: Number) -> Terms:
    """∂(c/x)/∂x = −(c/x)(1/x), where integers do not overflow as in x²."""
    return [Term(PRODUCT([INVERSE([x], -c), INVERSE([x], 1.0)]))]


def _exponential(x: Chunk, c: Number) -> Terms:
    """∂cˣ/∂x = ln(c) cˣ."""
    return [Term(SCALE([EXPONENTIAL([x], c)], np.log(c).item()))]


def _absolute(x: Chunk) -> Terms:
    """d|z| = Re(z̄/|z| dz), which is sign(x) dx for real x; at 0 the derivative is taken as 0.

    The sign of real numbers is constant almost everywhere, so its own derivative is zero.
    """
    weight = np.conj(np.sign(x.values))
    if not np.iscomplexobj(weight):
        return [Term(weight)]
    if x.gradients:
        raise NotImplementedError(
            f"abs: the values are {x.values.dtype} and have gradients of gradients, whose phase is not "
            "differentiated; remove_gradients(…) drops them"
        )
    return [Term(Chunk(weight), columns=np.real)]


def _clipped(x: Chunk, low: Number | None, high: Number | None) -> Terms:
    """∂x/∂x is 1 between the bounds, and on them; outside the result does not change with x."""
    inside = np.ones(x.values.shape, x.values.dtype)
    if low is not None:
        inside[x.values < low] = 0
    if high is not None:
        inside[x.values > high] = 0
    return [Term(inside)]


# ---- linear maps of the last axes ----
def _columns(name: str, value: Any) -> Rule:
    """Rule of a map that is linear in the last axes: gradients are mapped like the values."""

    def terms(x: Chunk, *constants: Any) -> Terms:
        return [Term(columns=lambda array: value(array, *constants))]

    return Rule(name, value, terms, linear=True)


# ---- square roots, where no derivative is infinite ----
def _root(x: Chunk) -> Terms:
    """∂√x/∂x = 1/(2√x), and 0 where x = 0: of a standard deviation that is 0, all entries are the same."""
    return [Term(SCALE([INVERSE_OR_ZERO([ROOT([x])])], 0.5))]


def _inverse_or_zero(x: Chunk) -> Terms:
    inverse = INVERSE_OR_ZERO([x])
    return [Term(SCALE([PRODUCT([inverse, inverse])], -1.0))]


def _inverse_value(x: Array) -> Array:
    return np.divide(1, x, out=np.zeros_like(x), where=x != 0)


ADD = Rule("add", lambda x, y: x + y, lambda x, y: [Term(), Term()], linear=True)
SUBTRACT = Rule("subtract", lambda x, y: x - y, _subtract, linear=True)
DIVIDE = Rule("divide", lambda x, y: x / y, _divide)
SHIFT = Rule("shift", lambda x, c: x + c, lambda x, c: [Term()], linear=True)
SHIFT_FROM = Rule("shift_from", lambda x, c: c - x, lambda x, c: [Term(-1)], linear=True)
SCALE = Rule("scale", lambda x, c: x * c, lambda x, c: [Term(c)], linear=True)
OVER = _columns("over", lambda x, c: x / c)
POWER = Rule("power", lambda x, n: x**n, _power)
INVERSE = Rule("inverse", lambda x, c: c / x, _inverse)
EXPONENTIAL = Rule("exponential", lambda x, c: c**x, _exponential)
ABSOLUTE = Rule("absolute", np.abs, _absolute, linear=True)
CLIP = Rule("clip", lambda x, low, high: np.clip(x, low, high), _clipped, linear=True)
ROOT = Rule("root", np.sqrt, _root)
INVERSE_OR_ZERO = Rule("inverse_or_zero", _inverse_value, _inverse_or_zero)
TAKE_COLUMNS = _columns("take_columns", lambda x, index: np.take(x, index, axis=-1))
PERMUTE_COMPONENTS = _columns("permute_components", permute_components)
SUM_COMPONENTS = _columns("sum_components", sum_components)
FOLD_AXES = _columns("fold_axes", fold_axes)
