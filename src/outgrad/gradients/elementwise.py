"""The derivative of every operation: one entry each.

``x`` and ``y`` are the chunks of the arguments, other letters are constants. A weight that depends on the
arguments is written with the entries of this table, so that it can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Chunk
from outgrad.gradients.axes import fold_axes, permute_components, sum_components
from outgrad.gradients.rule import PRODUCT, Rule, Term, Terms

Number = float | complex


# ---- two maps ----
def _divide_terms(x: Chunk, y: Chunk) -> Terms:
    """∂(x/y)/∂x = 1/y and ∂(x/y)/∂y = −(x/y)/y."""
    inverse = INVERSE([y], 1.0)
    return [Term(inverse), Term(SCALE([PRODUCT([DIVIDE([x, y]), inverse])], -1.0))]


ADD = Rule("add", lambda x, y: x + y, lambda x, y: [Term(), Term()], linear=True)
SUBTRACT = Rule("subtract", lambda x, y: x - y, lambda x, y: [Term(), Term(-1)], linear=True)
DIVIDE = Rule("divide", lambda x, y: x / y, _divide_terms)


# ---- one map and a number c ----
def _power_terms(x: Chunk, n: Number) -> Terms:
    """∂xⁿ/∂x = n xⁿ⁻¹; n = 0 and n = 1 are written out, since 0 · 0⁻¹ would not be zero."""
    if n == 0:
        return [Term(0.0)]
    return [Term() if n == 1 else Term(SCALE([POWER([x], n - 1)], n))]


SHIFT = Rule("shift", lambda x, c: x + c, lambda x, c: [Term()], linear=True)
SHIFT_FROM = Rule("shift_from", lambda x, c: c - x, lambda x, c: [Term(-1)], linear=True)
SCALE = Rule("scale", lambda x, c: x * c, lambda x, c: [Term(c)], linear=True)
POWER = Rule("power", lambda x, n: x**n, _power_terms)

# ∂(c/x)/∂x = −(c/x)(1/x), where integers do not overflow as in x²
INVERSE: Rule = Rule(
    "inverse", lambda x, c: c / x, lambda x, c: [Term(PRODUCT([INVERSE([x], -c), INVERSE([x], 1.0)]))]
)

# ∂cˣ/∂x = ln(c) cˣ
EXPONENTIAL: Rule = Rule(
    "exponential",
    lambda x, c: c**x,
    lambda x, c: [Term(SCALE([EXPONENTIAL([x], c)], np.log(c).item()))],
)


# ---- functions with a kink ----
def _absolute_terms(x: Chunk) -> Terms:
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


def _clip_terms(x: Chunk, low: Number | None, high: Number | None) -> Terms:
    """∂x/∂x is 1 between the bounds, and on them; outside the result does not change with x."""
    inside = np.ones(x.values.shape, x.values.dtype)
    if low is not None:
        inside[x.values < low] = 0
    if high is not None:
        inside[x.values > high] = 0
    return [Term(inside)]


ABSOLUTE = Rule("absolute", np.abs, _absolute_terms, linear=True)
CLIP = Rule("clip", lambda x, low, high: np.clip(x, low, high), _clip_terms, linear=True)


# ---- square roots, where no derivative is infinite ----
def _inverse_or_zero_terms(x: Chunk) -> Terms:
    """∂(1/x)/∂x = −1/x², and 0 where x = 0."""
    inverse = INVERSE_OR_ZERO([x])
    return [Term(SCALE([PRODUCT([inverse, inverse])], -1.0))]


INVERSE_OR_ZERO = Rule(
    "inverse_or_zero",
    lambda x: np.divide(1, x, out=np.zeros_like(x), where=x != 0),
    _inverse_or_zero_terms,
)

# ∂√x/∂x = 1/(2√x), and 0 where x = 0: if a standard deviation is 0, all entries are the same
ROOT: Rule = Rule("root", np.sqrt, lambda x: [Term(SCALE([INVERSE_OR_ZERO([ROOT([x])])], 0.5))])


# ---- linear maps of the last axes ----
def _linear_map(name: str, value: Callable[..., Array]) -> Rule:
    """Rule of a map that is linear in the last axes: gradients are mapped like the values."""

    def terms(x: Chunk, *constants: Any) -> Terms:
        return [Term(columns=lambda array: value(array, *constants))]

    return Rule(name, value, terms, linear=True)


OVER = _linear_map("over", lambda x, c: x / c)
TAKE_COLUMNS = _linear_map("take_columns", lambda x, index: np.take(x, index, axis=-1))
PERMUTE_COMPONENTS = _linear_map("permute_components", permute_components)
SUM_COMPONENTS = _linear_map("sum_components", sum_components)
FOLD_AXES = _linear_map("fold_axes", fold_axes)
