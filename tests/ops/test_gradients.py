"""Gradients of every operation, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from ops.cases import COMPLEX, DIFFERENTIABLE, Case, operands
from outgrad import Labels, TensorMap
from outgrad.testing import check_gradient


def stacked(maps: list[TensorMap]) -> TensorMap:
    """Put the operands into one map, so that all of them move together."""
    keys = maps[0].keys
    table = np.column_stack(
        [np.repeat(np.arange(len(maps)), len(keys)), np.tile(keys.values, (len(maps), 1))]
    )
    return TensorMap(Labels(["operand", *keys.names], table), [block for map in maps for block in map])


def unstacked(map: TensorMap) -> list[TensorMap]:
    blocks = map.blocks()
    keys = Labels(map.keys.names[1:], map.keys.values[map.keys["operand"] == 0][:, 1:])
    return [TensorMap(keys, blocks[start : start + len(keys)]) for start in range(0, len(blocks), len(keys))]


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
