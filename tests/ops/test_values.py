"""Values of every operation, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.case import Case, operands
from tests.ops.cases import ALL


@pytest.mark.parametrize("case", ALL)
def test_values_are_those_of_numpy(case: Case) -> None:
    maps = operands(case)
    case.check_values(maps, case.call(*maps))


@pytest.mark.parametrize("case", ALL)
def test_gradients_make_no_difference_to_values(case: Case) -> None:
    maps = operands(case, parameters={})
    case.check_values(maps, case.call(*maps))


@pytest.mark.parametrize("case", ALL)
@pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")
def test_nan_and_infinities_stay_where_they_are(case: Case) -> None:
    maps = operands(case)
    for map in maps:
        for block in map:
            block.values[:1] = np.nan
            block.values[2:3, :, 1:] = np.inf
            block.values[2:3, :, :1] = -np.inf
    if case.exceptions.refuses_nan:
        with pytest.raises(
            np.linalg.LinAlgError, match=f"{case.operation}: the equations of block 0 hold NaN"
        ):
            case.call(*maps)
        return
    case.check_values(maps, case.call(*maps))
