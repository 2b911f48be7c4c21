"""Equations of two chunks: the rows of values and of all gradients, side by side; and their solution.

Here gradient rows are no derivatives of the solution but more equations, X_r · w = Y_r. A row that one side
lacks is zero there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from outgrad._threads import one_blas_thread
from outgrad.data.chunk import Array, Chunk, ChunkList
from outgrad.data.positions import Index
from outgrad.data.rows import merge, renumber
from outgrad.engine.solve.triangles import Factor, factor, piece_rows, solve_factor, stack
from outgrad.errors import LinearSystemError
from outgrad.task import MERGE_SHARE, task
from outgrad.tree import GradientPath

REPORT_DIGITS = 4
"""Digits of numbers in reports: those that do not depend on how the data are cut."""


class System(NamedTuple):
    """What to make of the equations of one block: who asks, the unknowns, and how to cut singular values."""

    call: str
    block: str
    unknowns: int
    dtype: np.dtype[Any]
    rcond: float | None
    unique: bool


class _UnitedRows(NamedTuple):
    """Arrays of both sides; positions of their rows among ``size`` united ones, None if nothing moves."""

    arrays: tuple[Array, Array]
    positions: tuple[Index | None, Index | None]
    size: int


def factored(x: Chunk, y: Chunk) -> Factor:
    """The factor of all equations of a chunk, which are never put together as a whole."""
    width = x.values.shape[-1] + y.values.shape[-1]
    complex_ = np.iscomplexobj(x.values) or np.iscomplexobj(y.values)
    dtype = np.dtype(np.complex128 if complex_ else np.float64)
    pieces = (piece for rows in _united_rows(x, y) for piece in _equations(rows, width, dtype))
    return factor(pieces, width, dtype)


def _united_rows(x: Chunk, y: Chunk) -> Iterator[_UnitedRows]:
    """Yield the values of both sides, then each pair of gradients, with the rows of either united."""
    united: dict[GradientPath, _UnitedRows] = {}
    for path, left in x.walk():
        right, count = y.at(path), len(left.values)
        positions: tuple[Index | None, Index | None] = (None, None)
        if path:
            # The parents of the rows may have moved when they were united.
            tables = [
                gradient.rows if moves is None else renumber(gradient.rows, moves)
                for gradient, moves in zip((left, right), united[path[:-1]].positions, strict=True)
            ]
            if not np.array_equal(tables[0], tables[1]):
                union, (first, second) = merge(tables)
                positions, count = (first, second), len(union)
        united[path] = _UnitedRows((left.values, right.values), positions, count)
        yield united[path]


def _equations(rows: _UnitedRows, width: int, dtype: np.dtype[Any]) -> Iterator[Array]:
    """Yield the equations [X | Y] of one order of gradients, some rows at a time."""
    trailing = rows.arrays[0].shape[1:-1]
    step = max(1, piece_rows(width, dtype.itemsize) // max(1, prod(trailing)))
    orders = [None if positions is None else np.argsort(positions) for positions in rows.positions]
    for start in range(0, rows.size, step):
        stop = min(start + step, rows.size)
        piece = np.zeros((stop - start, *trailing, width), dtype)
        column = 0
        for array, positions, order in zip(rows.arrays, rows.positions, orders, strict=True):
            columns = slice(column, column + array.shape[-1])
            if positions is None or order is None:
                piece[..., columns] = array[start:stop]
            else:
                inside = order[slice(*np.searchsorted(positions, [start, stop], sorter=order))]
                piece[positions[inside] - start, ..., columns] = array[inside]
            column += array.shape[-1]
        yield piece.reshape(prod(piece.shape[:-1]), width)


class Solved(NamedTuple):
    """The block of the solution (Q, P), and a report on it: JSON with rank, condition and residual."""

    weights: Chunk
    report: str


def solved(system: System, factors: Sequence[Factor]) -> Solved:
    """Solve the equations of one block, given by the factors of its chunks."""
    united = stack(factors)
    if not np.isfinite(united.triangle).all():
        raise LinearSystemError(
            f"{system.call}: the equations of {system.block} hold NaN or infinite numbers; "
            "leave such samples out"
        )
    # As in NumPy: by default double precision times the larger dimension, else at least this precision.
    precision = float(np.finfo(np.float64).eps)
    cutoff = system.rcond if system.rcond is not None and system.rcond > 0 else precision
    if system.rcond is None:
        cutoff *= max(united.equations, system.unknowns)
    solution = solve_factor(united, system.unknowns, cutoff)
    if system.unique and solution.rank < system.unknowns:
        raise LinearSystemError(
            f"{system.call}: the equations of {system.block} are singular, of rank {solution.rank} for "
            f"{system.unknowns} unknowns; lstsq gives the solution of minimum norm"
        )
    report = {
        "equations": united.equations,
        "rank": solution.rank,
        "condition": None if solution.condition is None else _rounded(solution.condition),
        "residual": _rounded(solution.residual),
    }
    return Solved(Chunk(solution.weights.T.astype(system.dtype)), json.dumps(report))


def _rounded(number: float) -> float:
    return float(f"{number:.{REPORT_DIGITS}g}")


@one_blas_thread()
def factor_parts(x: ChunkList, y: ChunkList) -> list[Factor]:
    """Factor the equations of each piece."""
    return [factored(a, b) for a, b in zip(x, y, strict=True)]


@task(share=MERGE_SHARE)
@one_blas_thread()
def stack_factors(sources: Sequence[tuple[int, int]], *parts: Sequence[Factor]) -> list[Factor]:
    """Join factors of chunks of one block."""
    return [stack([parts[number][place] for number, place in sources])]


@task(share=MERGE_SHARE)
@one_blas_thread()
def solve_parts(
    recipes: Sequence[tuple[System, Sequence[tuple[int, int]]]], *parts: Sequence[Factor]
) -> list[Solved]:
    """Solve the equations of some blocks, given by the factors of their chunks."""
    return [solved(system, [parts[n][place] for n, place in sources]) for system, sources in recipes]


@task(copies=True)
def weights_part(solutions: Sequence[Solved]) -> ChunkList:
    """Take the weights out of some solutions."""
    return [solution.weights for solution in solutions]


@task(copies=True)
def joined_reports(places: Sequence[tuple[int, int]], *parts: Sequence[Solved]) -> str:
    """Join the reports on all blocks, in their order: the text of a JSON list."""
    return f"[{', '.join(parts[part][place].report for part, place in places)}]"
