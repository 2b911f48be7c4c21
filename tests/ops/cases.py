"""ONE table of the operations. Each test file beside it checks one property of all of them.

A new operation is a new row: ``tests/ops/test_complete.py`` fails until it is there. The rows of a family are
in ``cases_<family>.py``.
"""

from __future__ import annotations

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
from tests.ops.case import Case, operands
from tests.support.operands import COMPONENTS, FLAT, KEYS, PROPERTIES, SAMPLES, operand

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

ALL = [pytest.param(case, id=case.name) for case in CASES]
DIFFERENTIABLE = [pytest.param(case, id=case.name) for case in CASES if case.differentiable]
COMPLEX = [pytest.param(case, id=case.name) for case in CASES if case.differentiable and case.complex]

__all__ = ["ALL", "CASES", "COMPLEX", "COMPONENTS", "DIFFERENTIABLE", "FLAT", "KEYS", "PROPERTIES", "SAMPLES"]
__all__ += ["Case", "operand", "operands"]
