"""Weighted sums of gradients: the inner loop of every operation."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from outgrad._threads import for_pieces
from outgrad.data.chunk import Array
from outgrad.data.positions import Index

CACHE_BYTES = 512 * 1024
"""Size of the pieces in which gradients are processed: they stay in the second-level cache."""

Weight = Array | complex | float | None
"""Elementwise derivative: an array like the values, one number for all, or None for 1."""


class Weighted(NamedTuple):
    """A gradient (R, *K, *C, P), the values rows (R,) that it belongs to, and its weight (S, *C, P).

    ``positions`` (R,) say to which rows of a sum it is added, each at most once; None to its own.
    """

    weight: Weight
    row: Index
    gradient: Array
    positions: Index | None = None

    def product(self, piece: slice, out: Array | None = None) -> Array:
        """Return weight[row] · gradient for some rows, in ``out`` if it is given; a copy only if needed."""
        gradient = self.gradient[piece]
        weight = self.weight
        if isinstance(weight, np.ndarray):
            weight = align(weight, self.row[piece], gradient.ndim)
        if weight is not None:
            return np.multiply(weight, gradient, out=out)
        if out is not None:
            out[...] = gradient
        return gradient


def align(weight: Array, row: Index, ndim: int) -> Array:
    """Gather ``weight`` (S, *C, P) at ``row`` and pad it to (R, 1 per K, *C, P), which broadcasts."""
    gathered = weight[row]
    ones = (1,) * (ndim - gathered.ndim)
    padded: Array = gathered.reshape(gathered.shape[:1] + ones + gathered.shape[1:])
    return padded


def weighted_sum(terms: Sequence[Weighted], size: int | None = None) -> Array:
    """Return Σ weight[row] · gradient over ``terms``: all have the same rows, or positions among ``size``.

    Temporaries of the size of gradients would cost more memory traffic than the result itself, so rows are
    processed in pieces that fit into the cache.
    """
    first = terms[0]
    if len(terms) == 1 and first.weight is None:
        return first.gradient
    # Products of no rows have the shape of a row and the dtype, and cost nothing.
    samples = [term.product(slice(0, 0)) for term in terms]
    trailing = np.broadcast_shapes(*(sample.shape[1:] for sample in samples))
    dtype = np.result_type(*samples)
    step = max(1, CACHE_BYTES // max(1, prod(trailing) * dtype.itemsize))

    if size is not None:
        out = np.full((size, *trailing), zero_to_add_to(dtype))
        for term in terms:

            def add(piece: slice, term: Weighted = term) -> None:
                assert term.positions is not None, "a sum of a given size needs the positions of each term"
                out[term.positions[piece]] += term.product(piece)  # rows are unique: no addition is lost

            for_pieces(add, len(term.gradient), step)
        return out

    def fill(piece: slice) -> None:
        if len(terms) == 2 and first.weight is None:  # both in one pass over memory
            np.add(first.gradient[piece], terms[1].product(piece), out=out[piece])
            return
        first.product(piece, out[piece])
        if len(terms) == 2 and first.weight is terms[1].weight and first.gradient is terms[1].gradient:
            out[piece] += out[piece]  # x · x: its gradient is gathered and weighed once
            return
        for term in terms[1:]:
            out[piece] += term.product(piece)

    rows = len(first.gradient)
    out = np.empty((rows, *trailing), dtype)
    if rows <= step:
        fill(slice(0, rows))
    else:
        for_pieces(fill, rows, step)
    return out


def zero_to_add_to(dtype: np.dtype[Any]) -> Array:
    """The zero that changes no bit when something is added to it: −0, since 0 + −0 would be 0.

    Rows that agree in one chunk and differ in another are added up in two ways, with the same zeros.
    """
    return np.negative(np.zeros((), dtype)) if dtype.kind in "fc" else np.zeros((), dtype)
