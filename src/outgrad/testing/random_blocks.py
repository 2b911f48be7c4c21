"""Random blocks with gradients of any sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Array
from outgrad.labels.labels import Labels
from outgrad.tensor.block import TensorBlock

Order = Literal["sorted", "samples", "any"]

TARGETS = Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
"""What samples are differentiated with respect to, unless a caller says otherwise."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of differentiation: the shape of its components, and the gradients of its gradient."""

    shape: tuple[int, ...] = ()
    gradients: Mapping[str, Parameter] = field(default_factory=dict)


def random_values(rng: np.random.Generator, shape: Sequence[int], dtype: npt.DTypeLike = "float64") -> Array:
    """Return random numbers of either sign and of a size from 1/2 to 2, in steps of 1/8.

    Zero, where quotients and powers have no derivative, is far away. Sums and products of a few of these
    numbers are exact, so that results do not depend on the order of additions. Integers are from -9 to 9
    without 0, or from 1 where they are unsigned.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : sequence of int
        Shape of the array.
    dtype : dtype
        Boolean, integer, real or complex.

    Returns
    -------
    array of this shape and dtype
        The numbers.

    Examples
    --------
    >>> random_values(np.random.default_rng(0), (2,), "float32").dtype
    dtype('float32')
    """
    return _numbers(rng, shape, np.dtype(dtype).kind).astype(dtype)


def _numbers(rng: np.random.Generator, shape: Sequence[int], kind: str) -> Array:
    if kind == "c":
        return _numbers(rng, shape, "f") + 1j * _numbers(rng, shape, "f")
    low, high = {"b": (0, 1), "f": (4, 16)}.get(kind, (1, 9))
    size: Array = rng.integers(low, high, size=shape, endpoint=True)
    if kind in "bu":
        return size
    signed: Array = size * rng.choice([-1, 1], size=shape)
    return signed / 8 if kind == "f" else signed


def random_block(
    rng: np.random.Generator,
    samples: Labels,
    components: Sequence[Labels],
    properties: Labels,
    parameters: Mapping[str, Parameter] | None = None,
    *,
    sparsity: float = 0.5,
    targets: Labels = TARGETS,
    dtype: npt.DTypeLike = "float64",
    order: Order = "sorted",
) -> TensorBlock:
    """Make a block of :func:`random_values` with random gradient rows.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    samples, properties : Labels
        Labels of the S samples and of the P properties.
    components : sequence of Labels
        Labels of the middle axes C.
    parameters : mapping of str to Parameter, optional
        Gradients, and gradients of gradients, that the block gets.
    sparsity : float
        Probability that a sample has a row for a target: 0 gives gradients without rows, 1 all rows.
    targets : Labels
        What samples may be differentiated with respect to: the gradient's sample dimensions but ``sample``.
    dtype : dtype
        Of values and gradients.
    order : {"sorted", "samples", "any"}
        Gradient rows are sorted, or only sorted by ``sample``, or not sorted.

    Returns
    -------
    TensorBlock
        Values (S, *C, P) in memory.

    Examples
    --------
    >>> import outgrad as og
    >>> n = og.Labels.range("n", 2)
    >>> positions = {"positions": Parameter((3,))}
    >>> block = random_block(np.random.default_rng(0), og.Labels.range("s", 4), [], n, positions, sparsity=1)
    >>> block.gradient("positions").shape
    (12, 3, 2)
    """
    shape = (len(samples), *(len(component) for component in components), len(properties))
    block = TensorBlock(random_values(rng, shape, dtype), samples, components, properties)
    for name, parameter in (parameters or {}).items():
        # Names of components differ from those of the axes below.
        axes = enumerate(parameter.shape, start=len(components))
        gradient = random_block(
            rng,
            _rows(rng, len(samples), targets, sparsity, order),
            [*(Labels.range(f"{name}_{axis}", size) for axis, size in axes), *components],
            properties,
            parameter.gradients,
            sparsity=sparsity,
            targets=targets,
            dtype=dtype,
            order=order,
        )
        block.add_gradient(name, gradient)
    return block


def _rows(rng: np.random.Generator, parents: int, targets: Labels, sparsity: float, order: Order) -> Labels:
    parent, target = np.nonzero(rng.random((parents, len(targets))) < sparsity)
    table = np.column_stack([parent, targets.values[target]])
    if order != "sorted":
        table = rng.permutation(table)
    if order == "samples":
        table = table[np.argsort(table[:, 0], kind="stable")]
    return Labels(["sample", *targets.names], table)
