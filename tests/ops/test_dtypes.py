"""Dtypes of results: those that NumPy gives, the same for gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.testing import assert_identical, check_gradient
from tests.ops.case import Case, operands
from tests.ops.cases import ALL, ONE_A_RULE, named
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")
DTYPES = ["float32", "complex64", "complex128", "int64", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ONE_A_RULE)
def test_values_have_the_dtype_of_numpy(case: Case, dtype: str) -> None:
    maps = operands(case, dtype=dtype, parameters={})
    if np.dtype(dtype).kind == "c" and not case.complex:
        pytest.skip("not defined for complex numbers")
    if dtype == "bool" and (message := case.exceptions.refuses_booleans):
        with pytest.raises(TypeError, match=message):
            case.call(*maps)
        return
    result = case.call(*maps)
    if np.dtype(dtype).itemsize >= 8:
        case.check_values(maps, result)
    for block, expected in zip(result, case.expected(maps), strict=True):
        assert block.dtype == block.values.dtype == expected.dtype
        np.testing.assert_allclose(np.asarray(block.values), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int64"])
@pytest.mark.parametrize("case", ONE_A_RULE)
def test_gradients_have_the_dtype_of_the_values(case: Case, dtype: str) -> None:
    if np.dtype(dtype).kind == "c" and not case.complex:
        pytest.skip("not defined for complex numbers")
    maps = operands(case, dtype=dtype)
    result = case.call(*maps).compute()
    for block in result:
        assert block.dtype == block.values.dtype
        for _, gradient in block.gradients():
            assert gradient.dtype == gradient.values.dtype == block.dtype
    cut = case.call(*(cut_at(map, ACROSS_SYSTEMS) for map in maps))
    assert cut.dtype == result.dtype
    case.check_same(cut, result)


@pytest.mark.parametrize("case", ALL)
def test_float32_stays_float32_and_agrees_with_float64(case: Case) -> None:
    narrow = case.call(*operands(case, dtype="float32"))
    assert narrow.dtype == np.float32
    assert og.allclose(narrow.to(dtype="float64"), case.call(*operands(case)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide"])
def test_operands_of_different_dtypes(name: str) -> None:
    call: Any = getattr(og, name)
    case = named(f"{name} maps")
    narrow, wide = operands(case)[0].to(dtype="float32"), operands(case)[1]
    result = call(narrow, wide)
    assert result.dtype == np.float64
    assert {g.dtype for block in result for _, g in block.gradients()} == {np.dtype("float64")}
    assert_identical(call(cut_at(narrow, ACROSS_SYSTEMS), wide), result)


def test_squares_of_integers_do_not_overflow_in_a_derivative() -> None:
    """1/x of 8-bit integers: x² = 10000 does not fit, −1/x² does."""
    labels = og.Labels.range("s", 1), og.Labels.range("n", 1)
    block = og.TensorBlock(np.array([[100]], np.int8), labels[0], [], labels[1])
    rows = og.Labels("sample", [[0]])
    block.add_gradient("x", og.TensorBlock(np.array([[1]], np.int8), rows, [], labels[1]))
    gradient = (1 / block).gradient("x")
    np.testing.assert_allclose(gradient.values, [[-1e-4]])


def test_a_complex_number_makes_a_complex_map() -> None:
    case = named("add number")
    map = operands(case)[0]
    for function in (lambda m: m + 1j, lambda m: 1j - m, lambda m: m * 1j, lambda m: m / 1j, lambda m: 1j**m):
        result = function(map)
        assert result.dtype == np.complex128
        assert result.block(0).gradient("cell").dtype == np.complex128
        check_gradient(function, map, directions=1)
