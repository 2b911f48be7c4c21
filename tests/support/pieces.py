"""Maps that are parts of one: appended one after the other they make what :func:`joined` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import outgrad as og
from outgrad.testing.random_blocks import Order, Parameter, random_block

GRADIENTS = {"positions": Parameter((3,), {"cell": Parameter((3, 3))})}


def piece(
    seed: int,
    *,
    first: int | None = None,
    systems: int = 3,
    keys: Sequence[int] = (0, 1),
    properties: Sequence[int] = (0, 1),
    order: Order = "sorted",
    dtype: str = "float64",
    gradients: Any = GRADIENTS,
    shuffled: bool = False,
) -> og.TensorMap:
    """A map of the systems from ``first`` on, by default others for each seed, with two atoms each."""
    rng = np.random.default_rng(seed)
    first = 10 * seed if first is None else first
    rows = np.array([[first + s, atom] for s in range(systems) for atom in range(2)]).reshape(-1, 2)
    samples = og.Labels(["system", "atom"], rng.permutation(rows) if shuffled else rows)
    columns = og.Labels("n", np.array(properties)[:, None])
    blocks = [
        random_block(rng, samples, [og.Labels.range("m", 2)], columns, gradients, order=order, dtype=dtype)
        for _ in keys
    ]
    return og.TensorMap(og.Labels("key", np.array(keys)[:, None]), blocks)


def joined(pieces: Sequence[og.TensorMap], fill: float = 0.0) -> og.TensorMap:
    """The pieces one after the other, by NumPy alone."""
    keys = list(dict.fromkeys(int(key) for each in pieces for key in each.keys["key"]))
    blocks = []
    for key in keys:
        parts = [each.block(key=key) for each in pieces if key in each.keys["key"]]
        blocks.append(_joined_blocks(parts, [np.arange(len(part.samples)) for part in parts], fill))
    info = {name: text for each in reversed(pieces) for name, text in each.info().items()}
    made = og.TensorMap(og.Labels("key", np.array(keys)[:, None]), blocks)
    for name, text in info.items():
        made.set_info(name, text)
    return made


def _joined_blocks(parts: Sequence[og.TensorBlock], numbers: Sequence[Any], fill: float) -> og.TensorBlock:
    union = list(dict.fromkeys(int(n) for part in parts for n in part.properties["n"]))
    values = []
    for part in parts:
        wide = np.full((*part.values.shape[:-1], len(union)), fill, part.values.dtype)
        wide[..., [union.index(int(n)) for n in part.properties["n"]]] = part.values
        values.append(wide)
    properties = og.Labels("n", np.array(union)[:, None])
    samples = og.Labels(parts[0].samples.names, np.concatenate([part.samples.values for part in parts]))
    made = og.TensorBlock(np.concatenate(values), samples, parts[0].components, properties)
    for name in parts[0].gradients_list():
        below = [part.gradient(name) for part in parts]
        starts = np.cumsum([0, *(len(part.samples) for part in parts)])
        renumbered = []
        for gradient, start in zip(below, starts, strict=False):
            rows = gradient.samples.values.copy()
            rows[:, 0] += start
            renumbered.append(_with_samples(gradient, rows))
        made.add_gradient(name, _joined_blocks(renumbered, numbers, fill))
    return made


def _with_samples(block: og.TensorBlock, rows: Any) -> og.TensorBlock:
    made = og.TensorBlock(
        block.values, og.Labels(block.samples.names, rows), block.components, block.properties
    )
    for name in block.gradients_list():
        made.add_gradient(name, block.gradient(name))
    return made
