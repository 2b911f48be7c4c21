"""Components and properties: permuted, summed, folded, and their entries put in another order.

Components are counted from the end: gradients have components of their own in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from outgrad.data.chunk import Array, Chunk, ChunkList
from outgrad.data.positions import Index
from outgrad.gradients.scatter import accumulator
from outgrad.tree import Tree, fold


def permute_components(array: Array, order: Sequence[int]) -> Array:
    """Return ``array`` (..., *C, P) with component ``order[n]`` as the n-th of the last k components."""
    first = array.ndim - len(order) - 1
    axes = [*range(first), *(first + component for component in order), array.ndim - 1]
    return np.ascontiguousarray(array.transpose(axes))


def sum_components(array: Array, axes: Sequence[int]) -> Array:
    """Return ``array`` (..., *C, P) summed over some component axes; −2 is the last component.

    Components are added one after the other: the order of NumPy's own sum depends on the shape, so that a
    chunk of one row could differ in the last bit from longer ones.
    """
    front = np.moveaxis(array, axes, range(len(axes)))
    entries = np.ndindex(front.shape[: len(axes)])
    total = front[next(entries)].astype(accumulator(array.dtype))
    for entry in entries:
        total += front[entry]
    return total.astype(array.dtype, order="C", copy=False)


def fold_axes(array: Array, axes: Sequence[int]) -> Array:
    """Fold one axis after the other into the last one, where it runs slowest.

    Axes are negative: each is counted from the end of the array that the previous fold has left.

    >>> fold_axes(np.arange(8).reshape(1, 2, 2, 2), [-3]).tolist()
    [[[0, 1, 4, 5], [2, 3, 6, 7]]]
    """
    for axis in axes:
        moved = np.moveaxis(array, axis, -2)
        *kept, outer, inner = moved.shape
        array = moved.reshape(*kept, outer * inner)
    return array


@dataclass(frozen=True)
class AxisOrders(Tree):
    """The new order of the entries of each component (*K, *C) and of the properties; None where it stays.

    A gradient has components of its own, and so orders of its own; the axes that it shares with its parent
    have the same orders there.
    """

    orders: tuple[Index | None, ...]
    gradients: dict[str, AxisOrders] = field(default_factory=dict)


def permute_entries(chunk: Chunk, axes: AxisOrders) -> Chunk:
    """Take the entries of every axis but the rows in a new order, in gradients too."""

    def permute(node: Chunk, node_axes: AxisOrders, gradients: dict[str, Chunk]) -> Chunk:
        values = node.values
        for axis, order in enumerate(node_axes.orders, start=1):
            if order is not None:
                values = np.take(values, order, axis=axis)
        return Chunk(values, gradients, node.table)

    return fold(permute, chunk, axes)


def permute_part(orders: Sequence[AxisOrders | None], part: ChunkList) -> ChunkList:
    """Take components and properties in other orders; None leaves a chunk as it is."""
    return [
        chunk if axes is None else permute_entries(chunk, axes)
        for axes, chunk in zip(orders, part, strict=True)
    ]
