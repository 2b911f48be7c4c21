"""The maps that operations are tested with, their gradients, and the chunks that they are cut into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import Parameter, random_block

# ---- labels: sorted samples, samples in any order, no samples; lengths differ between blocks ----
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

# ---- gradients ----
FLAT = {"cell": Parameter(), "positions": Parameter((3,)), "strain": Parameter((3, 3))}

CLOSED = {
    "cell": Parameter((), {"positions": Parameter((3,))}),
    "positions": Parameter((3,), {"cell": Parameter(), "positions": Parameter((3,))}),
}
"""Each gradient is differentiated by parameters that the values have too; positions also by itself."""

THIRD = {
    "cell": Parameter(
        (),
        {"positions": Parameter((3,), {"cell": Parameter()}), "cell": Parameter((), {"cell": Parameter()})},
    ),
    "positions": Parameter((3,), {"cell": Parameter((), {"cell": Parameter()})}),
}

OPEN = {"positions": Parameter((3,), {"cell": Parameter()})}
"""The gradient is differentiated by a parameter that the values have no gradient of."""

# ---- chunks: the samples at which each block is cut, for tests.support.lazy.cut_at ----
Cuts = list[list[int]]

ONE_ROW: Cuts = [list(range(len(samples) + 1)) if len(samples) else [0, 0] for samples in SAMPLES]
EMPTY_CHUNKS: Cuts = [[0, 0, 2, 2, 5, 7, 7], [0, 0, 4], [0, 0, 0]]
ACROSS_SYSTEMS: Cuts = [[0, 1, 4, 7], [0, 3, 4], [0, 0]]
WHOLE: Cuts = [[0, len(samples)] for samples in SAMPLES]
CUTS = {"one row": ONE_ROW, "empty chunks": EMPTY_CHUNKS, "across systems": ACROSS_SYSTEMS, "whole": WHOLE}


def operand(
    seed: int,
    parameters: Mapping[str, Parameter] = FLAT,
    sparsity: float = 0.3,
    dtype: npt.DTypeLike = "float64",
    order: Any = "sorted",
    uniform: bool = False,
) -> TensorMap:
    """One map of these labels; gradient rows differ from seed to seed."""
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


# ---- several operands as one map, so that all of them move together ----
def stacked(maps: list[TensorMap]) -> TensorMap:
    """Put maps of the same keys into one, with the number of the map before the key."""
    keys = maps[0].keys
    table = np.column_stack(
        [np.repeat(np.arange(len(maps)), len(keys)), np.tile(keys.values, (len(maps), 1))]
    )
    return TensorMap(Labels(["operand", *keys.names], table), [block for map in maps for block in map])


def unstacked(map: TensorMap) -> list[TensorMap]:
    """The maps that :func:`stacked` was given."""
    blocks = map.blocks()
    keys = Labels(map.keys.names[1:], map.keys.values[map.keys["operand"] == 0][:, 1:])
    return [TensorMap(keys, blocks[start : start + len(keys)]) for start in range(0, len(blocks), len(keys))]


# ---- gradients at every depth ----
def at_every_depth(block: TensorBlock) -> list[TensorBlock]:
    """The block, its gradients, and theirs."""
    return [block, *(below for _, gradient in block.gradients() for below in at_every_depth(gradient))]


def arrays(tensor: TensorMap | TensorBlock) -> list[Any]:
    """The values of a map or block, and those of its gradients at every depth."""
    blocks = tensor if isinstance(tensor, TensorMap) else [tensor]
    return [own.values for block in blocks for own in at_every_depth(block)]
