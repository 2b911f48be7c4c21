"""What a row of the table of operations is, and plain NumPy for the most common ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import assert_identical
from tests.support.operands import operand

Array = npt.NDArray[Any]

FEW_TASKS = 8
"""Tasks of a call that do not grow with the number of chunks: one for a right side in memory, one for blocks
without rows, the last steps of a sum."""


@dataclass(frozen=True)
class Exceptions:
    """What few operations do otherwise than the others; by default nothing."""

    rtol: float = 1e-15
    """How close values are to those of NumPy: rounding of one operation, unless sums are in another order."""

    order_matters: bool = False
    """Whether chunks change the order of sums: then results in other chunks are the same up to rounding."""

    refuses_nan: bool = False
    """NaN and infinities are an error: equations that hold them have no solution."""

    refuses_booleans: str = ""
    """What NumPy says of booleans, where it does not define the operation."""

    adds_info: tuple[str, ...] = ()
    """Names that the operation adds to ``info``; all others keep what the first operand has."""

    distinct_values: bool = False
    """Operands have no two equal values: a standard deviation of 0 has no second derivative."""

    is_lazy: bool = False
    """The result is lazy even if all operands are in memory: the call makes a lazy one itself."""

    own_operand: bool = False
    """The call makes one more operand, of NumPy arrays: it takes no other kind of arrays."""

    same_as: str = ""
    """The case that is the same computation by another call: both have the same names in a graph."""


@dataclass(frozen=True)
class Case:
    """An operation with its arguments, and plain NumPy that gives the values of each block."""

    name: str
    operation: str
    call: Callable[..., TensorMap]
    oracle: Callable[..., Any]
    operands: int = 1

    rule: str = ""
    """What computes the numbers, if it is not the same for all cases of the operation."""

    differentiable: bool = True
    """Whether the gradients of the result are the derivatives of its values."""

    linear: bool = True
    """Whether gradients of gradients need nothing but themselves."""

    complex: bool = True
    """Whether it is defined for complex numbers."""

    whole: bool = False
    """Whether keys or the number of blocks change: then the oracle takes maps, and gives an array a block."""

    uniform: bool = False
    """Whether all blocks must have the same components and properties: operands are then made so."""

    passes: int = 1
    """How often the call goes over all chunks: each time adds at most one task for each part."""

    few_tasks: int = 0
    """Tasks that may come on top of that: 0, or ``FEW_TASKS`` where chunks are not worked on one by one."""

    exceptions: Exceptions = Exceptions()

    def most_tasks(self, parts: int) -> int:
        """How many tasks the call may add to operands of so many parts."""
        return self.passes * parts + self.few_tasks

    def check_same(self, result: TensorMap, expected: TensorMap) -> None:
        """Compare two results of the same call on other chunks."""
        if not self.exceptions.order_matters:
            assert_identical(result, expected)
            return
        result, expected = result.compute(), expected.compute()
        assert result.dtype == expected.dtype
        assert result.info() == expected.info()
        assert result.keys == expected.keys
        close = 1e-12 if expected.dtype in (np.float64, np.complex128) else 1e-5
        og.allclose_raise(result, expected, rtol=close, atol=close)

    def check_values(self, maps: Sequence[TensorMap], result: TensorMap) -> None:
        """Compare a result with plain NumPy."""
        assert self.whole or result.keys == maps[0].keys
        for block, expected in zip(result, self.expected(maps), strict=True):
            assert block.values.dtype == expected.dtype
            assert block.shape == expected.shape
            rtol = self.exceptions.rtol
            np.testing.assert_allclose(block.values, expected, rtol=rtol, atol=0, equal_nan=True)

    def expected(self, maps: Sequence[TensorMap]) -> list[Array]:
        """Values of every block of the result, by plain NumPy."""
        if self.whole:
            return list(self.oracle(*maps))
        return [self.oracle(*(map[number] for map in maps)) for number in range(len(maps[0]))]


def operands(case: Case, first_seed: int = 0, **settings: Any) -> list[TensorMap]:
    """The maps that a case is called with."""
    maps = [operand(first_seed + n, uniform=case.uniform, **settings) for n in range(case.operands)]
    if case.exceptions.distinct_values and maps[0].dtype != np.bool_:
        for block in (block for map in maps for block in map):
            block.values[:] += 4 * np.arange(block.values.size).reshape(block.shape).astype(block.dtype)
    return maps


def with_info(map: TensorMap, result: TensorMap) -> TensorMap:
    """Give a map that was put together from blocks the info of the map that they come from."""
    for name, text in map.info().items():
        result.set_info(name, text)
    return result


# ---- oracles: blocks in memory → values ----
def value(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *blocks: function(*(block.values for block in blocks))


def groups(labels: Labels, summed: Sequence[str]) -> list[tuple[int, ...]]:
    kept = [place for place, name in enumerate(labels.names) if name not in summed]
    return [tuple(int(row[place]) for place in kept) for row in labels.values]


def sum_samples(*names: str) -> Callable[..., Array]:
    def oracle(block: TensorBlock) -> Array:
        own = groups(block.samples, names)
        rows = [
            sum(x for x, g in zip(block.values, own, strict=True) if g == group) for group in sorted({*own})
        ]
        return np.array(rows, block.dtype).reshape(len(rows), *block.shape[1:])

    return oracle


def sum_properties(*names: str) -> Callable[..., Array]:
    def oracle(block: TensorBlock) -> Array:
        own = groups(block.properties, names)
        columns = [
            sum(block.values[..., place] for place, g in enumerate(own) if g == group)
            for group in sorted({*own})
        ]
        return (
            np.array(columns, block.dtype)
            .reshape(len(columns), *block.shape[:-1])
            .transpose(*range(1, len(block.shape)), 0)
        )

    return oracle
