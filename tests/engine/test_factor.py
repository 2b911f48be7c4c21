"""Factors of equations that come in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from outgrad.engine.solve.triangles import EQUATION_BYTES, factor, piece_rows, solve_factor, stack


def matrix(rows: int, columns: int, dtype: Any = "float64", seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(rows, columns))
    return made + 1j * rng.normal(size=made.shape) if np.dtype(dtype).kind == "c" else made


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("cuts", [[], [3], [0, 0, 1, 2, 40, 40], [50]])
def test_factors_keep_products_of_columns(cuts: Sequence[int], dtype: str) -> None:
    rows = matrix(50, 4, dtype)
    found = factor(np.split(rows, cuts), 4, np.dtype(dtype))
    assert found.equations == 50
    assert found.triangle.shape == (4, 4)
    np.testing.assert_allclose(found.triangle, np.triu(found.triangle), atol=1e-14)
    np.testing.assert_allclose(found.triangle.conj().T @ found.triangle, rows.conj().T @ rows, atol=1e-12)


def test_few_equations_give_few_rows() -> None:
    assert factor([], 3, np.dtype(float)).triangle.shape == (0, 3)
    assert factor([matrix(2, 3)], 3, np.dtype(float)).triangle.shape == (2, 3)
    assert factor([matrix(2, 0)], 0, np.dtype(float)).equations == 2


def test_stacked_factors_are_the_factor_of_all_rows() -> None:
    rows = matrix(30, 5)
    parts = [factor([part], 5, rows.dtype) for part in np.split(rows, [2, 2, 10])]
    whole = factor([rows], 5, rows.dtype)
    assert stack(parts).equations == 30
    np.testing.assert_allclose(np.abs(stack(parts).triangle), np.abs(whole.triangle), atol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(
    ("rows", "unknowns", "sides"), [(20, 4, 3), (4, 4, 1), (2, 5, 2), (5, 3, 0), (3, 0, 2)]
)
def test_solutions_are_those_of_numpy(rows: int, unknowns: int, sides: int, dtype: str) -> None:
    both = matrix(rows, unknowns + sides, dtype)
    a, b = both[:, :unknowns], both[:, unknowns:]
    found = solve_factor(factor([both], unknowns + sides, both.dtype), unknowns, 1e-12)
    weights, _, rank, singular = np.linalg.lstsq(a, b, rcond=1e-12)
    np.testing.assert_allclose(found.weights, weights, atol=1e-12)
    assert found.rank == rank
    assert found.condition == (pytest.approx(singular[0] / singular[-1]) if rank else None)
    expected = np.linalg.norm(a @ weights - b)
    assert found.residual == (pytest.approx(expected) if expected > 1e-12 else 0.0)


def test_singular_values_below_the_cutoff_are_left_out() -> None:
    u, v = np.linalg.qr(matrix(9, 3))[0], np.linalg.qr(matrix(3, 3, seed=1))[0]
    both = np.hstack([(u * [1.0, 1e-3, 1e-6]) @ v, matrix(9, 1, seed=2)])
    found = [solve_factor(factor([both], 4, both.dtype), 3, cutoff) for cutoff in (1e-8, 1e-4, 1e-1, 2.0)]
    assert [each.rank for each in found] == [3, 2, 1, 0]
    assert [each.condition for each in found] == [pytest.approx(1e6), pytest.approx(1e3), 1.0, None]
    for each, rank in zip(found, (3, 2, 1), strict=False):
        expected = (v[:rank].T / [1.0, 1e-3, 1e-6][:rank]) @ (u[:, :rank].T @ both[:, 3:])
        np.testing.assert_allclose(each.weights, expected, rtol=1e-8)
    assert not found[-1].weights.any()
    assert found[-1].residual == pytest.approx(np.linalg.norm(both[:, 3]))


def test_pieces_are_bounded_but_longer_than_wide() -> None:
    assert piece_rows(10, 8) == EQUATION_BYTES // 80
    assert piece_rows(10_000, 8) == 20_000
    assert piece_rows(0, 8) > 0
