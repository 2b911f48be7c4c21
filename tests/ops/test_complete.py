"""Every public operation is in the table of cases, and has all its forms."""

from __future__ import annotations

import inspect

import pytest

import outgrad as og
from outgrad.operations import public_operations
from tests.ops.cases import CASES


def test_every_operation_has_a_case() -> None:
    assert {case.operation for case in CASES} == set(public_operations())
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    "name", [name for name in dir(og.operations) if "_block" not in name and name.islower()]
)
def test_public_names_are_exported_and_described(name: str) -> None:
    function = getattr(og, name)
    assert name in og.__all__
    description = inspect.getdoc(function)
    assert description is not None
    assert "Examples\n---" in description
    assert not inspect.signature(function).parameters or "Parameters\n---" in description
    assert description.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", [name for name in dir(og) if name.endswith(("_block", "_block_raise"))])
def test_block_twins_have_the_signature_of_the_original(name: str) -> None:
    original = getattr(og, name.replace("_block", ""))
    renamed = [parameter.replace("tensor", "block") for parameter in inspect.signature(original).parameters]
    assert list(inspect.signature(getattr(og, name)).parameters) == renamed
