"""Derivatives of powers of every order, also where factors are zero; pieces of functions of rows."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from outgrad.data.chunk import Chunk
from outgrad.gradients import rowwise
from outgrad.gradients.functions import APPLY, COS, EXP, LOG, SIN, SQRT, SQUARE, TANH, power_derivative
from outgrad.gradients.rowwise import RowFunctions
from outgrad.gradients.rule import Rule

BOTH = (True, True)
ORDERS = [(m, n) for m in range(5) for n in range(4)]


def raised(x: Any, y: Any, m: int, n: int) -> Any:
    return power_derivative(np.array([x], float), np.array([y], float), BOTH, m, n)[0]


@pytest.mark.parametrize(("m", "n"), ORDERS)
def test_powers_are_derived_one_order_after_the_other(m: int, n: int) -> None:
    rng = np.random.default_rng(0)
    x, y, h = rng.uniform(0.5, 2, 40), rng.uniform(-3, 3, 40), 1e-6
    by_x = (power_derivative(x + h, y, BOTH, m, n) - power_derivative(x - h, y, BOTH, m, n)) / (2 * h)
    by_y = (power_derivative(x, y + h, BOTH, m, n) - power_derivative(x, y - h, BOTH, m, n)) / (2 * h)
    np.testing.assert_allclose(power_derivative(x, y, BOTH, m + 1, n), by_x, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(power_derivative(x, y, BOTH, m, n + 1), by_y, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("y", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("m", range(6))
def test_whole_powers_of_zero_have_the_derivatives_of_polynomials(y: float, m: int) -> None:
    """∂ᵐ/∂xᵐ xʸ at 0 is y! for m = y, and 0 otherwise, although x⁻¹ is infinite. No warning either."""
    expected = np.prod(np.arange(1, y + 1)) if m == y else 0.0
    assert raised(0.0, y, m, 0) == expected


@pytest.mark.parametrize("n", [1, 2, 3])
def test_powers_that_are_zero_do_not_depend_on_the_exponent(n: int) -> None:
    """x^y = 0: the logarithm is infinite, the derivative 0."""
    for y in (0.5, 1.0, 2.0):
        assert raised(0.0, y, 0, n) == 0
    assert raised(0.0, 2.0, 1, n) == 0


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_what_is_infinite_stays_infinite() -> None:
    assert raised(0.0, 0.5, 1, 0) == np.inf
    assert raised(0.0, 0.0, 0, 1) == -np.inf
    assert raised(0.0, -1.0, 0, 0) == np.inf
    assert raised(0.0, 0.0, 1, 1) == np.inf  # xʸ⁻¹ (1 + y ln x), where y ln x is 0


def test_negative_bases_need_no_logarithm() -> None:
    assert raised(-2.0, 3.0, 0, 0) == -8
    assert raised(-2.0, 3.0, 1, 0) == 12
    assert raised(-2.0, 3.0, 2, 0) == -12
    with pytest.warns(RuntimeWarning, match="invalid value encountered in log"):
        assert np.isnan(raised(-2.0, 3.0, 0, 1))


def test_mixed_derivative_where_the_exponent_is_zero() -> None:
    """∂²/∂x∂y xʸ = xʸ⁻¹ (1 + y ln x), which is 1/x at y = 0 although ∂/∂x is 0 there."""
    assert raised(4.0, 0.0, 1, 0) == 0
    assert raised(4.0, 0.0, 1, 1) == 0.25


@pytest.mark.parametrize("rule", [EXP, LOG, SQRT, TANH, SIN, COS, SQUARE], ids=lambda rule: rule.name)
def test_rules_are_the_functions_of_their_name(rule: Rule) -> None:
    x = np.array([[0.5, 2.0]])
    assert np.array_equal(rule([Chunk(x)]).values, getattr(np, rule.name)(x))


def test_a_rule_is_the_same_one_in_another_process() -> None:
    assert pickle.loads(pickle.dumps(TANH)) is TANH
    assert len(pickle.dumps(TANH)) < 150


def chunk(rng: np.random.Generator) -> Chunk:
    """5 rows, 2 components, 3 properties; a gradient with 2 components of its own, and one of it."""
    table = np.array([[0, 0], [0, 1], [2, 0], [4, 3]], np.int32)
    below = np.array([[0, 7], [3, 7]], np.int32)
    second = Chunk(rng.normal(size=(2, 1, 2, 2, 3)), {}, below)
    first = Chunk(rng.normal(size=(4, 2, 2, 3)), {"q": second}, table)
    q = Chunk(rng.normal(size=(2, 1, 2, 3)), {}, np.array([[0, 7], [4, 7]], np.int32))
    return Chunk(rng.normal(size=(5, 2, 3)), {"p": first, "q": q})


def cube(x: Any) -> Any:
    return x[:, ::-1] ** 3


def cube_1(x: Any, a: Any) -> Any:
    return (3 * x**2 * a)[:, ::-1]


def cube_2(x: Any, a: Any, b: Any) -> Any:
    return (6 * x * a * b)[:, ::-1]


@pytest.mark.parametrize("piece_bytes", [1, 100, 10**6])
def test_pieces_make_no_difference(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(x: Any) -> Any:
        seen.append(len(x))
        return cube(x)

    monkeypatch.setattr(rowwise, "PIECE_BYTES", piece_bytes)
    functions = RowFunctions((counted, cube_1, cube_2), 3, 3, np.dtype(float))
    given = chunk(np.random.default_rng(0))
    found = rowwise.APPLY_ROWS([given], functions)
    elementwise = APPLY([given], (lambda x: x**3, lambda x: 3 * x**2, lambda x: 6 * x))
    assert sum(seen) == 10
    assert max(seen) == {1: 2, 100: 4, 10**6: 10}[piece_bytes]
    for (path, x), (_, y) in zip(found.walk(), elementwise.walk(), strict=True):
        np.testing.assert_allclose(x.values, y.values[..., ::-1], rtol=1e-14, atol=0)
        if path:
            assert np.array_equal(x.rows, y.rows)


def test_no_function_is_called_without_rows() -> None:
    functions = RowFunctions((lambda x: 1 / 0, lambda x, a: 1 / 0), 3, 2, np.dtype(np.float32))
    table = np.zeros((0, 2), np.int32)
    empty = Chunk(np.zeros((0, 2, 3)), {"p": Chunk(np.zeros((0, 4, 2, 3)), {}, table)})
    found = rowwise.APPLY_ROWS([empty], functions)
    assert (found.values.shape, found.values.dtype) == ((0, 2, 2), np.float32)
    assert found.gradients["p"].values.shape == (0, 4, 2, 2)
