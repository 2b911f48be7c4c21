"""Rows of the table: pointwise operations, sums, slices, dot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import random_values
from tests.ops.case import FEW_TASKS, Array, Case, Exceptions, sum_properties, sum_samples, value, with_info
from tests.support.operands import PROPERTIES


def weights(map: TensorMap) -> TensorMap:
    """The right side of dot: 3 rows for each block."""
    rng = np.random.default_rng(7)
    return TensorMap(
        map.keys,
        [
            TensorBlock(
                random_values(rng, (3, len(block.properties)), map.dtype),
                Labels.range("q", 3),
                [],
                block.properties,
            )
            for block in map
        ],
    )


def dot_oracle(block: TensorBlock) -> Array:
    # weights() draws the numbers of one block after the other: look this one up by its properties.
    rng = np.random.default_rng(7)
    for properties in PROPERTIES:
        rows = random_values(rng, (3, len(properties)), block.dtype)
        if properties == block.properties:
            return np.einsum("s...p,qp->s...q", block.values, rows)
    raise AssertionError("a block of other properties")


# ---- choosing samples and properties, block by block ----
Positions = Callable[[int], Any]


def each_block(map: TensorMap, function: Callable[[TensorBlock], TensorBlock]) -> TensorMap:
    return with_info(map, TensorMap(map.keys, [function(block) for block in map]))


def choose(axis: str, positions: Positions) -> Callable[[TensorMap], TensorMap]:
    where = 0 if axis == "samples" else -1
    return lambda map: each_block(map, lambda b: og.slice_block(b, axis, positions(b.shape[where])))


def chosen_samples(positions: Positions) -> Callable[[TensorBlock], Array]:
    return lambda block: block.values[positions(len(block))]


def chosen_properties(positions: Positions) -> Callable[[TensorBlock], Array]:
    return lambda block: block.values[..., positions(len(block.properties))]


def first_and_last(count: int) -> list[int]:
    return [0, -1][:count]


def backwards(count: int) -> Array:
    return np.arange(count)[::-1].copy()


def every_other(count: int) -> Array:
    return np.arange(count) % 2 == 0


def nothing(count: int) -> list[int]:
    return []


SYSTEMS = Labels(["system"], [[3], [1], [9]])
SAMPLES_WANTED = Labels(["system", "atom"], [[1, 3], [2, 0], [0, 1], [0, 7]])
PROPERTIES_WANTED = Labels(["l"], [[1]])


def rows_like(wanted: Labels, labels: Labels) -> list[int]:
    columns = [labels.names.index(name) for name in wanted.names]
    if wanted.names == labels.names:
        known = [tuple(row) for row in labels.values]
        return [known.index(tuple(row)) for row in wanted.values if tuple(row) in known]
    asked = {tuple(row) for row in wanted.values}
    return [place for place, row in enumerate(labels.values) if tuple(row[columns]) in asked]


CASES = [
    Case("add maps", "add", og.add, value(lambda x, y: x + y), 2),
    Case("add number", "add", lambda A: og.add(A, 2), value(lambda x: x + 2.0), rule="number"),
    Case("number + map", "add", lambda A: 2.5 + A, value(lambda x: 2.5 + x), rule="number"),
    Case(
        "subtract maps",
        "subtract",
        og.subtract,
        value(lambda x, y: x - y),
        2,
        exceptions=Exceptions(refuses_booleans="boolean subtract"),
    ),
    Case(
        "subtract number", "subtract", lambda A: og.subtract(A, 0.5), value(lambda x: x - 0.5), rule="number"
    ),
    Case("number - map", "subtract", lambda A: 3 - A, value(lambda x: 3.0 - x), rule="from number"),
    Case("multiply maps", "multiply", og.multiply, value(lambda x, y: x * y), 2, linear=False),
    Case(
        "multiply number",
        "multiply",
        lambda A: og.multiply(A, -1.5),
        value(lambda x: x * -1.5),
        rule="number",
    ),
    Case("number * map", "multiply", lambda A: 2 * A, value(lambda x: 2.0 * x), rule="number"),
    Case("square", "multiply", lambda A: A * A, value(lambda x: x * x), linear=False),
    Case("divide maps", "divide", og.divide, value(lambda x, y: x / y), 2, linear=False),
    Case("divide number", "divide", lambda A: og.divide(A, 3), value(lambda x: x / 3.0), rule="number"),
    Case("number / map", "divide", lambda A: 3 / A, value(lambda x: 3.0 / x), rule="of number", linear=False),
    Case("pow 2", "pow", lambda A: og.pow(A, 2), value(lambda x: x**2.0), linear=False),
    Case("pow 3", "pow", lambda A: A**3, value(lambda x: x**3.0), linear=False),
    Case("pow -1", "pow", lambda A: og.pow(A, -1), value(lambda x: x**-1.0), rule="-1", linear=False),
    Case("pow 0", "pow", lambda A: og.pow(A, 0), value(lambda x: x**0.0), rule="0"),
    Case("pow 1", "pow", lambda A: og.pow(A, 1), value(lambda x: x**1.0), rule="1"),
    Case(
        "pow 1/2",
        "pow",
        lambda A: og.pow(og.abs(A), 0.5),
        value(lambda x: np.abs(x) ** 0.5),
        rule="1/2",
        linear=False,
        passes=2,  # abs, then the power
    ),
    Case("number ** map", "pow", lambda A: 2**A, value(lambda x: 2.0**x), rule="of number", linear=False),
    Case("abs", "abs", og.abs, value(np.abs)),
    Case("- map", "multiply", lambda A: -A, value(lambda x: x * -1.0), rule="number"),
    Case("+ map", "multiply", lambda A: +A, value(lambda x: x), rule="plus"),
    Case(
        "sum over atoms",
        "sum_over_samples",
        lambda A: og.sum_over_samples(A, "atom"),
        sum_samples("atom"),
        few_tasks=FEW_TASKS,
    ),
    Case(
        "sum over systems",
        "sum_over_samples",
        lambda A: og.sum_over_samples(A, ["system"]),
        sum_samples("system"),
        few_tasks=FEW_TASKS,
    ),
    Case(
        "sum over all samples",
        "sum_over_samples",
        lambda A: og.sum_over_samples(A, ["system", "atom"]),
        sum_samples("system", "atom"),
        few_tasks=FEW_TASKS,
    ),
    Case(
        "sum over no samples",
        "sum_over_samples",
        lambda A: og.sum_over_samples(A, []),
        sum_samples(),
        few_tasks=FEW_TASKS,
    ),
    Case(
        "sum over n",
        "sum_over_properties",
        lambda A: og.sum_over_properties(A, "n"),
        sum_properties("n"),
    ),
    Case(
        "sum over l",
        "sum_over_properties",
        lambda A: og.sum_over_properties(A, ["l"]),
        sum_properties("l"),
    ),
    Case(
        "sum over all properties",
        "sum_over_properties",
        lambda A: og.sum_over_properties(A, ["n", "l"]),
        sum_properties("n", "l"),
    ),
    Case(
        "samples of some systems",
        "slice",
        lambda A: og.slice(A, "samples", SYSTEMS),
        lambda block: block.values[rows_like(SYSTEMS, block.samples)],
    ),
    Case(
        "samples in the order of labels",
        "slice",
        lambda A: og.slice(A, "samples", SAMPLES_WANTED),
        lambda block: block.values[rows_like(SAMPLES_WANTED, block.samples)],
        few_tasks=FEW_TASKS,
    ),
    *(
        Case(
            f"samples {positions.__name__}",
            "slice",
            choose("samples", positions),
            chosen_samples(positions),
            passes=2,  # blocks are worked on one by one, and put together again
            few_tasks=FEW_TASKS,
        )
        for positions in (first_and_last, backwards, every_other, nothing)
    ),
    Case(
        "properties of some l",
        "slice",
        lambda A: og.slice(A, "properties", PROPERTIES_WANTED),
        lambda block: block.values[..., rows_like(PROPERTIES_WANTED, block.properties)],
        rule="properties",
    ),
    *(
        Case(
            f"properties {positions.__name__}",
            "slice",
            choose("properties", positions),
            chosen_properties(positions),
            passes=3,  # the same
            few_tasks=FEW_TASKS,
        )
        for positions in (first_and_last, backwards, every_other, nothing)
    ),
    Case(
        "remove gradients", "remove_gradients", og.remove_gradients, value(lambda x: x), differentiable=False
    ),
    Case(
        "remove one gradient",
        "remove_gradients",
        lambda A: og.remove_gradients(A, "cell"),
        value(lambda x: x),
        differentiable=False,
    ),
    Case(
        "dot",
        "dot",
        lambda A: og.dot(A, weights(A)),
        dot_oracle,
        few_tasks=FEW_TASKS,
        exceptions=Exceptions(own_operand=True),
    ),
    Case(
        "map @ chunks",
        "dot",
        lambda A: A @ weights(A).chunk(target_bytes=64),
        dot_oracle,
        passes=2,  # the right side has chunks of its own
        few_tasks=FEW_TASKS,
        exceptions=Exceptions(is_lazy=True),
    ),
]
