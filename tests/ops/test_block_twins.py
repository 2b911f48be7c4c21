"""The functions for one block: their names in errors, and the examples of their docstrings."""

from __future__ import annotations

import doctest
import io
import traceback
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, errors
from outgrad.ops.twins import block_twin, twin_name
from outgrad.testing import Parameter, random_block

BLOCK = random_block(
    np.random.default_rng(0),
    Labels.range("system", 2),
    [Labels.range("m", 2)],
    Labels.range("n", 2),
    {"positions": Parameter()},
)
OTHER = og.rename_dimension(BLOCK, "samples", "system", "structure")

WRONG: dict[str, dict[str, Any]] = {
    "allclose": {"block_2": 1},
    "allclose_raise": {"block_2": OTHER},
    "components_to_properties": {"dimensions": "other"},
    "empty_like": {"gradients": "other"},
    "equal": {"block_2": 1},
    "equal_raise": {"block_2": OTHER},
    "equal_metadata": {"block_2": BLOCK, "check": "other"},
    "equal_metadata_raise": {"block_2": OTHER},
    "ones_like": {"gradients": "other"},
    "random_uniform_like": {"gradients": "other"},
    "remove_gradients": {"remove": [1]},
    "slice": {"axis": "samples", "selection": [5]},
    "sort": {"axes": "other"},
    "split": {"axis": "samples", "selections": [[5]]},
    "split_by": {"dimension": "other"},
    "sum_over_components": {"component_names": "other"},
    "unique_metadata": {"axis": "samples", "names": "other"},
    "zeros_like": {"gradients": "other"},
    **{
        f"{kind}_over_{axis}": {f"{singular}_names": "other"}
        for kind in ("sum", "mean", "var", "std")
        for axis, singular in (("samples", "sample"), ("properties", "property"))
    },
}
"""Arguments, besides the block, with which each original fails."""

CANNOT_FAIL = {"detach", "is_contiguous", "make_contiguous", "requires_grad"}


def originals() -> list[str]:
    names = [name for name in og.__all__ if hasattr(getattr(og, name), "__wrapped__")]
    return sorted(getattr(og, name).__wrapped__.__name__ for name in names)


def test_every_twin_is_here() -> None:
    assert set(originals()) == set(WRONG) | CANNOT_FAIL


@pytest.mark.parametrize("name", sorted(WRONG))
def test_errors_name_the_twin(name: str) -> None:
    twin = getattr(og, twin_name(name))
    with pytest.raises((TypeError, ValueError)) as caught:
        twin(BLOCK, **WRONG[name])
    assert str(caught.value).startswith((f"{twin.__name__}: ", f"inputs to '{twin.__name__}' "))


@pytest.mark.parametrize("name", originals())
def test_examples_of_the_docstring_run(name: str) -> None:
    twin = getattr(og, twin_name(name))
    test = doctest.DocTestParser().get_doctest(twin.__doc__, {}, twin.__name__, None, 0)
    assert f"og.{twin.__name__}(" in twin.__doc__
    report = io.StringIO()
    assert doctest.DocTestRunner().run(test, out=report.write).failed == 0, report.getvalue()


def failing(error: Exception) -> Any:
    def operation(tensor: TensorMap | TensorBlock) -> None:
        raise error

    return block_twin(operation)


CLASSES = [
    *(
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
    ),
    TypeError, ValueError, IndexError, RuntimeError,
]  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_exception_is_the_one_of_the_original(kind: type[Exception]) -> None:
    error = kind("operation: it failed; do something else")
    error.detail = 7  # type: ignore[attr-defined]
    with pytest.raises(kind) as caught:
        failing(error)(BLOCK)
    assert caught.value is error
    assert str(error) == "operation_block: it failed; do something else"
    assert error.detail == 7  # type: ignore[attr-defined]
    assert "During handling" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inputs to 'operation' should agree", "inputs to 'operation_block' should agree"),
        ("operations: of another kind", "operations: of another kind"),
        ("the operation: not at the start", "the operation: not at the start"),
        ("", ""),
    ],
)
def test_only_a_leading_name_changes(text: str, expected: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        failing(RuntimeError(text))(BLOCK)
    assert str(caught.value) == expected


def test_arguments_that_are_not_text_stay() -> None:
    for arguments in ((), (7,), ("operation: text", 7)):
        with pytest.raises(RuntimeError) as caught:
            failing(RuntimeError(*arguments))(BLOCK)
        assert caught.value.args[1:] == arguments[1:]
