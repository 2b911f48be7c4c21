"""Rows of the table: dimensions of labels, sums over components, choosing blocks, new values, arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from tests.ops.case import Array, Case, value

same_values = value(lambda x: x)


def counted(map: TensorMap, axis: str) -> list[Array]:
    """A value for each entry of each block: its number from the end."""
    return [np.arange(len(getattr(block, axis)))[::-1] for block in map]


def blocks_where(kept: Callable[[TensorMap], list[int]]) -> Callable[[TensorMap], list[Array]]:
    return lambda map: [map[number].values for number in kept(map)]


def types(*values: int) -> Labels:
    return Labels("center_type", np.array(values)[:, None])


SEED = 17


def random(map: TensorMap) -> TensorMap:
    np.random.seed(SEED)
    return og.random_uniform_like(map)


def random_oracle(map: TensorMap) -> list[Array]:
    """Draw all numbers in one go, one array after the other."""
    np.random.seed(SEED)
    rng = np.random.default_rng(int(np.random.randint(0, 2**63 - 1, dtype=np.int64)))
    found = []
    for block in map:
        found.append(rng.random(block.shape).astype(block.dtype))
        draw_gradients(rng, block)
    return found


def draw_gradients(rng: np.random.Generator, block: TensorBlock) -> None:
    for _, gradient in block.gradients():
        rng.random(gradient.shape)
        draw_gradients(rng, gradient)


def without(map: TensorMap) -> TensorMap:
    return og.remove_dimension(og.append_dimension(map, "samples", "extra", 5), "samples", "extra")


def shifted_back(map: TensorMap, name: str) -> TensorMap:
    return og.shift_dimension(og.shift_dimension(map, name, 7), name, -7)


CASES = [
    Case(
        "append to samples",
        "append_dimension",
        lambda A: og.append_dimension(A, "samples", "x", 3),
        same_values,
    ),
    Case(
        "append to properties",
        "append_dimension",
        lambda A: og.append_dimension(A, "properties", "x", counted(A, "properties")),
        same_values,
    ),
    Case(
        "append to keys",
        "append_dimension",
        lambda A: og.append_dimension(A, "keys", "x", [4, 3, 4]),
        blocks_where(lambda A: [0, 1, 2]),
        whole=True,
    ),
    Case(
        "insert into samples",
        "insert_dimension",
        lambda A: og.insert_dimension(A, "samples", 1, "x", counted(A, "samples")),
        same_values,
    ),
    Case(
        "permute samples",
        "permute_dimensions",
        lambda A: og.permute_dimensions(A, "samples", [1, 0]),
        same_values,
    ),
    Case(
        "permute one component",
        "permute_dimensions",
        lambda A: og.permute_dimensions(A, "components", [0]),
        same_values,
    ),
    Case("remove from samples", "remove_dimension", without, same_values),
    Case(
        "rename samples",
        "rename_dimension",
        lambda A: og.rename_dimension(A, "samples", "atom", "center"),
        same_values,
    ),
    Case(
        "rename components",
        "rename_dimension",
        lambda A: og.rename_dimension(A, "components", "m", "o3_mu"),
        same_values,
    ),
    Case(
        "shift",
        "shift_dimension",
        lambda A: og.shift_dimension(A, "system", 5),
        same_values,
        differentiable=False,  # gradients are by other systems
    ),
    Case(
        "shift and back",
        "shift_dimension",
        lambda A: shifted_back(A, "system"),
        same_values,
        passes=2,
    ),
    Case(
        "sum over components",
        "sum_over_components",
        lambda A: og.sum_over_components(A, "m"),
        value(lambda x: np.add.reduce(x, axis=1, dtype=x.dtype)),
    ),
    Case(
        "filter in another order",
        "filter_blocks",
        lambda A: og.filter_blocks(A, types(8, 7, 6)),
        blocks_where(lambda A: [2, 0]),
        whole=True,
    ),
    Case(
        "filter all",
        "filter_blocks",
        lambda A: og.filter_blocks(A, A.keys),
        blocks_where(lambda A: [0, 1, 2]),
        whole=True,
    ),
    Case(
        "drop one block",
        "drop_blocks",
        lambda A: og.drop_blocks(A, types(6, 7)),
        blocks_where(lambda A: [1, 2]),
        whole=True,
    ),
    Case(
        "drop empty blocks",
        "drop_empty_blocks",
        og.drop_empty_blocks,
        blocks_where(lambda A: [0, 1]),
        whole=True,
    ),
    # Values are no function that has these gradients: those of ones are ones too.
    Case("zeros", "zeros_like", og.zeros_like, value(np.zeros_like), differentiable=False),
    Case("ones", "ones_like", og.ones_like, value(np.ones_like), differentiable=False),
    Case(
        "empty",
        "empty_like",
        lambda A: og.remove_gradients(og.zeros_like(og.empty_like(A))),
        value(np.zeros_like),
        differentiable=False,  # gradients are left out, as nothing is known of empty ones
        passes=2,
    ),
    Case(
        "random",
        "random_uniform_like",
        random,
        random_oracle,
        differentiable=False,
        whole=True,
    ),
    Case("detach", "detach", og.detach, same_values),
    Case("require no gradients", "requires_grad", lambda A: og.requires_grad(A, False), same_values),
    Case("make contiguous", "make_contiguous", og.make_contiguous, same_values),
]
