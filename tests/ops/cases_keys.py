"""Rows of the table: dimensions that move from keys to properties and samples, and from components."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from tests.ops.case import FEW_TASKS, Array, Case, with_info

Entry = tuple[int, ...]
Cell = dict[tuple[Entry, Entry], Array]

REQUESTED = Labels(["neighbor_type"], [[8], [7], [1]])
ALL_NAMES = ["neighbor_type", "center_type"]


def entries(labels: Labels) -> list[Entry]:
    return [tuple(int(value) for value in row) for row in labels.values]


def merged_groups(map: TensorMap, names: Sequence[str]) -> list[list[tuple[Entry, TensorBlock]]]:
    """Blocks that are merged, each with its part of the key that moves."""
    groups: dict[Entry, list[tuple[Entry, TensorBlock]]] = {}
    for key, block in map.items():
        kept = tuple(int(key[name]) for name in map.keys.names if name not in names)
        groups.setdefault(kept, []).append((tuple(int(key[name]) for name in names), block))
    return list(groups.values())


def filled(
    cells: Cell, rows: Sequence[Entry], columns: Sequence[Entry], block: TensorBlock, fill: float
) -> Array:
    """Look every cell up by its labels."""
    components = block.shape[1:-1]
    out = np.full((len(rows), *components, len(columns)), fill).astype(block.dtype)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            if (row, column) in cells:
                out[r, ..., c] = cells[row, column]
    return out


def first_seen(found: Sequence[Entry], sort: bool) -> list[Entry]:
    distinct = list(dict.fromkeys(found))
    return sorted(distinct) if sort else distinct


def to_properties(
    *names: str, fill: float = 0.0, sort: bool = True, requested: Labels | None = None
) -> Callable[[TensorMap], list[Array]]:
    def oracle(map: TensorMap) -> list[Array]:
        out = []
        for group in merged_groups(map, names):
            cells: Cell = {
                (sample, (*key, *prop)): block.values[s, ..., p]
                for key, block in group
                for s, sample in enumerate(entries(block.samples))
                for p, prop in enumerate(entries(block.properties))
            }
            keys = [key for key, _ in group] if requested is None else entries(requested)
            own = {key: entries(block.properties) for key, block in group}
            columns = [
                (*key, *prop) for key in keys for prop in own.get(key, entries(group[0][1].properties))
            ]
            rows = first_seen([s for _, block in group for s in entries(block.samples)], sort)
            out.append(filled(cells, rows, columns, group[0][1], fill))
        return out

    return oracle


def to_samples(*names: str, fill: float = 0.0, sort: bool = True) -> Callable[[TensorMap], list[Array]]:
    def oracle(map: TensorMap) -> list[Array]:
        out = []
        for group in merged_groups(map, names):
            cells: Cell = {
                ((*sample, *key), prop): block.values[s, ..., p]
                for key, block in group
                for s, sample in enumerate(entries(block.samples))
                for p, prop in enumerate(entries(block.properties))
            }
            rows = first_seen([(*s, *key) for key, block in group for s in entries(block.samples)], sort)
            columns = first_seen([p for _, block in group for p in entries(block.properties)], False)
            out.append(filled(cells, rows, columns, group[0][1], fill))
        return out

    return oracle


def other_properties(map: TensorMap) -> TensorMap:
    """The first block without its first property, so that blocks differ."""
    blocks = map.blocks()
    chosen = og.slice_block(blocks[0], "properties", np.arange(1, len(blocks[0].properties)))
    return TensorMap(map.keys, [chosen, *blocks[1:]])


def folded(block: TensorBlock) -> Array:
    """One component goes in front of the properties."""
    out = np.empty((len(block), block.shape[1] * block.shape[2]), block.dtype)
    for m in range(block.shape[1]):
        for p in range(block.shape[2]):
            out[:, m * block.shape[2] + p] = block.values[:, m, p]
    return out


def merging(
    name: str,
    operation: str,
    call: Callable[[TensorMap], TensorMap],
    oracle: Callable[[TensorMap], list[Array]],
    rule: str = "",
    differentiable: bool = True,
    passes: int = 1,
) -> Case:
    """Keys change; and blocks that are merged have the same components."""
    return Case(
        name,
        operation,
        call,
        oracle,
        rule=rule,
        differentiable=differentiable,
        whole=True,
        uniform=True,
        passes=passes,
        few_tasks=FEW_TASKS,
    )


CASES = [
    merging(
        "keys to properties",
        "keys_to_properties",
        lambda A: og.keys_to_properties(A, "neighbor_type"),
        to_properties("neighbor_type"),
    ),
    merging(
        "keys to properties, samples as they appear",
        "keys_to_properties",
        lambda A: A.keys_to_properties("center_type", sort_samples=False),
        to_properties("center_type", sort=False),
    ),
    merging(
        "all keys to properties",
        "keys_to_properties",
        lambda A: A.keys_to_properties(ALL_NAMES),
        to_properties(*ALL_NAMES),
    ),
    merging(
        "no keys to properties",
        "keys_to_properties",
        lambda A: A.keys_to_properties([]),
        to_properties(),
    ),
    merging(
        "requested keys to properties",
        "keys_to_properties",
        lambda A: A.keys_to_properties(REQUESTED),
        to_properties("neighbor_type", requested=REQUESTED),
    ),
    merging(
        "keys to properties, filled with 1",
        "keys_to_properties",
        lambda A: A.keys_to_properties(ALL_NAMES, fill_value=1),
        to_properties(*ALL_NAMES, fill=1.0),
        rule="filled",
        differentiable=False,  # gradients are filled with 1 as well
    ),
    merging(
        "keys to properties that differ",
        "keys_to_properties",
        lambda A: with_info(A, other_properties(A).keys_to_properties("neighbor_type")),
        lambda A: to_properties("neighbor_type")(other_properties(A)),
        passes=2,  # a block is cut first
    ),
    merging(
        "keys to samples",
        "keys_to_samples",
        lambda A: og.keys_to_samples(A, "neighbor_type"),
        to_samples("neighbor_type"),
    ),
    merging(
        "keys to samples, as they appear",
        "keys_to_samples",
        lambda A: A.keys_to_samples(["center_type"], sort_samples=False),
        to_samples("center_type", sort=False),
    ),
    merging(
        "all keys to samples",
        "keys_to_samples",
        lambda A: A.keys_to_samples(ALL_NAMES),
        to_samples(*ALL_NAMES),
    ),
    merging(
        "no keys to samples, as they appear",
        "keys_to_samples",
        lambda A: A.keys_to_samples(Labels.empty([]), sort_samples=False),
        to_samples(sort=False),
    ),
    merging(
        "keys to samples, properties differ",
        "keys_to_samples",
        lambda A: with_info(A, other_properties(A).keys_to_samples("neighbor_type")),
        lambda A: to_samples("neighbor_type")(other_properties(A)),
        passes=2,  # a block is cut first
    ),
    merging(
        "keys to samples, filled with 1",
        "keys_to_samples",
        lambda A: with_info(A, other_properties(A).keys_to_samples(ALL_NAMES, fill_value=1.0)),
        lambda A: to_samples(*ALL_NAMES, fill=1.0)(other_properties(A)),
        rule="filled",
        differentiable=False,  # the same
        passes=2,  # a block is cut first
    ),
    Case(
        "components to properties",
        "components_to_properties",
        lambda A: og.components_to_properties(A, "m"),
        folded,
    ),
]
