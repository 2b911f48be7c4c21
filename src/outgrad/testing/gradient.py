"""Explicit gradients against central finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.data.chunk import Array, Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import InMemory
from outgrad.errors import GradientError
from outgrad.labels.labels import Labels
from outgrad.labels.rows import find_rows, unique_rows
from outgrad.ops.operands import T, content, like
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap
from outgrad.tree import GradientPath, fold

Tensor = TensorMap | TensorBlock


def check_gradient(
    function: Callable[[T], Tensor],
    map: T,
    *,
    step: float = 1e-5,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    directions: int = 3,
    seed: int = 0,
) -> None:
    r"""Raise unless ``function`` carries the gradients of ``map`` correctly.

    For a parameter p with gradient :math:`G_{rk}`, row r of which belongs to the sample s(r) and the target
    t(r), the labels behind ``sample``, all targets are moved at once in a random direction u:

    .. math::
        \delta_s = \sum_{r:\, s(r) = s} \sum_k u_{t(r) k}\, G_{rk}, \qquad
        \frac{f(X + h \delta) - f(X - h \delta)}{2 h} \approx \sum_{r, k} u_{t(r) k}\, \nabla f_{rk}

    on the right with the gradient of ``function(map)``, summed into its samples. Targets are told apart by
    their labels, so that ``function`` may renumber, sum or reorder samples. A gradient that is itself
    differentiated with respect to p moves with the values, and its result is compared in the same way.

    Parameters
    ----------
    function : callable
        Makes a map or a block of one; smooth near the values.
    map : TensorMap or TensorBlock
        float64 or complex128 values with gradients. Lazy data are given to ``function`` as they are, and
        moved data in memory.
    step : float
        Step h of the finite difference.
    rtol, atol : float
        Relative and absolute tolerance: \|difference − gradient\| ≤ atol + rtol · \|gradient\|.
    directions : int
        Number of random directions for each parameter.
    seed : int
        Seed of the directions.

    Raises
    ------
    GradientError
        If a gradient deviates, or one of ``map`` has been lost; it is an AssertionError.
    ValueError
        If there is nothing to check, the dtype is too narrow, or labels of the result depend on the values.
    TypeError
        If ``map`` or the result is no map and no block.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> n = og.Labels.range("n", 2)
    >>> block = og.TensorBlock(np.array([[1.0, 2.0]]), og.Labels.range("atom", 1), [], n)
    >>> moved = og.Labels(["sample", "atom"], [[0, 0], [0, 1]])
    >>> block.add_gradient("x", og.TensorBlock(np.array([[3.0, 4.0], [5.0, 6.0]]), moved, [], n))
    >>> check_gradient(lambda block: block * block, block)
    >>> check_gradient(lambda block: og.sum_over_samples(og.pow(block, 3), "atom"), block)
    """
    start: InMemory = _computed("map", map)
    made = function(map)
    result: InMemory = _computed("the result of function", made)
    parameters = _paths(start)
    if not parameters:
        raise ValueError("check_gradient: the map has no gradients, so there is nothing to check")
    lost = [path for path in parameters if path not in _paths(result)]
    if lost and len(result):
        raise GradientError(
            f"check_gradient: the result has no gradient {'/'.join(lost[0])!r}, which the map has; "
            "if it is left out on purpose, check a map without it: remove_gradients(…)"
        )
    names = ["the block"]
    if isinstance(made, TensorMap):
        names = [f"block {key.print()}" for key in made.keys]
    comparison = _Comparison(names, result, step, rtol, atol)

    def moved(direction: _Direction, by: float) -> InMemory:
        """The result for values, and gradients that are differentiated, that moved along ``direction``."""

        def move(chunk: Chunk, metadata: BlockMetadata, gradients: dict[str, Chunk]) -> Chunk:
            values = chunk.values
            if direction.parameter in chunk.gradients:
                values = values + by * direction.derivative(chunk, metadata)
            return Chunk(values, gradients)

        chunks = [fold(move, *each) for each in zip(start.chunks, start.metadata, strict=True)]
        return _computed("the result of function", function(like(map, start.like(start.metadata, chunks))))

    rng = np.random.default_rng(seed)
    parameter: str
    for parameter in dict.fromkeys(path[-1] for path in parameters):
        nodes: list[_Differentiated] = [
            *_differentiated(start, parameter),
            *_differentiated(result, parameter),
        ]
        for _ in range(directions):
            direction = _Direction.random(rng, parameter, nodes)
            comparison.run(direction, moved(direction, step), moved(direction, -step))


def _computed(name: str, given: Any) -> InMemory:
    content("check_gradient", name, given)  # refuses what is no map and no block
    blocks: InMemory = given.compute()._blocks().in_memory("check_gradient")
    for number in range(len(blocks)):
        dtype = blocks.dtype(number)
        if dtype not in (np.float64, np.complex128):
            raise ValueError(
                f"check_gradient: {name} has dtype {dtype}, but finite differences need float64 or "
                "complex128; convert the map with .to(dtype='float64')"
            )
    return blocks


def _paths(blocks: InMemory) -> list[GradientPath]:
    """Every gradient; all blocks have the same."""
    return [path for path, _ in blocks.metadata[0].walk() if path] if len(blocks) else []


class _Differentiated(NamedTuple):
    """Values, or a gradient, that have a gradient with respect to the parameter in question."""

    block: int
    path: GradientPath
    chunk: Chunk
    metadata: BlockMetadata


def _differentiated(blocks: InMemory, parameter: str) -> Iterator[_Differentiated]:
    for number, metadata in enumerate(blocks.metadata):
        for path, chunk in blocks.chunks[number].walk():
            if parameter in chunk.gradients:
                yield _Differentiated(number, path, chunk, metadata.at(path))


class _Direction(NamedTuple):
    """Random numbers u (T, *K) for T targets and the components K of one parameter, found by labels."""

    parameter: str
    targets: npt.NDArray[np.int32]
    components: Sequence[npt.NDArray[np.int32]]
    u: Array

    @classmethod
    def random(cls, rng: np.random.Generator, parameter: str, found: Sequence[_Differentiated]) -> _Direction:
        gradients = [node.metadata.gradients[parameter] for node in found]
        own = [_row_components_of(node.metadata, parameter) for node in found]
        columns = {len(gradient.samples.names) for gradient in gradients}
        axes = {len(each) for each in own}
        if len(columns) > 1 or len(axes) > 1:
            raise ValueError(
                f"check_gradient: gradients {parameter!r} of map and result have different numbers "
                f"of sample dimensions {sorted(columns)} or own components {sorted(axes)}; they must agree, "
                "or targets cannot be told apart"
            )
        targets, _ = unique_rows(np.concatenate([gradient.samples.values[:, 1:] for gradient in gradients]))
        components = [
            np.unique(np.concatenate([labels.values[:, 0] for labels in axis]))
            for axis in zip(*own, strict=True)
        ]
        u = rng.normal(size=(len(targets), *(len(values) for values in components)))
        return cls(parameter, targets, components, u)

    def derivative(self, chunk: Chunk, metadata: BlockMetadata) -> Array:
        """Sum u · G over the rows and components of the gradient G, into the samples (S, *C, P)."""
        values = chunk.gradients[self.parameter].values
        table = metadata.gradients[self.parameter].samples.values
        places = [find_rows(self.targets, table[:, 1:])]
        for known, labels in zip(self.components, _row_components_of(metadata, self.parameter), strict=True):
            places.append(np.searchsorted(known, labels.values[:, 0]))
        trailing = chunk.values.shape[1:]
        u = self.u[np.ix_(*places)].reshape(len(table), prod(self.u.shape[1:]))
        along = np.einsum("rk,rkx->rx", u, values.reshape(*u.shape, prod(trailing)))
        out = np.zeros(chunk.values.shape, values.dtype)
        np.add.at(out, table[:, 0], along.reshape(len(table), *trailing))
        return out


def _row_components_of(metadata: BlockMetadata, parameter: str) -> Sequence[Labels]:
    gradient = metadata.gradients[parameter]
    return gradient.components[: len(gradient.components) - len(metadata.components)]


class _Comparison(NamedTuple):
    """The result that is checked, and how exactly."""

    block_names: Sequence[str]
    result: InMemory
    step: float
    rtol: float
    atol: float

    def run(self, direction: _Direction, forward: InMemory, back: InMemory) -> None:
        """Compare every gradient of the result with what two moved results say."""
        for node in _differentiated(self.result, direction.parameter):
            ends = [_values_like(node, moved) for moved in (forward, back)]
            gradient = direction.derivative(node.chunk, node.metadata)
            with np.errstate(invalid="ignore"):
                difference = (ends[0] - ends[1]) / (2 * self.step)
                excess = np.abs(difference - gradient) - self.atol - self.rtol * np.abs(gradient)
            excess[~np.isfinite(excess)] = np.inf
            if (excess > 0).any():
                worst = np.unravel_index(int(excess.argmax()), excess.shape)
                raise GradientError(self._message(node, direction, difference[worst], gradient[worst], worst))

    def _message(
        self, node: _Differentiated, direction: _Direction, difference: Any, gradient: Any, worst: Any
    ) -> str:
        path = "/".join((*node.path, direction.parameter))
        sample = node.metadata.samples.entry(worst[0]).print()
        return (
            f"check_gradient: the gradient {path!r} of {self.block_names[node.block]} deviates from the "
            f"finite difference: along a random direction it is {gradient:.8g}, the difference is "
            f"{difference:.8g}, {abs(difference - gradient):.3g} apart, at sample {sample}, "
            f"index {tuple(int(place) for place in worst)} of the values"
        )


def _values_like(node: _Differentiated, moved: InMemory) -> Array:
    """Values of a moved result, if they have the labels of ``node``."""
    if node.block < len(moved):
        other = dict(moved.metadata[node.block].walk()).get(node.path)
        axes = ("samples", "components", "properties")
        if other and all(getattr(other, axis) == getattr(node.metadata, axis) for axis in axes):
            return moved.chunks[node.block].at(node.path).values
    raise ValueError(
        f"check_gradient: the labels of block {node.block} of the result change when the values move by the "
        "step, so there is no finite difference; check a function with fixed labels"
    )
