"""Every operation is in the table of cases, is exported and described, and has all its forms."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

import outgrad as og
from outgrad import ops
from outgrad.operations import public_operations
from tests.ops.cases import CASES

TWINS = {
    name: getattr(og, name.replace("_block", ""))
    for name in og.__all__
    if name.endswith(("_block", "_block_raise")) and hasattr(og, name.replace("_block", ""))
}
"""Functions of one block, by the function of a map that they are named after."""


def written() -> dict[str, Callable[..., Any]]:
    """The functions of the room, exported or not."""
    modules = [
        import_module(f"{ops.__name__}.{module.name}") for module in pkgutil.iter_modules(ops.__path__)
    ]
    return {
        name: item
        for module in modules
        for name, item in vars(module).items()
        if inspect.isfunction(item) and item.__module__ == module.__name__ and not name.startswith("_")
    }


def test_every_operation_has_a_case() -> None:
    assert {case.operation for case in CASES} == set(public_operations())


def test_names_of_cases_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_what_is_written_for_users_is_exported() -> None:
    """A docstring with an example is for users; one without is for us."""
    described = {name for name, item in written().items() if "Examples\n---" in (inspect.getdoc(item) or "")}
    assert described == {name for name in og.__all__ if name in written()}


def test_what_is_exported_is_described() -> None:
    lacking = []
    for name in sorted(written().keys() & set(og.__all__)):
        description = inspect.getdoc(getattr(og, name)) or ""
        parameters = inspect.signature(getattr(og, name)).parameters
        is_whole = not parameters or "Parameters\n---" in description
        if not (is_whole and description.partition("\n")[0].endswith(".")):
            lacking.append(f"{name}: {description[:80]}")
    assert lacking == []


def test_block_twins_have_the_signature_of_the_original() -> None:
    others = []
    for name, original in TWINS.items():
        wanted = [own.replace("tensor", "block") for own in inspect.signature(original).parameters]
        found = list(inspect.signature(getattr(og, name)).parameters)
        others += [f"{name}{found}, not {wanted}"] if found != wanted else []
    assert others == []
