"""Rows of the table: dot with gradients on the right, systems of linear equations."""

from __future__ import annotations

from typing import Any

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from tests.ops.case import FEW_TASKS, Array, Case, Exceptions


# ---- dot ----
def on_the_right(map: TensorMap) -> TensorMap:
    """A map without components: its samples become properties."""
    return og.sum_over_components(map, "m")


def without_component(block: TensorBlock) -> Array:
    return block.values.sum(axis=1, dtype=block.dtype)


# ---- equations: values and gradients of any order ----
def stacked(x: TensorBlock, y: TensorBlock, samples: Any = None) -> tuple[Array, Array]:
    """The matrices A and B of A w = B, a row for each row of either block and each component."""
    wide = np.result_type(x.dtype, y.dtype, np.float64)
    sides = [_rows(block, wide) for block in (x, y)]
    rows = sorted({*sides[0], *sides[1]}, key=str)
    widths = [len(block.properties) for block in (x, y)]
    left, right = (
        [np.reshape(own.get(row, 0), (-1, width)) if row in own else None for row in rows]
        for own, width in zip(sides, widths, strict=True)
    )
    for n, (a, b) in enumerate(zip(left, right, strict=True)):
        left[n] = np.zeros((len(b), widths[0]), wide) if a is None else a
        right[n] = np.zeros((len(a), widths[1]), wide) if b is None else b
    empty = [np.zeros((0, width), wide) for width in widths]
    return np.concatenate([empty[0], *left]), np.concatenate([empty[1], *right])


def _rows(block: TensorBlock, dtype: Any, where: Any = None) -> dict[Any, Array]:
    """Every row of a block by its labels: the path of parameters, and labels from the sample on."""
    own = [(n,) for n in range(len(block))] if where is None else where
    found = {("rows", *label): value.astype(dtype) for label, value in zip(own, block.values, strict=True)}
    for name, gradient in block.gradients():
        below = [(*own[row[0]], name, *row[1:].tolist()) for row in gradient.samples.values]
        found.update(_rows(gradient, dtype, below))
    return found


def least_squares(x: TensorBlock, y: TensorBlock) -> Array:
    a, b = stacked(x, y)
    dtype = np.result_type(x.dtype, y.dtype)
    weights = np.linalg.lstsq(a, b, rcond=None)[0]
    return weights.T.astype(dtype if dtype.kind in "fc" else np.float64)


def square(map: TensorMap) -> TensorMap:
    """As many samples as properties, where there are any."""
    summed = og.sum_over_components(map, "m")
    blocks = [og.slice_block(b, "samples", list(range(b.shape[1]))) for b in summed.blocks()[:2]]
    return like(map, blocks)


def like(map: TensorMap, blocks: list[TensorBlock]) -> TensorMap:
    made = TensorMap(Labels(map.keys.names, map.keys.values[: len(blocks)]), blocks)
    for name, text in map.info().items():
        made.set_info(name, text)
    return made


def diagonal(map: TensorMap) -> TensorMap:
    """50 on the diagonal, and gradients without rows: with it a square map is far from singular."""
    dtype = map.dtype if map.dtype.kind in "fc" else np.dtype(np.float64)
    return like(
        map, [constant(block, 50 * np.eye(*block.shape, dtype=dtype), block.samples) for block in map]
    )


def constant(pattern: TensorBlock, values: Array, samples: Labels) -> TensorBlock:
    made = TensorBlock(values, samples, pattern.components, pattern.properties)
    for name, gradient in pattern.gradients():
        rows = Labels.empty(gradient.samples.names)
        made.add_gradient(name, constant(gradient, np.zeros((0, *gradient.shape[1:]), values.dtype), rows))
    return made


def call_solve(x: TensorMap, y: TensorMap) -> TensorMap:
    x = square(x)
    return og.solve(og.add(x, diagonal(x)), square(y))


def solve_oracle(x: TensorMap, y: TensorMap) -> list[Array]:
    x = square(x)
    return [least_squares(a, b) for a, b in zip(og.add(x, diagonal(x)), square(y), strict=True)]


def equations(operation: str, own_operand: bool = False) -> Exceptions:
    return Exceptions(
        rtol=1e-9,
        order_matters=True,
        refuses_nan=True,
        adds_info=(operation,),
        own_operand=own_operand,
    )


CASES = [
    Case(
        "dot, gradients on both sides",
        "dot",
        lambda A, B: og.dot(A, on_the_right(B)),
        lambda a, b: np.einsum("s...p,qp->s...q", a.values, without_component(b)),
        operands=2,
        linear=False,
        passes=2,  # of either side
        few_tasks=FEW_TASKS,
    ),
    Case(
        "dot, gradients on the right",
        "dot",
        lambda A: og.dot(og.remove_gradients(A), on_the_right(A)),
        lambda a: np.einsum("s...p,qp->s...q", a.values, without_component(a)),
        differentiable=False,  # the left side varies too, without gradients
        rule="right",
        passes=3,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "lstsq",
        "lstsq",
        lambda X, Y: og.lstsq(X, Y, None),
        least_squares,
        2,
        differentiable=False,  # gradient rows are more equations
        few_tasks=FEW_TASKS,
        exceptions=equations("lstsq"),
    ),
    Case(
        "solve",
        "solve",
        call_solve,
        solve_oracle,
        2,
        differentiable=False,  # the same
        whole=True,
        passes=7,  # square matrices are made first, block by block
        few_tasks=FEW_TASKS,
        exceptions=equations("solve", own_operand=True),
    ),
]
