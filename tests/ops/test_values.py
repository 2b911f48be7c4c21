"""Values of every operation, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from ops.cases import ALL, Case, operands
from outgrad import TensorMap


def check_values(case: Case, maps: list[TensorMap], result: TensorMap) -> None:
    assert case.whole or result.keys == maps[0].keys
    for block, expected in zip(result, case.expected(maps), strict=True):
        assert block.values.dtype == expected.dtype
        assert block.shape == expected.shape
        np.testing.assert_allclose(block.values, expected, rtol=case.rtol, atol=0, equal_nan=True)


@pytest.mark.parametrize("case", ALL)
def test_values_are_those_of_numpy(case: Case) -> None:
    maps = operands(case)
    check_values(case, maps, case.call(*maps))


@pytest.mark.parametrize("case", ALL)
def test_gradients_make_no_difference_to_values(case: Case) -> None:
    maps = operands(case, parameters={})
    check_values(case, maps, case.call(*maps))


@pytest.mark.parametrize("case", ALL)
@pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")
def test_nan_and_infinities_stay_where_they_are(case: Case) -> None:
    maps = operands(case)
    for map in maps:
        for block in map:
            block.values[:1] = np.nan
            block.values[2:3, :, 1:] = np.inf
            block.values[2:3, :, :1] = -np.inf
    if case.refuses_nan:
        with pytest.raises(
            np.linalg.LinAlgError, match=f"{case.operation}: the equations of block 0 hold NaN"
        ):
            case.call(*maps)
        return
    check_values(case, maps, case.call(*maps))
