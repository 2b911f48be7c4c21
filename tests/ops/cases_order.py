"""Rows of the table: sort, split, split_by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from tests.ops.case import FEW_TASKS, Array, Case, with_info
from tests.ops.cases_basic import PROPERTIES_WANTED, SAMPLES_WANTED, SYSTEMS, rows_like


# ---- sort ----
def order_of(labels: Labels, descending: bool) -> list[int]:
    rows = [tuple(row) for row in labels.values.tolist()]
    return sorted(range(len(rows)), key=rows.__getitem__, reverse=descending)


def sorted_values(block: TensorBlock, axes: Sequence[str], descending: bool) -> Array:
    labels = [("samples", block.samples), *(("components", c) for c in block.components)]
    values = block.values
    for axis, (name, own) in enumerate([*labels, ("properties", block.properties)]):
        if name in axes:
            values = values.take(order_of(own, descending), axis=axis)
    return values


def sort_case(name: str, axes: Any, descending: bool = False) -> Case:
    every = ["keys", "samples", "components", "properties"]
    wanted = every if axes == "all" else np.atleast_1d(axes).tolist()

    def oracle(map: TensorMap) -> list[Array]:
        order = order_of(map.keys, descending) if "keys" in wanted else range(len(map))
        return [sorted_values(map.block(number), wanted, descending) for number in order]

    return Case(
        name,
        "sort",
        lambda A: og.sort(A, axes, descending),
        oracle,
        whole=True,
        passes=2,
        few_tasks=FEW_TASKS,
    )


# ---- split: the results as one map, with the number of the result before the key ----
def together(parts: Iterable[TensorMap]) -> TensorMap:
    maps = list(parts)
    table = [[number, *key] for number, map in enumerate(maps) for key in map.keys.values.tolist()]
    keys = Labels(["part", *maps[0].keys.names], table)
    return with_info(maps[0], TensorMap(keys, [block for map in maps for block in map]))


def some_results(map: TensorMap, axis: str, selections: Sequence[Any]) -> list[Array]:
    """Plain NumPy: the values of every result of every block, one result after the other."""
    found = []
    for selection in selections:
        for block in map:
            labels = getattr(block, axis)
            rows = rows_like(selection, labels) if isinstance(selection, Labels) else selection
            found.append(block.values.take(rows, axis=0 if axis == "samples" else -1))
    return found


def split_case(name: str, axis: str, selections: list[Any]) -> Case:
    return Case(
        name,
        "split",
        lambda A: together(og.split(A, axis, selections)),
        lambda map: some_results(map, axis, selections),
        whole=True,
        passes=PASSES_OF_BLOCKS,
        few_tasks=FEW_TASKS,
    )


def split_by_case(name: str, dimension: str | list[str], axis: str = "samples") -> Case:
    def values(map: TensorMap) -> list[Any]:
        """What the dimensions hold in any block: a number, or a tuple where a list of them was given."""
        names = np.atleast_1d(dimension).tolist()
        rows = {row for block in map for row in zip(*(getattr(block, axis)[n] for n in names), strict=True)}
        return sorted(
            tuple(int(number) for number in row) if isinstance(dimension, list) else int(row[0])
            for row in rows
        )

    def call(A: TensorMap) -> TensorMap:
        found = og.split_by(A, dimension, axis)
        assert list(found) == values(A)
        return together(found.values())

    def oracle(map: TensorMap) -> list[Array]:
        selections = [Labels(dimension, np.reshape(value, (1, -1))) for value in values(map)]
        return some_results(map, axis, selections)

    return Case(name, "split_by", call, oracle, whole=True, passes=PASSES_OF_BLOCKS, few_tasks=FEW_TASKS)


PASSES_OF_BLOCKS = 8
"""Every result is taken apart into blocks, which are put together again."""

CASES = [
    sort_case("sort", "all"),
    sort_case("sort descending", "all", descending=True),
    sort_case("sort samples", "samples"),
    sort_case("sort samples descending", ["samples"], descending=True),
    sort_case("sort components descending", "components", descending=True),
    sort_case("sort properties", ("properties",)),
    sort_case("sort keys", "keys"),
    sort_case("sort keys and properties descending", ["properties", "keys"], descending=True),
    split_case("split some systems", "samples", [SYSTEMS, Labels("system", [[0], [9]])]),
    split_case("split overlapping", "samples", [SAMPLES_WANTED, SYSTEMS, SAMPLES_WANTED, [], SYSTEMS]),
    split_case("split properties", "properties", [PROPERTIES_WANTED, [0], Labels("n", [[2], [4]])]),
    split_by_case("split by system", "system"),
    split_by_case("split by atom", ["atom"]),
    split_by_case("split by l", "l", axis="properties"),
]
