"""ONE table of the operations. Each test file beside it checks one property of all of them.

A new operation is a new row: ``tests/ops/test_complete.py`` fails until it is there. The rows of a family are
in ``cases_<family>.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.ops import (
    cases_basic,
    cases_combine,
    cases_dimensions,
    cases_functions,
    cases_keys,
    cases_linear,
    cases_order,
    cases_reduce,
)
from tests.ops.case import Case

CASES = [
    *cases_basic.CASES,
    *cases_functions.CASES,
    *cases_reduce.CASES,
    *cases_linear.CASES,
    *cases_keys.CASES,
    *cases_order.CASES,
    *cases_dimensions.CASES,
    *cases_combine.CASES,
]


def named(name: str) -> Case:
    (case,) = (case for case in CASES if case.name == name)
    return case


# ---- what tests are parametrised with ----
def _params(cases: Iterable[Case]) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in cases]


ALL = _params(CASES)
DIFFERENTIABLE = _params(case for case in CASES if case.differentiable)
COMPLEX = _params(case for case in CASES if case.differentiable and case.complex)
LINEAR = _params(case for case in CASES if case.differentiable and case.linear)
NONLINEAR = _params(case for case in CASES if not case.linear)
ONE_A_RULE = _params({(case.operation, case.rule): case for case in reversed(CASES)}.values())
"""One case for each way to compute numbers: enough where it does not matter which rows are used."""
