"""Sums of rows and of columns by group, against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.gradients.scatter import accumulator, scatter_columns, scatter_rows
from outgrad.testing import random_values

DTYPES = ["float16", "float32", "float64", "longdouble", "complex64", "complex128", "int8", "int64", "uint8"]


def added(array: np.ndarray, target: list[int], size: int) -> np.ndarray:
    out = np.zeros((size, *array.shape[1:]), array.dtype)
    for row, t in zip(array, target, strict=True):
        out[t] += row
    return out


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_have_the_dtype_of_what_is_added(dtype: str) -> None:
    check_sums([0, 1, 0, 2], 3, (2, 3), dtype)


@pytest.mark.parametrize("trailing", [(), (3,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize(
    ("target", "size"), [([0, 1, 0, 2], 3), ([2, 2, 2, 2], 4), ([0, 1, 2, 3], 4), ([], 2), ([], 0)]
)
def test_sums(target: list[int], size: int, trailing: tuple[int, ...]) -> None:
    check_sums(target, size, trailing, "float64")


def check_sums(target: list[int], size: int, trailing: tuple[int, ...], dtype: str) -> None:
    array = random_values(np.random.default_rng(0), (len(target), *trailing), dtype)
    index = np.array(target, np.int64)
    rows = scatter_rows(array, index, size)
    assert rows.dtype == array.dtype
    assert np.array_equal(rows, added(array, target, size))
    if len(set(target)) == size:  # groups of columns are never empty
        columns = scatter_columns(np.moveaxis(array, 0, -1), index, size)
        assert columns.dtype == array.dtype
        assert np.array_equal(columns, np.moveaxis(added(array, target, size), 0, -1))


@given(st.lists(st.integers(0, 4), max_size=12), st.data())
def test_any_groups(values: list[int], data: Any) -> None:
    target = np.unique(np.array(values, int), return_inverse=True)[1]
    array = random_values(np.random.default_rng(data.draw(st.integers(0, 9))), (len(target), 2))
    expected = added(array, target.tolist(), len(set(values)))
    assert np.array_equal(scatter_rows(array, target, len(set(values))), expected)
    assert np.array_equal(scatter_columns(array.T, target, len(set(values))), expected.T)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_stays_in_its_group(bad: float) -> None:
    array = np.array([[1.0, bad], [2.0, 3.0], [4.0, 5.0]])
    target = np.array([0, 1, 0])
    assert scatter_rows(array, target, 2)[1].tolist() == [2.0, 3.0]
    assert scatter_rows(array, target, 2)[:, 0].tolist() == [5.0, 2.0]
    assert not np.isfinite(scatter_rows(array, target, 2)[0, 1])
    assert scatter_columns(array.T, target, 2)[:, 1].tolist() == [2.0, 3.0]


def test_narrow_floats_are_added_in_float64() -> None:
    array = np.ones((10_000, 1), np.float32)
    array[0] = 1e8
    target = np.zeros(10_000, int)
    assert scatter_rows(array, target, 1)[0, 0] == np.float32(1e8 + 9999)
    assert scatter_columns(array.T, target, 1)[0, 0] == np.float32(1e8 + 9999)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("float16", "float64"),
        ("float32", "float64"),
        ("float64", "float64"),
        ("longdouble", "longdouble"),
        ("complex64", "complex128"),
        ("complex128", "complex128"),
        ("int32", "int32"),
        ("bool", "bool"),
    ],
)
def test_accumulators(dtype: str, wide: str) -> None:
    assert accumulator(np.dtype(dtype)) == np.dtype(wide)


def test_booleans_are_united() -> None:
    array = np.array([[True, False], [True, False], [False, False]])
    assert scatter_rows(array, np.array([0, 0, 1]), 2).tolist() == [[True, False], [False, False]]
