"""Least squares of equations that come in pieces: only triangular factors are kept.

The equations A w = B are rows of [A | B]. With [A | B] = Q R, where Q has orthonormal columns, R has the same
scalar products of columns, so the same solutions, and A the same singular values. The factor of some factors
below each other is the factor of all their rows. Forming AᴴA instead would square the condition of A.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from outgrad.data.chunk import Array

EQUATION_BYTES = 4 * 2**20
"""Equations are taken in pieces of this size, or of twice as many rows as columns, if that is more."""

COMPLEX_BYTES = 16

FACTOR_COPIES = 5
"""Arrays of the size of a piece while it is factored: the piece, the last triangle above it, both
concatenated, the copy that NumPy hands to LAPACK, and LAPACK's own. Tests compare with what tasks take."""


class Factor(NamedTuple):
    """The triangle R (min(M, N), N) of M equations with N columns."""

    triangle: Array
    equations: int


class Solution(NamedTuple):
    """Weights w (P, Q) of minimum norm, and what is known of them.

    ``condition`` is the ratio of the largest to the smallest singular value that is used, None without any;
    ``residual`` is the norm of A w − B, 0 where it is rounding.
    """

    weights: Array
    rank: int
    condition: float | None
    residual: float


def piece_rows(width: int, itemsize: int) -> int:
    """How many equations to take at once."""
    return max(1, 2 * width, EQUATION_BYTES // max(1, width * itemsize))


def factor_bytes(width: int) -> int:
    """Bytes of a factor of many equations with ``width`` columns, which may be complex."""
    return COMPLEX_BYTES * width * width


def factor_work(width: int) -> int:
    """Bytes on the way to it: a piece, with the last triangle, and what LAPACK makes of both."""
    return FACTOR_COPIES * max(EQUATION_BYTES, 2 * COMPLEX_BYTES * width * width)


def factor(pieces: Iterable[Array], width: int, dtype: np.dtype[Any]) -> Factor:
    """Factor equations (M, N) that come in pieces, which are forgotten one by one."""
    triangle, equations = np.zeros((0, width), dtype), 0
    for piece in pieces:
        triangle = _triangle([triangle, piece])
        equations += len(piece)
    return Factor(triangle, equations)


def stack(factors: Sequence[Factor]) -> Factor:
    """Factor the equations of all ``factors``."""
    triangle = _triangle([factor.triangle for factor in factors])
    return Factor(triangle, sum(factor.equations for factor in factors))


def _triangle(rows: Sequence[Array]) -> Array:
    return np.asarray(np.linalg.qr(np.concatenate(rows), mode="r"))


def solve_factor(system: Factor, unknowns: int, cutoff: float) -> Solution:
    """Solve for w (P, Q) from the factor of [A | B]; A has ``unknowns`` columns.

    Singular values up to ``cutoff`` times the largest count as zero.
    """
    triangle = system.triangle
    left, right = triangle[:unknowns, :unknowns], triangle[:unknowns, unknowns:]
    u, singular, v = np.linalg.svd(left, full_matrices=False)
    rank = int((singular > cutoff * singular[:1]).sum())
    scaled = (u[:, :rank].conj().T @ right) / singular[:rank, None]
    weights = v[:rank].conj().T @ scaled
    condition = float(singular[0] / singular[rank - 1]) if rank else None
    misfit = [left @ weights - right, triangle[unknowns:, unknowns:]]
    residual = float(np.linalg.norm(np.concatenate(misfit)))
    size = float(
        np.linalg.norm(singular[:1]) * np.linalg.norm(weights) + np.linalg.norm(triangle[:, unknowns:])
    )
    rounding = np.finfo(np.float64).eps * max(system.equations, unknowns) * size
    return Solution(weights, rank, condition, residual if residual > rounding else 0.0)
