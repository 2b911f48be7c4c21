"""Axes folded into the last one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outgrad.data.chunk import Array


def fold_axes(array: Array, axes: Sequence[int]) -> Array:
    """Fold one axis after the other into the last one, where it runs slowest.

    Axes are negative: they are counted from the end, of the array that the fold before has left.

    >>> fold_axes(np.arange(8).reshape(1, 2, 2, 2), [-3]).tolist()
    [[[0, 1, 4, 5], [2, 3, 6, 7]]]
    """
    for axis in axes:
        moved = np.moveaxis(array, axis, -2)
        *kept, outer, inner = moved.shape
        array = moved.reshape(*kept, outer * inner)
    return array
