"""Gradients of gradients of every operation."""

from __future__ import annotations

from typing import Any

import pytest

import outgrad as og
from outgrad import ValidationError
from outgrad.testing import check_gradient
from tests.ops.case import Case, operands
from tests.ops.cases import DIFFERENTIABLE, LINEAR, NONLINEAR
from tests.support.operands import CLOSED, OPEN, THIRD, operand, stacked, unstacked


@pytest.mark.parametrize("sparsity", [0.3, 1.0])
@pytest.mark.parametrize("case", DIFFERENTIABLE)
def test_gradients_of_gradients_are_finite_differences(case: Case, sparsity: float) -> None:
    maps = operands(case, sparsity=sparsity, parameters=CLOSED)
    check_gradient(lambda map: case.call(*unstacked(map)), stacked(maps), directions=2)


@pytest.mark.parametrize("case", DIFFERENTIABLE)
def test_third_derivatives_are_finite_differences(case: Case) -> None:
    maps = operands(case, sparsity=0.7, parameters=THIRD)
    check_gradient(lambda map: case.call(*unstacked(map)), stacked(maps), directions=1, atol=1e-5)


@pytest.mark.parametrize("case", LINEAR)
def test_linear_operations_need_no_gradient_of_the_values(case: Case) -> None:
    maps = operands(case, parameters=OPEN)
    check_gradient(lambda map: case.call(*unstacked(map)), stacked(maps), directions=2)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("case", NONLINEAR)
def test_nonlinear_operations_need_the_gradient_of_the_values(case: Case, chunked: bool) -> None:
    maps: list[Any] = operands(case, parameters=OPEN, sparsity=1.0)
    if chunked:
        maps = [map.chunk(target_bytes=500) for map in maps]
    with pytest.raises(ValidationError, match=r"respect to \['cell'\].*add the gradient 'cell' to the block"):
        case.call(*maps)


@pytest.mark.parametrize("chunked", [False, True])
def test_the_modulus_of_complex_values_has_no_second_derivative(chunked: bool) -> None:
    map: Any = operand(0, parameters=CLOSED, dtype="complex128")
    with pytest.raises(NotImplementedError, match="abs: the values are complex128 and have gradients of gra"):
        og.abs(map.chunk() if chunked else map)


def test_nothing_of_higher_order_appears() -> None:
    """The weight of a gradient carries second derivatives that its product must not turn into third ones."""
    map = operand(0, parameters=CLOSED, sparsity=1.0)
    square = (map * map).block(0).gradient("positions").gradient("positions")
    assert square.gradients_list() == []
