"""Rows of the table: joins, and operands whose keys and samples differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.data.metadata import BlockMetadata
from tests.ops.case import FEW_TASKS, Array, Case

Sample = tuple[int, ...]


# ---- the same data under other labels; also of maps that are lazy ----
def relabelled(map: TensorMap, change: Callable[[BlockMetadata], BlockMetadata] = lambda m: m) -> TensorMap:
    """A map without ``info``, whose blocks are called otherwise."""
    blocks = map._blocks()
    made = replace(blocks, metadata=tuple(change(metadata) for metadata in blocks.metadata))
    return TensorMap._of(map.keys, made, {})


def shifted(labels: Labels, by: int = 10) -> Labels:
    return Labels(labels.names, labels.values + np.int32([by] + [0] * (len(labels.names) - 1)))


def swapped(labels: Labels) -> Labels:
    return labels.permute([1, 0])


def later_systems(map: TensorMap) -> TensorMap:
    return relabelled(map, lambda m: replace(m, samples=shifted(m.samples)))


def later_atoms_first(map: TensorMap) -> TensorMap:
    """Other systems, and the dimension ``atom`` before ``system``."""
    return relabelled(map, lambda m: replace(m, samples=swapped(shifted(m.samples))))


def other_properties(map: TensorMap) -> TensorMap:
    return with_properties(map, shifted)


def renamed_properties(map: TensorMap) -> TensorMap:
    return with_properties(map, lambda labels: labels.rename("n", "radial"))


def with_properties(map: TensorMap, change: Callable[[Labels], Labels]) -> TensorMap:
    def below(metadata: BlockMetadata) -> BlockMetadata:
        gradients = {name: below(gradient) for name, gradient in metadata.gradients.items()}
        return replace(metadata, properties=change(metadata.properties), gradients=gradients)

    return relabelled(map, below)


def backwards(map: TensorMap) -> TensorMap:
    """The same set of samples in another order: row i has the label of row −i."""
    turned = lambda labels: Labels(labels.names, labels.values[::-1])  # noqa: E731
    return relabelled(map, lambda m: replace(m, samples=turned(m.samples)))


def overlapping(map: TensorMap) -> TensorMap:
    """Samples of which some are those of the operands, in another order."""

    def other(labels: Labels) -> Labels:
        return Labels(labels.names, np.column_stack([(labels["system"] + 2) % 4, labels["atom"]]))

    return relabelled(map, lambda m: replace(m, samples=other(m.samples)))


def last_key_first(map: TensorMap) -> TensorMap:
    return TensorMap(Labels(map.keys.names, map.keys.values[::-1]), map.blocks()[::-1])


def two_of_three(map: TensorMap) -> TensorMap:
    """Keys 8, 6 and 5: blocks 2, 0 and 1."""
    return TensorMap(Labels(map.keys.names, [[8], [6], [5]]), [map.block(n) for n in (2, 0, 1)])


def other_keys(map: TensorMap) -> TensorMap:
    return relabelled(TensorMap(shifted(map.keys), map.blocks()))


# ---- oracles ----
def behind(axis: int) -> Callable[..., Array]:
    return lambda *blocks: np.concatenate([block.values for block in blocks], axis=axis)


def by_key(
    combine: Callable[[Array, Array], Array], *pairs: tuple[int | None, int | None]
) -> Callable[..., list[Array]]:
    """Blocks of two maps by number; what only one of them has stays."""

    def oracle(A: TensorMap, B: TensorMap) -> list[Array]:
        out = []
        for a, b in pairs:
            found = [map[n].values for map, n in ((A, a), (B, b)) if n is not None]
            out.append(found[0] if len(found) == 1 else combine(*found))
        return out

    return oracle


def rows_of(block: TensorBlock, labels: Labels) -> dict[Sample, Array]:
    return dict(zip(map(tuple, labels.values.tolist()), block.values, strict=True))


def by_sample(
    function: Callable[[Array, Array], Array], join: str, keys: list[tuple[int | None, int | None]]
) -> Callable[..., list[Array]]:
    """Compute row by row: of the second map, the samples are those of :func:`overlapping`."""

    def oracle(A: TensorMap, B: TensorMap) -> list[Array]:
        B = overlapping(B)
        out = []
        for a, b in keys:
            other = A[a] if a is not None else B[b]
            zero = np.zeros(other.shape[1:], other.dtype)
            left = {} if a is None else rows_of(A[a], A[a].samples)
            right = {} if b is None else rows_of(B[b], B[b].samples)
            if join == "inner":
                samples = [sample for sample in left if sample in right]
            elif a is None or b is None or list(left) == list(right):
                samples = list(left or right)
            else:
                samples = sorted({**left, **right})
            rows = [function(left.get(sample, zero), right.get(sample, zero)) for sample in samples]
            empty = function(zero[None][:0], zero[None][:0])
            out.append(np.stack(rows) if rows else empty)
        return out

    return oracle


INNER_KEYS: list[tuple[int | None, int | None]] = [(0, 0), (2, 2)]
OUTER_KEYS: list[tuple[int | None, int | None]] = [(0, 0), (1, None), (2, 2), (None, 1)]


CASES = [
    Case(
        "join samples",
        "join",
        lambda A, B: og.join([A, later_systems(B)], "samples"),
        behind(0),
        2,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join samples of the same names",
        "join",
        lambda A, B: og.join([A, relabelled(B)], "samples", add_dimension="part"),
        behind(0),
        2,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join samples with dimensions in another order",
        "join",
        lambda A, B: og.join((A, later_atoms_first(B)), "samples"),
        behind(0),
        2,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join properties",
        "join",
        lambda A, B: og.join([A, other_properties(B)], "properties"),
        behind(-1),
        2,
        rule="properties",
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join properties of the same names",
        "join",
        lambda A, B: og.join([A, relabelled(B)], "properties", add_dimension="part"),
        behind(-1),
        2,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join properties of other names",
        "join",
        lambda A, B: og.join([A, renamed_properties(B), relabelled(A)], "properties"),
        lambda x, y: np.concatenate([x.values, y.values, x.values], axis=-1),
        2,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join keys",
        "join",
        lambda A, B: og.join([A, other_keys(B)], "keys"),
        lambda A, B: [block.values for map in (A, B) for block in map],
        2,
        rule="keys",
        whole=True,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join keys with a dimension",
        "join",
        lambda A, B: og.join([A, relabelled(B)], "keys", add_dimension="part"),
        lambda A, B: [block.values for map in (A, B) for block in map],
        2,
        whole=True,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join samples of all keys",
        "join",
        lambda A, B: og.join([A, two_of_three(later_systems(B))], "samples", different_keys="union"),
        by_key(lambda x, y: np.concatenate([x, y]), *OUTER_KEYS),
        2,
        whole=True,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "join properties of common keys",
        "join",
        lambda A, B: og.join(
            [A, two_of_three(other_properties(B))], "properties", different_keys="intersection"
        ),
        by_key(lambda x, y: np.concatenate([x, y], axis=-1), *INNER_KEYS),
        2,
        whole=True,
        few_tasks=FEW_TASKS,
    ),
    *(
        Case(
            f"join {axis} of one map",
            "join",
            lambda A, axis=axis: og.join([A], axis, add_dimension="part"),
            lambda block: block.values,
        )
        for axis in ("samples", "properties")
    ),
    Case(
        "add samples in another order",
        "add",
        lambda A, B: og.add(A, backwards(B)),
        lambda x, y: x.values + y.values[::-1],
        2,
        passes=3,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "divide by blocks in another order",
        "divide",
        lambda A, B: A / last_key_first(backwards(B)),
        lambda x, y: x.values / y.values[::-1],
        2,
        linear=False,
        passes=3,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "multiply common samples",
        "multiply",
        lambda A, B: og.multiply(A, two_of_three(overlapping(B)), align="inner"),
        by_sample(np.multiply, "inner", INNER_KEYS),
        2,
        linear=False,
        whole=True,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "add all samples",
        "add",
        lambda A, B: og.add(A, two_of_three(overlapping(B)), align="outer"),
        by_sample(np.add, "outer", OUTER_KEYS),
        2,
        rule="outer",
        whole=True,
        passes=2,
        few_tasks=FEW_TASKS,
    ),
    Case(
        "multiply all samples",
        "multiply",
        lambda A, B: og.multiply(A, two_of_three(overlapping(B)), align="outer"),
        by_sample(np.multiply, "outer", OUTER_KEYS),
        2,
        rule="outer",
        linear=False,
        whole=True,
        passes=2,
        few_tasks=FEW_TASKS,
    ),
]
