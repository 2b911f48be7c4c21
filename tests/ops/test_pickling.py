"""Results travel between processes."""

from __future__ import annotations

import pickle

import pytest

from helpers import cut_at
from ops.cases import ALL, Case, operands
from ops.test_chunking import ACROSS_SYSTEMS
from outgrad.testing import assert_identical


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
