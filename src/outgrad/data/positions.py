"""Lists of positions: neighbours as ranges, and where chosen entries are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.integer]
"""Positions of rows or columns, from 0; −1 is nowhere."""

Span = Index | tuple[int, int]
"""Positions, or ``(start, stop)`` of neighbours."""


def neighbour_range(index: Index) -> tuple[int, int] | None:
    """Return ``(start, stop)`` of positions that are neighbours in increasing order; otherwise None."""
    if len(index) == 0:
        return 0, 0
    first, last = int(index[0]), int(index[-1])
    if last - first == len(index) - 1 and (index[1:] > index[:-1]).all():
        return first, last + 1
    return None


def as_range(index: Index | range) -> Index | range:
    """Return neighbours as a range, which takes no memory and shows that nothing has to be looked up.

    −1, which is nowhere, is not a neighbour of 0.

    >>> as_range(np.array([3, 4, 5])), as_range(np.array([-1, 0])).tolist()
    (range(3, 6), [-1, 0])
    """
    ends = None if isinstance(index, range) else neighbour_range(index)
    return index if ends is None or ends[0] < 0 else range(*ends)


def span(index: Index) -> Span:
    """Return positions in the form that pickles small.

    >>> span(np.array([3, 4, 5])), span(np.array([5, 3])).tolist()
    ((3, 6), [5, 3])
    """
    return neighbour_range(index) or index.astype(np.int32, copy=False)


def positions(span: Span) -> Index:
    """Return the positions of a span."""
    return np.arange(*span) if isinstance(span, tuple) else span


def places_of(chosen: Index, count: int) -> Index:
    """Return where each of ``count`` entries is among those chosen, −1 for the others.

    >>> places_of(np.array([2, 0]), 4).tolist()
    [1, -1, 0, -1]
    """
    places = np.full(count, -1, dtype=np.int64)
    places[chosen] = np.arange(len(chosen))
    return places
