"""Results travel between processes."""

from __future__ import annotations

import pickle

import pytest

from outgrad.testing import assert_identical
from tests.ops.case import Case, operands
from tests.ops.cases import ALL
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS


@pytest.mark.parametrize("case", ALL)
def test_results_survive_pickling(case: Case) -> None:
    result = case.call(*operands(case))
    assert_identical(pickle.loads(pickle.dumps(result)), result)
    for block in result:
        assert_identical(pickle.loads(pickle.dumps(block)), block)


@pytest.mark.parametrize("case", ALL)
def test_lazy_results_survive_pickling(case: Case) -> None:
    result = case.call(*(cut_at(map, ACROSS_SYSTEMS) for map in operands(case)))
    again = pickle.loads(pickle.dumps(result))
    assert again.__dask_keys__() == result.__dask_keys__()
    assert_identical(again, result)
