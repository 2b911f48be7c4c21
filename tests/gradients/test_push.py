"""Weighted sums of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.gradients import weighted_sum as push
from outgrad.gradients.weighted_sum import Weighted, align, weighted_sum
from outgrad.testing import random_values

ROW = np.array([0, 0, 2, 1])


def numbers(*shape: int, dtype: str = "float64") -> Any:
    return random_values(np.random.default_rng(sum(shape)), shape, dtype)


@pytest.mark.parametrize("own", [(), (3,), (3, 3)])
@pytest.mark.parametrize("trailing", [(4,), (2, 4), (2, 2, 4)])
def test_weights_are_gathered_and_broadcast(own: tuple[int, ...], trailing: tuple[int, ...]) -> None:
    weight, gradient = numbers(3, *trailing), numbers(4, *own, *trailing)
    aligned = align(weight, ROW, gradient.ndim)
    assert aligned.shape == (4, *(1 for _ in own), *trailing)
    expected = np.array([weight[row] * below for row, below in zip(ROW, gradient, strict=True)])
    assert np.array_equal(weighted_sum([Weighted(weight, ROW, gradient)]), expected)


def test_terms_are_added() -> None:
    weights, gradients = [numbers(3, 2), numbers(3, 2) + 1], [numbers(4, 3, 2), numbers(4, 3, 2) - 2]
    terms = [Weighted(w, ROW, g) for w, g in zip(weights, gradients, strict=True)]
    expected = sum(w[ROW][:, None] * g for w, g in zip(weights, gradients, strict=True))
    assert np.array_equal(weighted_sum(terms), expected)
    mixed = [Weighted(None, ROW, gradients[0]), Weighted(-2.0, ROW, gradients[1]), terms[0]]
    expected = gradients[0] - 2 * gradients[1] + weights[0][ROW][:, None] * gradients[0]
    assert np.array_equal(weighted_sum(mixed), expected)


def test_nothing_to_do_copies_nothing() -> None:
    gradient = numbers(4, 2)
    assert weighted_sum([Weighted(None, ROW, gradient)]) is gradient


@pytest.mark.parametrize("cache", [1, 40, 10**9])
def test_pieces_make_no_difference(cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = [Weighted(numbers(3, 2), ROW, numbers(4, 3, 2)), Weighted(None, ROW, numbers(4, 3, 2))]
    expected = weighted_sum(terms)
    monkeypatch.setattr(push, "CACHE_BYTES", cache)
    assert np.array_equal(weighted_sum(terms), expected)


def test_no_rows() -> None:
    found = weighted_sum([Weighted(numbers(3, 2), ROW[:0], numbers(0, 3, 2))])
    assert found.shape == (0, 3, 2)
    assert weighted_sum([Weighted(numbers(0, 2), ROW[:0], numbers(0, 3, 2))] * 2).shape == (0, 3, 2)


@pytest.mark.parametrize(
    ("weight", "gradient", "expected"),
    [
        ("float32", "float32", "float32"),
        ("float64", "float32", "float64"),
        ("complex64", "float32", "complex64"),
        ("int64", "float32", "float64"),
    ],
)
def test_dtypes(weight: str, gradient: str, expected: str) -> None:
    term = Weighted(numbers(3, 2, dtype=weight), ROW, numbers(4, 2, dtype=gradient))
    assert weighted_sum([term]).dtype == expected
    assert weighted_sum([Weighted(2.0, ROW, numbers(4, 2, dtype="float32"))]).dtype == "float32"
    assert weighted_sum([Weighted(None, ROW, numbers(4, 2, dtype="float32")), term]).dtype == np.result_type(
        expected, "float32"
    )


@given(st.integers(0, 20), st.integers(1, 3), st.integers(0, 3))
def test_any_sizes(rows: int, samples: int, properties: int) -> None:
    rng = np.random.default_rng(rows)
    row = rng.integers(0, samples, size=rows)
    weight, gradient = numbers(samples, properties), numbers(rows, 2, properties)
    found = weighted_sum([Weighted(weight, row, gradient), Weighted(weight, row, gradient)])
    assert np.array_equal(found, 2 * weight[row][:, None] * gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int8"])
def test_a_square_is_weighed_once(dtype: str) -> None:
    """x · x has the same term twice; the bits are those of two terms."""
    weight, gradient = numbers(3, 2, dtype=dtype), numbers(4, 3, 2, dtype=dtype)
    twice = weighted_sum([Weighted(weight, ROW, gradient)] * 2)
    apart = weighted_sum([Weighted(weight, ROW, gradient), Weighted(weight.copy(), ROW, gradient)])
    assert twice.dtype == apart.dtype == dtype
    assert np.array_equal(twice, apart)


@pytest.mark.parametrize("cache", [1, 40, 10**9])
def test_terms_with_places_are_added_where_they_say(cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of two gradients among six: row 3 is of neither, and stays nothing."""
    monkeypatch.setattr(push, "CACHE_BYTES", cache)
    weight, first, second = numbers(3, 2), numbers(4, 3, 2), numbers(2, 3, 2)
    terms = [
        Weighted(weight, ROW, first, np.array([0, 2, 4, 5])),
        Weighted(-1.0, ROW[:2], second, np.array([1, 2])),
    ]
    expected = np.zeros((6, 3, 2))
    expected[[0, 2, 4, 5]] += weight[ROW][:, None] * first
    expected[[1, 2]] -= second
    found = weighted_sum(terms, 6)
    assert np.array_equal(found, expected)
    assert np.signbit(found[3]).all(), "adding to −0 changes no bit"
