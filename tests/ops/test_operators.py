"""Operators: the operations of the same meaning, for maps and blocks, with any number."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import TensorBlock, TensorMap
from outgrad.testing import assert_identical
from tests.ops.cases_basic import weights
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS, operand

A, B = operand(0), operand(1)
PAIRS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "maps": lambda form: (form(A), form(B)),
    "blocks": lambda form: (form(A).block(0), form(B).block(0)),
}
FORMS: dict[str, Callable[[TensorMap], TensorMap]] = {
    "numpy": lambda map: map,
    "dask": lambda map: cut_at(map, ACROSS_SYSTEMS),
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Any:
    return FORMS[request.param]


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, form: Any) -> tuple[Any, Any]:
    return PAIRS[request.param](form)


def test_two_operands(pair: tuple[Any, Any]) -> None:
    a, b = pair
    assert_identical(a + b, og.add(a, b))
    assert_identical(a - b, og.subtract(a, b))
    assert_identical(a * b, og.multiply(a, b))
    assert_identical(a / b, og.divide(a, b))


NUMBERS = [
    2, 2.0, True, Fraction(2), np.float32(2), np.float64(2), np.int8(2), np.int64(2), np.bool_(True),
    np.array(2), np.array(2.0, np.float32),
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{type(number).__name__} {number}")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numbers_of_any_kind(number: Any, dtype: str) -> None:
    a = A.to(dtype=dtype)
    plain = float(number)
    for result, expected in (
        (a + number, og.add(a, plain)),
        (number + a, og.add(a, plain)),
        (a - number, og.subtract(a, plain)),
        (number - a, og.add(-a, plain)),
        (a * number, og.multiply(a, plain)),
        (number * a, og.multiply(a, plain)),
        (a / number, og.divide(a, plain)),
        (a**number, og.pow(a, plain)),
    ):
        assert result.dtype == dtype
        assert_identical(result, expected)
    assert og.allclose(number / a, og.pow(a, -1) * plain, rtol=1e-6)
    np.testing.assert_allclose((number**a)[0].values, plain ** a[0].values, rtol=1e-6)


def test_numbers_in_any_form(pair: tuple[Any, Any]) -> None:
    a = pair[0]
    for number in (2, np.float32(2)):
        assert_identical(number - a, og.add(-a, 2.0))
        assert_identical(a**number, og.pow(a, 2.0))
        assert og.allclose(number / a, og.pow(a, -1) * 2, rtol=1e-15)
        assert og.allclose(number**a, og.exp(a * np.log(2)), rtol=1e-14)


@pytest.mark.parametrize("number", [np.complex64(1j), 2j, np.complex128(1 + 1j)])
def test_complex_numbers(pair: tuple[Any, Any], number: Any) -> None:
    a = pair[0]
    assert_identical(number * a, og.multiply(a, complex(number)))
    assert (a + number).dtype == np.complex128


def test_one_operand(pair: tuple[Any, Any]) -> None:
    a = pair[0]
    assert_identical(-a, og.multiply(a, -1))
    assert_identical(abs(a), og.abs(a))
    assert_identical(+a, a)
    assert +a is not a


def test_plus_keeps_integers() -> None:
    map = operand(0, dtype="int32")
    assert (+map).dtype == np.int32
    assert (-map).dtype == np.float64


def test_matrix_product(form: Any) -> None:
    assert_identical(form(A) @ weights(A), og.dot(A, weights(A)))
    assert_identical(form(A).block(0) @ weights(A).block(0), og.dot(A.block(0), weights(A).block(0)))
    with pytest.raises(TypeError, match="dot: tensor_2 must be a TensorMap or a TensorBlock, got float"):
        A @ 2.0
    with pytest.raises(TypeError, match="unsupported operand type"):
        2.0 @ A


def test_equality(pair: tuple[Any, Any]) -> None:
    a, b = pair
    assert a == a.copy()
    assert not a == b  # noqa: SIM201
    assert a != b
    assert not a != a.copy()  # noqa: SIM202
    assert a != 2
    assert not a == "text"  # noqa: SIM201
    assert (a == None) is False  # noqa: E711


def test_maps_and_blocks_cannot_be_hashed(pair: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError, match="unhashable type"):
        hash(pair[0])


def test_info_survives() -> None:
    for result in (A + B, A - 1, 1 - A, 2 * A, A / B, 1 / A, A**2, 2**A, -A, +A, abs(A), A @ weights(A)):
        assert result.info() == {"source": "seed 0"}
        assert isinstance(result, TensorMap)
        assert all(isinstance(block, TensorBlock) for block in result)


def test_in_place_operators_make_new_maps() -> None:
    map = kept = operand(0)
    map += 1
    assert_identical(map, A + 1)
    assert_identical(kept, A)


def test_arrays_are_not_taken_apart() -> None:
    """NumPy would make an array of maps of ``array * map``."""
    with pytest.raises(TypeError, match="B must be a TensorMap, a TensorBlock or a number, got ndarray"):
        np.ones(3) * A
    with pytest.raises(TypeError):
        np.add(np.ones(3), A)


def test_tutorial_expressions() -> None:
    assert og.equal(og.multiply(A, A), og.pow(A, 2))
    assert A.block(0).properties == A.block(0).gradient("cell").properties
