"""Maps for benchmarks: the shapes of atomistic data, numbers without meaning, for both libraries alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import metatensor
import numpy as np
import numpy.typing as npt

import outgrad

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BlockArrays:
    """The arrays of a block with one gradient with respect to positions."""

    values: Array
    samples: Array
    gradient: Array
    rows: Array
    properties: Array

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.gradient.nbytes


def block_arrays(
    rng: np.random.Generator, systems: int, atoms: int, neighbors: int, properties: int, first: int = 0
) -> BlockArrays:
    """A block of ``systems`` × ``atoms`` samples, each with ``neighbors`` gradient rows in x, y and z."""
    samples = np.array([(s, a) for s in range(first, first + systems) for a in range(atoms)], np.int32)
    count = len(samples)
    sample = np.repeat(np.arange(count, dtype=np.int32), neighbors)
    step = np.tile(np.arange(neighbors, dtype=np.int32), count)
    rows = np.column_stack([sample, samples[sample, 0], step])  # the neighbors are the first atoms
    column = np.arange(properties)
    table = np.column_stack([column // 8, column % 8]).astype(np.int32)
    return BlockArrays(
        rng.uniform(0.5, 1.5, (count, properties)),
        samples,
        rng.uniform(-1, 1, (len(rows), 3, properties)),
        rows.astype(np.int32),
        table,
    )


def make_block(library: Any, arrays: BlockArrays, gradients: bool = True) -> Any:
    """A block of either library that shares the arrays."""
    properties = library.Labels(["l", "n"], arrays.properties)
    samples = library.Labels(["system", "atom"], arrays.samples)
    block = library.TensorBlock(arrays.values, samples, [], properties)
    if gradients:
        rows = library.Labels(["sample", "system", "atom"], arrays.rows)
        xyz = library.Labels("xyz", np.arange(3).reshape(3, 1))
        block.add_gradient("positions", library.TensorBlock(arrays.gradient, rows, [xyz], properties))
    return block


def make_map(library: Any, blocks: list[BlockArrays], gradients: bool = True) -> Any:
    """A map of either library that shares the arrays; keys are pairs of types."""
    keys = np.array([(n // 4, n % 4) for n in range(len(blocks))], np.int32)
    labels = library.Labels(["center_type", "neighbor_type"], keys)
    return library.TensorMap(labels, [make_block(library, own, gradients) for own in blocks])


def both(blocks: list[BlockArrays], gradients: bool = True) -> tuple[Any, Any]:
    """The same map for Outgrad and for metatensor."""
    return make_map(outgrad, blocks, gradients), make_map(metatensor, blocks, gradients)
