"""A third kind of blocks needs no line elsewhere: operations give that kind, and the same values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import outgrad as og
from ops.cases import ALL, Case, operands
from outgrad import TensorBlock, TensorMap
from outgrad.engine.content import InMemory, Lazy
from outgrad.testing import assert_identical


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
    try:
        result = case.call(*map(as_foreign, maps))
    except TypeError as error:
        if "arrays of two kinds" not in str(error):
            raise
        pytest.skip("the call has an operand of its own, of NumPy arrays")
    assert type(result._blocks()) in (Foreign, Lazy), "an operand of its own may be lazy, and leads then"
    assert_identical(as_numpy(result.compute()), case.call(*maps).compute())


def test_two_kinds_in_memory_are_not_mixed() -> None:
    block = og.block_from_array(np.ones((2, 3)))
    blocks = block._blocks().in_memory("test")
    foreign = TensorBlock._of(Foreign(blocks.metadata, blocks.chunks))
    with pytest.raises(TypeError, match="arrays of two kinds, InMemory and Foreign; convert one of them"):
        og.add(block, foreign)
