"""Weighted sums of gradients: the inner loop of every operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.kernels.chunk import Array
from outgrad.kernels.threads import for_pieces

CACHE_BYTES = 512 * 1024
"""Size of the pieces in which gradients are processed: they stay in the second-level cache."""

Weight = Array | complex | float | None
"""Elementwise derivative: an array like the values, one number for all, or None for 1."""


class Weighted(NamedTuple):
    """A gradient (R, *K, *C, P), the values rows (R,) that it belongs to, and its weight (S, *C, P)."""

    weight: Weight
    row: npt.NDArray[np.integer]
    gradient: Array


def align(weight: Array, row: npt.NDArray[np.integer], ndim: int) -> Array:
    """Gather ``weight`` (S, *C, P) at ``row`` and pad it to (R, 1 per K, *C, P), which broadcasts."""
    gathered = weight[row]
    ones = (1,) * (ndim - gathered.ndim)
    padded: Array = gathered.reshape(gathered.shape[:1] + ones + gathered.shape[1:])
    return padded


def weighted_sum(terms: Sequence[Weighted]) -> Array:
    """Return Σ weight[row] · gradient over ``terms`` that have the same rows.

    Whole temporaries of gradient size would cost more memory traffic than the result itself, so rows are
    processed in pieces that fit into the cache.
    """
    if len(terms) == 1 and terms[0].weight is None:
        return terms[0].gradient
    shape, dtype = _result(terms)
    out = np.empty(shape, dtype)
    step = max(1, CACHE_BYTES * shape[0] // max(out.nbytes, 1))
    for_pieces(lambda piece: _fill(terms, piece, out[piece]), shape[0], step)
    return out


def _fill(terms: Sequence[Weighted], piece: slice, out: Array) -> None:
    if len(terms) == 2 and terms[0].weight is None:  # both in one pass over memory
        np.add(terms[0].gradient[piece], _product(terms[1], piece), out=out)
        return
    _product(terms[0], piece, out)
    for term in terms[1:]:
        out += _product(term, piece)


def _product(term: Weighted, piece: slice, out: Array | None = None) -> Array:
    gradient = term.gradient[piece]
    weight = term.weight
    if isinstance(weight, np.ndarray):
        weight = align(weight, term.row[piece], gradient.ndim)
    if weight is not None:
        return np.multiply(weight, gradient, out=out)
    if out is not None:
        out[...] = gradient
    return gradient


def _result(terms: Sequence[Weighted]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and dtype of the sum, found on one row so that nothing of the full size is computed."""
    samples = [_product(term, slice(0, 0)) for term in terms]
    shape = np.broadcast_shapes(*(sample.shape for sample in samples))
    return (len(terms[0].gradient), *shape[1:]), np.result_type(*samples)
