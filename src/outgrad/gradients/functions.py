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
from outgrad.gradients.rule import Rule, Term, Terms

UserFunction = Callable[..., Any]

ORDERS = ("", "first", "second", "third", "fourth")


# ---- well-known functions ----
EXP: Rule = Rule("exp", np.exp, lambda x: [Term(EXP([x]))])
LOG = Rule("log", np.log, lambda x: [Term(INVERSE([x], 1.0))])
SIN: Rule = Rule("sin", np.sin, lambda x: [Term(COS([x]))])
COS: Rule = Rule("cos", np.cos, lambda x: [Term(SCALE([SIN([x])], -1.0))])
SQUARE = Rule("square", np.square, lambda x: [Term(SCALE([x], 2.0))])

# ∂√x/∂x = 1/(2√x), which is infinite at 0
SQRT: Rule = Rule("sqrt", np.sqrt, lambda x: [Term(INVERSE([SQRT([x])], 0.5))])

# ∂tanh(x)/∂x = 1 − tanh(x)²
TANH: Rule = Rule("tanh", np.tanh, lambda x: [Term(SHIFT_FROM([SQUARE([TANH([x])])], 1.0))])


# ---- powers by a map ----
def power_derivative(x: Array, y: Array, moving: tuple[bool, bool], m: int = 0, n: int = 0) -> Array:
    """∂ᵐ⁺ⁿ xʸ / ∂xᵐ ∂yⁿ, where products with 0 are 0, also those with an infinity.

    With c the Taylor coefficients of y (y−1) … (y−m+1) at y, the Taylor series of the product

        (y+t) (y+t−1) … (y+t−m+1) · xʸ⁻ᵐ⁺ᵗ = (Σ cⱼ tʲ) · xʸ⁻ᵐ · Σ ln(x)ᵏ tᵏ / k!

    has ∂ᵐ⁺ⁿ xʸ / n! as its coefficient of tⁿ:

        ∂ᵐ⁺ⁿ xʸ = Σ cⱼ · xʸ⁻ᵐ ln(x)ⁿ⁻ʲ · n! / (n−j)!    (j = 0 … n)
    """
    dtype = np.result_type(x, y)
    if dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    if m == n == 0:
        return np.asarray(np.power(x, y, dtype=dtype))
    x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    zero = np.zeros(x.shape, dtype)
    # Multiplied factor by factor, coefficients are exactly zero where a factor is: for whole y < m the
    # derivatives of polynomials vanish, although xʸ⁻ᵐ is infinite at 0.
    series = [np.ones_like(y)]
    for i in range(m):
        series = [a * (y - i) + b for a, b in zip([*series, zero], [zero, *series], strict=True)]
    series = series[: n + 1]
    # Powers are only taken where a coefficient is not zero, and logarithms where the power is not: xᵃ ln(x)ᵏ
    # goes to 0 with x for a > 0, and the product 0 · ∞ would be NaN. So no warning comes of what is not used.
    needed = np.logical_or.reduce([coefficient != 0 for coefficient in series])
    power = np.power(x, y - m, out=zero.copy(), where=needed)
    log = np.log(x, out=zero.copy(), where=power != 0) if n else zero
    total = zero
    for j, coefficient in enumerate(series):
        term = power * log ** (n - j) * (factorial(n) / factorial(n - j))
        total = total + np.multiply(coefficient, term, out=zero.copy(), where=coefficient != 0)
    return total


def _raise_terms(x: Chunk, y: Chunk, moving: tuple[bool, bool], m: int = 0, n: int = 0) -> Terms:
    """One derivative more; without gradients of an argument its derivative is neither needed nor defined."""
    orders = ((m + 1, n), (m, n + 1))
    return [
        Term(RAISE([x, y], moving, *order)) if moves else Term()
        for moves, order in zip(moving, orders, strict=True)
    ]


RAISE = Rule("raise", power_derivative, _raise_terms)


# ---- the user's own ----
def _call_user(x: Array, functions: Sequence[UserFunction], order: int = 0) -> Array:
    """Call the derivative of this order on values that it cannot change."""
    name = "f" if order == 0 else "df" if len(functions) == 2 else f"df[{order - 1}]"

    def call(array: Array) -> Array:
        read_only = array.view()
        read_only.flags.writeable = False
        try:
            result = functions[order](read_only)
        except Exception as error:
            if array.size:
                raise
            raise ValidationError(
                f"apply: {name} failed on an array without entries, of shape {array.shape}: {error!r}; "
                "it must be elementwise, and work on arrays of any shape"
            ) from error
        wanted = f"an array of the shape of its argument, {array.shape}"
        return check_array(f"apply: {name}", result, array.shape, wanted)

    result = call(x)
    # Dtypes of lazy results are found by calling the function without rows: it has to return the same there.
    if x.size and result.dtype != (planned := call(x[:0]).dtype):
        raise ValidationError(
            f"apply: {name} returned {result.dtype} of these values, but {planned} of an array without "
            "rows; the dtype must not depend on the values, convert it in the function"
        )
    return result.copy() if np.may_share_memory(result, x) else result


def check_array(call: str, returned: Any, shape: tuple[int, ...], wanted: str) -> Array:
    """Return what a function of the user returned as a plain array, if it is numbers of this shape."""
    if not isinstance(returned, np.ndarray):
        raise ValidationError(f"{call} must return {wanted}; it returned {kind_of(returned)}")
    if returned.shape != shape:
        raise ValidationError(f"{call} must return {wanted}; it returned the shape {returned.shape}")
    if returned.dtype.kind not in "biufc":
        raise ValidationError(f"{call} must return numbers; it returned the dtype {returned.dtype}")
    return plain(f"{call} returned an array that", returned)


def _apply_terms(x: Chunk, functions: Sequence[UserFunction], order: int = 0) -> Terms:
    require_derivative("apply", "df", functions, order + 1)
    if np.iscomplexobj(x.values) and not np.iscomplexobj(_call_user(x.values[:0], functions)):
        raise ValidationError(
            "apply: f makes real numbers of complex ones, so it is not holomorphic, and df cannot describe "
            "how it changes; drop the gradients with remove_gradients(…)"
        )
    return [Term(APPLY([x], functions, order + 1))]


def require_derivative(call: str, argument: str, functions: Sequence[UserFunction], order: int) -> None:
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


APPLY = Rule("apply", _call_user, _apply_terms, calls_user=True)
