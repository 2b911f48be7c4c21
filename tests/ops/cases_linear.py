"""Rows of the table: dot with gradients on the right, systems of linear equations."""

from __future__ import annotations

from typing import Any

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from tests.ops.case import Array, Case


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


def tree(parts: int) -> int:
    """A factor for each part, a tree of 16, and the solutions."""
    return parts + parts // 15 + 2 + parts


SYSTEMS: dict[str, Any] = {
    "operands": 2,
    "differentiable": False,
    "exact": False,
    "refuses_nan": True,
    "rtol": 1e-9,
}

CASES = [
    Case(
        "dot, gradients on both sides",
        "dot",
        lambda A, B: og.dot(A, on_the_right(B)),
        lambda a, b: np.einsum("s...p,qp->s...q", a.values, without_component(b)),
        operands=2,
        linear=False,
        tasks=lambda parts: 3 * parts + 12,
    ),
    Case(
        "dot, gradients on the right",
        "dot",
        lambda A: og.dot(og.remove_gradients(A), on_the_right(A)),
        lambda a: np.einsum("s...p,qp->s...q", a.values, without_component(a)),
        differentiable=False,
        tasks=lambda parts: 4 * parts + 12,
    ),
    Case(
        "lstsq",
        "lstsq",
        lambda X, Y: og.lstsq(X, Y, None),
        least_squares,
        notes=("lstsq",),
        tasks=tree,
        **SYSTEMS,
    ),
    Case(
        "solve",
        "solve",
        call_solve,
        solve_oracle,
        notes=("solve",),
        whole=True,
        tasks=lambda parts: 20 * parts + 20,
        **SYSTEMS,
    ),
]
