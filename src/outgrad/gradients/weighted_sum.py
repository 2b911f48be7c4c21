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

    ``place`` (R,) says to which rows of a sum it is added, each at most once; None to its own.
    """

    weight: Weight
    row: Index
    gradient: Array
    place: Index | None = None


def align(weight: Array, row: Index, ndim: int) -> Array:
    """Gather ``weight`` (S, *C, P) at ``row`` and pad it to (R, 1 per K, *C, P), which broadcasts."""
    gathered = weight[row]
    ones = (1,) * (ndim - gathered.ndim)
    padded: Array = gathered.reshape(gathered.shape[:1] + ones + gathered.shape[1:])
    return padded


def weighted_sum(terms: Sequence[Weighted], size: int | None = None) -> Array:
    """Return Σ weight[row] · gradient over ``terms``: all have the same rows, or places among ``size``.

    Whole temporaries of gradient size would cost more memory traffic than the result itself, so rows are
    processed in pieces that fit into the cache.
    """
    if len(terms) == 1 and terms[0].weight is None:
        return terms[0].gradient
    trailing, dtype = _result(terms)
    rows = len(terms[0].gradient) if size is None else size
    row_bytes = max(1, prod(trailing) * dtype.itemsize)
    step = max(1, CACHE_BYTES // row_bytes)
    if size is not None:
        return _scattered(terms, np.full((rows, *trailing), nothing(dtype)), step)
    out = np.empty((rows, *trailing), dtype)
    if rows <= step:
        _fill(terms, slice(0, rows), out)
    else:
        for_pieces(lambda piece: _fill(terms, piece, out[piece]), rows, step)
    return out


def nothing(dtype: np.dtype[Any]) -> Array:
    """What changes no bit when it is added: −0, since −0 + 0 would be 0.

    Rows that agree in one chunk and differ in another are added up on two ways, with the same zeros.
    """
    return np.negative(np.zeros((), dtype)) if dtype.kind in "fc" else np.zeros((), dtype)


def _scattered(terms: Sequence[Weighted], out: Array, step: int) -> Array:
    for term in terms:

        def add(piece: slice, term: Weighted = term) -> None:
            assert term.place is not None, "a sum of a given size needs the places of each term"
            out[term.place[piece]] += _product(term, piece)  # rows are unique: no addition is lost

        for_pieces(add, len(term.gradient), step)
    return out


def _fill(terms: Sequence[Weighted], piece: slice, out: Array) -> None:
    if len(terms) == 2 and terms[0].weight is None:  # both in one pass over memory
        np.add(terms[0].gradient[piece], _product(terms[1], piece), out=out)
        return
    _product(terms[0], piece, out)
    if len(terms) == 2 and _same(*terms):  # x · x: its gradient is gathered and weighed once
        out += out
        return
    for term in terms[1:]:
        out += _product(term, piece)


def _same(a: Weighted, b: Weighted) -> bool:
    return a.weight is b.weight and a.gradient is b.gradient


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


def _result(terms: Sequence[Weighted]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape of a row and dtype of the sum, found on no rows so that nothing of the full size is computed."""
    samples = [_product(term, slice(0, 0)) for term in terms]
    return np.broadcast_shapes(*(sample.shape[1:] for sample in samples)), np.result_type(*samples)
