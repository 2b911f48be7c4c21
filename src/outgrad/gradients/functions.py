"""Functions of each element: well-known ones, powers by a map, and the user's own, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Any

import numpy as np

from outgrad._foreign import kind_of, plain
from outgrad.data.chunk import Array, Chunk
from outgrad.errors import ValidationError
from outgrad.gradients.elementwise import INVERSE, SCALE, SHIFT_FROM
from outgrad.gradients.rule import Rule, Term

Terms = Sequence[Term]
Function = Callable[..., Any]

ORDERS = ("", "first", "second", "third", "fourth")


# ---- well-known functions ----
def _exp(x: Chunk) -> Terms:
    return [Term(EXP([x]))]


def _log(x: Chunk) -> Terms:
    return [Term(INVERSE([x], 1.0))]


def _sqrt(x: Chunk) -> Terms:
    """∂√x/∂x = 1/(2√x), which is infinite at 0."""
    return [Term(INVERSE([SQRT([x])], 0.5))]


def _tanh(x: Chunk) -> Terms:
    """∂tanh(x)/∂x = 1 − tanh(x)²."""
    return [Term(SHIFT_FROM([SQUARE([TANH([x])])], 1.0))]


def _sin(x: Chunk) -> Terms:
    return [Term(COS([x]))]


def _cos(x: Chunk) -> Terms:
    return [Term(SCALE([SIN([x])], -1.0))]


def _square(x: Chunk) -> Terms:
    return [Term(SCALE([x], 2.0))]


EXP = Rule("exp", np.exp, _exp)
LOG = Rule("log", np.log, _log)
SQRT = Rule("sqrt", np.sqrt, _sqrt)
TANH = Rule("tanh", np.tanh, _tanh)
SIN = Rule("sin", np.sin, _sin)
COS = Rule("cos", np.cos, _cos)
SQUARE = Rule("square", np.square, _square)


# ---- powers by a map ----
def _raised(x: Array, y: Array, moving: tuple[bool, bool], m: int = 0, n: int = 0) -> Array:
    """∂ᵐ⁺ⁿ xʸ / ∂xᵐ ∂yⁿ, where products with 0 are 0, also those with an infinity.

    With c the Taylor coefficients of y (y−1) … (y−m+1) at y, the Taylor series of the product

        (y+t) (y+t−1) … (y+t−m+1) · xʸ⁻ᵐ⁺ᵗ = (Σ cⱼ tʲ) · xʸ⁻ᵐ · Σ ln(x)ᵏ tᵏ / k!

    has ∂ᵐ⁺ⁿ xʸ / n! as its coefficient of tⁿ. No logarithm is taken for n = 0.
    """
    dtype = np.result_type(x, y)
    if dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    if m == n == 0:
        return np.asarray(np.power(x, y, dtype=dtype))
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    zero = np.zeros(x.shape, dtype)
    series = _falling(y, m)[: n + 1]
    needed = np.logical_or.reduce([coefficient != 0 for coefficient in series])
    power = np.power(x, y - m, out=zero.copy(), where=needed)
    log = np.log(x, out=zero.copy(), where=power != 0) if n else zero
    total = zero
    for j, coefficient in enumerate(series):
        term = power * log ** (n - j) * (factorial(n) / factorial(n - j))
        total = total + np.multiply(coefficient, term, out=zero.copy(), where=coefficient != 0)
    return total


def _falling(y: Array, m: int) -> list[Array]:
    """Taylor coefficients of y (y−1) … (y−m+1) at y: exact zeros where a factor is zero."""
    none = np.zeros_like(y)
    series = [np.ones_like(y)]
    for i in range(m):
        series = [a * (y - i) + b for a, b in zip([*series, none], [none, *series], strict=True)]
    return series


def _raise_terms(x: Chunk, y: Chunk, moving: tuple[bool, bool], m: int = 0, n: int = 0) -> Terms:
    """One derivative more; without gradients of an argument its derivative is neither needed nor defined."""
    orders = ((m + 1, n), (m, n + 1))
    return [
        Term(RAISE([x, y], moving, *order)) if moves else Term()
        for moves, order in zip(moving, orders, strict=True)
    ]


RAISE = Rule("raise", _raised, _raise_terms)


# ---- the user's own ----
def _applied(x: Array, functions: Sequence[Function], order: int = 0) -> Array:
    """Call the derivative of this order on values that it cannot change."""
    name = "f" if order == 0 else "df" if len(functions) == 2 else f"df[{order - 1}]"
    found = _called(name, functions[order], x)
    if x.size and found.dtype != (bare := _called(name, functions[order], x[:0])).dtype:
        raise ValidationError(
            f"apply: {name} returned {found.dtype} of these values, but {bare.dtype} of an array without "
            "rows; the dtype must not depend on the values, convert it in the function"
        )
    return found.copy() if np.may_share_memory(found, x) else found


def _called(name: str, function: Function, x: Array) -> Array:
    given = x.view()
    given.flags.writeable = False
    try:
        found = function(given)
    except Exception as error:
        if x.size:
            raise
        raise ValidationError(
            f"apply: {name} failed on an array without entries, of shape {x.shape}: {error!r}; "
            "it must be elementwise, and work on arrays of any shape"
        ) from error
    return check_array(f"apply: {name}", found, x.shape, f"an array of the shape of its argument, {x.shape}")


def check_array(call: str, found: Any, shape: tuple[int, ...], wanted: str) -> Array:
    """Return what a function of the user returned as a plain array, if it is numbers of this shape."""
    if not isinstance(found, np.ndarray):
        raise ValidationError(f"{call} must return {wanted}; it returned {kind_of(found)}")
    if found.shape != shape:
        raise ValidationError(f"{call} must return {wanted}; it returned the shape {found.shape}")
    if found.dtype.kind not in "biufc":
        raise ValidationError(f"{call} must return numbers; it returned the dtype {found.dtype}")
    return plain(f"{call} returned an array that", found)


def _apply_terms(x: Chunk, functions: Sequence[Function], order: int = 0) -> Terms:
    require_derivative("apply", "df", functions, order + 1)
    if np.iscomplexobj(x.values) and not np.iscomplexobj(_applied(x.values[:0], functions)):
        raise ValidationError(
            "apply: f makes real numbers of complex ones, so it is not holomorphic, and df cannot describe "
            "how it changes; drop the gradients with remove_gradients(…)"
        )
    return [Term(APPLY([x], functions, order + 1))]


def require_derivative(call: str, argument: str, functions: Sequence[Function], order: int) -> None:
    """Raise if the derivative of this order has not been given."""
    if order < len(functions):
        return
    if order == 1:
        raise ValidationError(
            f"{call}: the map has gradients, so the derivative is needed; give {argument}, "
            "or drop the gradients with remove_gradients(…)"
        )
    word = ORDERS[order] if order < len(ORDERS) else f"{order}th"
    listed = ", ".join([argument, *(f"d{k}f" for k in range(2, order + 1))])
    raise ValidationError(
        f"{call}: the gradient is itself differentiated, so the {word} derivative is needed; "
        f"give {argument}=({listed})"
    )


APPLY = Rule("apply", _applied, _apply_terms, calls_user=True)
