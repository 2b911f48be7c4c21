"""Gradients of every operation, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from outgrad.testing import check_gradient
from tests.ops.case import Case, operands
from tests.ops.cases import COMPLEX, DIFFERENTIABLE
from tests.support.operands import stacked, unstacked


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("case", DIFFERENTIABLE)
def test_gradients_are_finite_differences(case: Case, sparsity: float) -> None:
    maps = operands(case, sparsity=sparsity)
    check_gradient(lambda map: case.call(*unstacked(map)), stacked(maps), directions=2)


@pytest.mark.parametrize("case", COMPLEX)
def test_gradients_of_complex_values_are_finite_differences(case: Case) -> None:
    maps = operands(case, dtype="complex128")
    check_gradient(lambda map: case.call(*unstacked(map)), stacked(maps), directions=2)


@pytest.mark.parametrize("case", DIFFERENTIABLE)
def test_gradient_rows_are_sorted_by_sample_and_unique(case: Case) -> None:
    for block in case.call(*operands(case)):
        for _, gradient in block.gradients():
            rows = gradient.samples.values
            assert (np.diff(rows[:, 0]) >= 0).all()
            assert len(np.unique(rows, axis=0)) == len(rows)
            assert rows[:, 0].max(initial=-1) < len(block.samples)
