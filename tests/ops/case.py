"""What a row of the table of operations is, and the operands that every row is called with."""

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


@dataclass(frozen=True)
class Case:
    """An operation with its arguments, and plain NumPy that gives the values of each block."""

    name: str
    operation: str
    call: Callable[..., TensorMap]
    oracle: Callable[..., Array]
    operands: int = 1
    differentiable: bool = True
    linear: bool = True
    """Whether gradients of gradients need nothing but themselves."""
    tasks: Callable[[int], int] = lambda parts: parts
    """Most tasks that the operation may add to operands of so many parts."""
    complex: bool = True
    """Whether it is defined for complex numbers."""
    whole: bool = False
    """Whether keys or the number of blocks change: then the oracle takes maps; one array a block."""
    uniform: bool = False
    """Whether all blocks must have the same components and properties: operands are then made so."""
    rtol: float = 1e-15
    """How close values are to those of the oracle; more than rounding where the order of sums differs."""

    exact: bool = True
    """Whether any chunking gives the same bits; otherwise the same up to rounding."""

    refuses_nan: bool = False
    """Whether NaN and infinities are an error."""

    notes: tuple[str, ...] = ()
    """What the operation adds to ``info``."""

    distinct: bool = False
    """Whether no two values may be equal: a standard deviation of 0 has no second derivative."""

    def check_same(self, result: TensorMap, expected: TensorMap) -> None:
        """Compare two results of the same call on other chunks."""
        if self.exact:
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
            np.testing.assert_allclose(block.values, expected, rtol=self.rtol, atol=0, equal_nan=True)

    def expected(self, maps: Sequence[TensorMap]) -> list[Array]:
        """Values of every block of the result, by plain NumPy."""
        if self.whole:
            return list(self.oracle(*maps))
        return [self.oracle(*(map[number] for map in maps)) for number in range(len(maps[0]))]


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


# ---- operands ----
def operands(case: Case, first_seed: int = 0, **settings: Any) -> list[TensorMap]:
    maps = [operand(first_seed + n, uniform=case.uniform, **settings) for n in range(case.operands)]
    if case.distinct and maps[0].dtype != np.bool_:
        for block in (block for map in maps for block in map):
            block.values[:] += 4 * np.arange(block.values.size).reshape(block.shape).astype(block.dtype)
    return maps
