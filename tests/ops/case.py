"""What a row of the table of operations is, and the operands that every row is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import Parameter, assert_identical, random_block

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


# ---- operands: sorted samples, samples in any order, no samples; lengths differ between blocks ----
KEYS = Labels(["center_type"], [[6], [1], [8]])
SAMPLES = [
    Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0], [1, 2], [1, 3], [3, 0], [3, 1]]),
    Labels(["system", "atom"], [[2, 1], [0, 1], [0, 0], [2, 0]]),
    Labels.empty(["system", "atom"]),
]
COMPONENTS = [Labels.range("m", 3), Labels.range("m", 1), Labels.range("m", 2)]
PROPERTIES = [
    Labels(["n", "l"], [[0, 0], [0, 1], [2, 1], [1, 0]]),
    Labels(["n", "l"], [[4, 0], [4, 1]]),
    Labels(["n", "l"], [[4, 0]]),
]

UNIFORM_KEYS = Labels(["center_type", "neighbor_type"], [[6, 1], [1, 8], [6, 8]])
"""Keys, components and properties of operands whose blocks can be merged; samples are ``SAMPLES``."""
UNIFORM_COMPONENT = Labels.range("m", 3)
UNIFORM_PROPERTIES = Labels(["n", "l"], [[0, 0], [2, 1], [0, 1]])

FLAT = {"cell": Parameter(), "positions": Parameter((3,)), "strain": Parameter((3, 3))}


def operand(
    seed: int,
    parameters: Mapping[str, Parameter] = FLAT,
    sparsity: float = 0.3,
    dtype: npt.DTypeLike = "float64",
    order: Any = "sorted",
    uniform: bool = False,
) -> TensorMap:
    """One map of the shape that the cases expect; gradient rows differ from seed to seed."""
    rng = np.random.default_rng(seed)
    components = [UNIFORM_COMPONENT] * len(SAMPLES) if uniform else COMPONENTS
    properties = [UNIFORM_PROPERTIES] * len(SAMPLES) if uniform else PROPERTIES
    blocks = [
        random_block(rng, s, [c], p, parameters, sparsity=sparsity, dtype=dtype, order=order)
        for s, c, p in zip(SAMPLES, components, properties, strict=True)
    ]
    map = TensorMap(UNIFORM_KEYS if uniform else KEYS, blocks)
    map.set_info("source", f"seed {seed}")
    return map


def operands(case: Case, first_seed: int = 0, **settings: Any) -> list[TensorMap]:
    maps = [operand(first_seed + n, uniform=case.uniform, **settings) for n in range(case.operands)]
    if case.distinct and maps[0].dtype != np.bool_:
        for block in (block for map in maps for block in map):
            block.values[:] += 4 * np.arange(block.values.size).reshape(block.shape).astype(block.dtype)
    return maps
