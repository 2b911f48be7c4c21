"""A third kind of blocks needs no line elsewhere: operations give that kind, and the same values."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import outgrad as og
from outgrad import TensorBlock, TensorMap, ValidationError
from outgrad.data.chunk import Chunk
from outgrad.engine.content import InMemory, Lazy
from outgrad.testing import assert_identical
from tests.ops.case import Case, operands
from tests.ops.cases import ALL
from tests.support import ROOT

NOTE = ROOT / "docs" / "design" / "0008-kinds-of-blocks.md"


@dataclass(frozen=True, eq=False)
class Foreign(InMemory):
    """Arrays in memory of another library, as far as operations can tell."""


def as_foreign(map: TensorMap) -> TensorMap:
    blocks = map._blocks().in_memory("test")
    return TensorMap._of(map.keys, Foreign(blocks.metadata, blocks.chunks), map.info())


def as_numpy(map: TensorMap) -> TensorMap:
    blocks = map._blocks().in_memory("test")
    return TensorMap._of(map.keys, InMemory(blocks.metadata, blocks.chunks), map.info())


@pytest.mark.parametrize("case", ALL)
def test_every_operation_gives_the_kind_of_its_operands(case: Case) -> None:
    maps = [map.compute() for map in operands(case)]
    if case.exceptions.own_operand:
        with pytest.raises(TypeError, match="arrays of two kinds"):
            case.call(*map(as_foreign, maps))
        return
    result = case.call(*map(as_foreign, maps))
    assert type(result._blocks()) in (Foreign, Lazy), "an operand of its own may be lazy, and leads then"
    assert_identical(as_numpy(result.compute()), case.call(*maps).compute())


def test_two_kinds_in_memory_are_not_mixed() -> None:
    block = og.block_from_array(np.ones((2, 3)))
    blocks = block._blocks().in_memory("test")
    foreign = TensorBlock._of(Foreign(blocks.metadata, blocks.chunks))
    with pytest.raises(TypeError, match="arrays of two kinds, InMemory and Foreign; convert one of them"):
        og.add(block, foreign)


class Recorded(np.ndarray[Any, Any]):
    """An array that records which functions of NumPy are called with it."""

    called: ClassVar[set[str]] = set()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        Recorded.called.add(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}")
        out = options.get("out")
        given = {
            name: tuple(map(_plain, value)) if name == "out" else _plain(value)
            for name, value in options.items()
        }
        result = getattr(ufunc, method)(*map(_plain, inputs), **given)
        return result.view(Recorded) if out is None and isinstance(result, np.ndarray) else result

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        Recorded.called.add(function.__name__)
        return super().__array_function__(function, types, inputs, options)


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Recorded) else value


def recorded(map: TensorMap) -> TensorMap:
    blocks = map._blocks().in_memory("test")
    chunks = [chunk.map(lambda node: Chunk(node.values.view(Recorded))) for chunk in blocks.chunks]
    return TensorMap._of(map.keys, blocks.like(blocks.metadata, chunks), map.info())


def test_the_design_note_lists_the_functions_that_a_third_kind_of_array_needs() -> None:
    """NumPy's own protocols let another kind of array answer to them."""
    Recorded.called.clear()
    for parameters in ALL:
        case: Case = parameters.values[0]
        with suppress(ValidationError):  # functions of the user's own must return plain arrays
            case.call(*(recorded(map.compute()) for map in operands(case)))
    text = NOTE.read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+(?:\.\w+)?)`", text[text.index("Functions of NumPy") :].split("\n\n")[1]))
    of_users = {"arctan", "tanh"}
    assert Recorded.called - of_users == listed
