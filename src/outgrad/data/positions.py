"""Lists of positions: neighbours as ranges, and where chosen entries are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.integer]

Span = Index | tuple[int, int]
"""Positions, or ``(start, stop)`` of neighbours."""


def stretch(index: Index) -> tuple[int, int] | None:
    """Return ``(start, stop)`` of positions that are neighbours in increasing order; otherwise None."""
    if len(index) == 0:
        return 0, 0
    first, last = int(index[0]), int(index[-1])
    if last - first == len(index) - 1 and (index[1:] > index[:-1]).all():
        return first, last + 1
    return None


def compact(index: Index | range) -> Index | range:
    """Return neighbours as a range, which takes no memory and tells that nothing has to be looked up.

    −1, which stands for no position, is no neighbour of 0.

    >>> compact(np.array([3, 4, 5])), compact(np.array([-1, 0])).tolist()
    (range(3, 6), [-1, 0])
    """
    found = None if isinstance(index, range) else stretch(index)
    return index if found is None or found[0] < 0 else range(*found)


def span(index: Index) -> Span:
    """Return positions in the form that pickles small.

    >>> span(np.array([3, 4, 5])), span(np.array([5, 3])).tolist()
    ((3, 6), [5, 3])
    """
    return stretch(index) or index.astype(np.int32, copy=False)


def positions(found: Span) -> Index:
    """Return the positions of a span."""
    return np.arange(*found) if isinstance(found, tuple) else found


def places_of(chosen: Index, count: int) -> Index:
    """Return where each of ``count`` entries is among those that are chosen, −1 for the others.

    >>> places_of(np.array([2, 0]), 4).tolist()
    [1, -1, 0, -1]
    """
    places = np.full(count, -1, dtype=np.int64)
    places[chosen] = np.arange(len(chosen))
    return places
