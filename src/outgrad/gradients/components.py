"""Permutations and sums of components: axes counted from the end, as gradients have more in front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.chunk import Array
from outgrad.gradients.scatter import accumulator


def permute_components(array: Array, order: Sequence[int]) -> Array:
    """Return ``array`` (..., *C, P) with component ``order[n]`` as the n-th of the last k components."""
    first = array.ndim - len(order) - 1
    axes = [*range(first), *(first + place for place in order), array.ndim - 1]
    return np.ascontiguousarray(array.transpose(axes))


def sum_components(array: Array, axes: Sequence[int]) -> Array:
    """Return ``array`` (..., *C, P) summed over some component axes; −2 is the last component.

    Components are added one after the other: NumPy's own sum adds in an order that depends on the shape,
    so that chunks of one row could differ in the last bit from others.
    """
    front = np.moveaxis(array, axes, range(len(axes)))
    entries = np.ndindex(front.shape[: len(axes)])
    total = front[next(entries)].astype(accumulator(array.dtype))
    for entry in entries:
        total += front[entry]
    return total.astype(array.dtype, order="C", copy=False)
