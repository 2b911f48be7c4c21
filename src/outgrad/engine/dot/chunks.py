"""Products of all rows of one block with all rows of another: dot, with gradients on either side.

h = B(x, y) = x · yᵀ is linear in each argument, so ∂B(x, y) = B(∂x, y) + B(x, ∂y), and so on for each term.
A gradient row of y acts on every sample of x. So y is first brought into a form where its samples are columns
of the result, and its targets are the rows: :func:`dense`. Then a row of the result is a pair, of a row of x
or of a gradient of x, and of a row of the dense form; and :func:`outer` is the only product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import prod
from typing import Any, NamedTuple

import numpy as np

from outgrad._threads import one_blas_thread
from outgrad.data.chunk import Array, Chunk, ChunkList, Table
from outgrad.data.positions import Index
from outgrad.data.rows import group
from outgrad.errors import ValidationError
from outgrad.gradients.rule import add_gradients, gather
from outgrad.task import task
from outgrad.tree import Tree

Wanted = Mapping[str, Any]
"""Parameters that a result is differentiated by, each with those of its gradient."""


def dense(y: Chunk) -> Chunk:
    """Values (1, Q, P), and gradients (T, *K, Q, P) with one row for each target, zero where y has none."""
    samples = np.arange(len(y.values))
    gradients = {
        name: _dense(gradient, samples, np.zeros_like(samples), len(samples))
        for name, gradient in y.gradients.items()
    }
    return Chunk(y.values[None], gradients)


def _dense(gradient: Chunk, samples: Index, places: Index, count: int) -> Chunk:
    """``samples`` and ``places`` are the sample of y and the dense row that each parent row belongs to."""
    own = samples[gradient.rows[:, 0]]
    table, where = group(gradient.rows, places)
    shape = gradient.values.shape
    values = np.zeros((len(table), *shape[1:-1], count, shape[-1]), gradient.values.dtype)
    values[where, ..., own, :] = gradient.values
    gradients = {name: _dense(below, own, where, count) for name, below in gradient.gradients.items()}
    return Chunk(values, gradients, table)


def outer(x: Chunk, y: Chunk) -> Chunk:
    """Multiply x (S, *C, P) with the dense form of y: values (S, *C, Q), and all gradients."""
    product = _Product((_parameters(x), _parameters(y)))
    return product.run(x, y, (), _wanted([x, y]))


def _parameters(chunk: Chunk) -> frozenset[str]:
    """What a chunk depends on: parameters of its gradients at any depth."""
    return frozenset(path[-1] for path, _ in chunk.walk() if path)


def _wanted(nested: Sequence[Tree]) -> Wanted:
    """The gradients that any of the arguments has, at every depth."""
    wanted: dict[str, Any] = {}
    for each in nested:
        for path, _ in each.walk():
            reduce(lambda below, name: below.setdefault(name, {}), path, wanted)
    return wanted


class _Axes(NamedTuple):
    """Component axes of one derivative, and whether they are those of x."""

    of_x: bool
    axes: int


@dataclass(frozen=True)
class _Product:
    """The product rule; ``depends`` names the parameters that x and y depend on."""

    depends: tuple[frozenset[str], frozenset[str]]

    def run(self, u: Chunk, v: Chunk, axes: tuple[_Axes, ...], wanted: Wanted) -> Chunk:
        """Multiply derivatives of x and of y; ``axes`` lists their component axes, the last ones first."""
        gradients = {name: self._derivative(u, v, axes, name, below) for name, below in wanted.items()}
        return Chunk(_contract(u.values, v.values, axes), gradients)

    def _derivative(self, u: Chunk, v: Chunk, axes: tuple[_Axes, ...], name: str, wanted: Wanted) -> Chunk:
        pieces = []
        left, right = self._find(u, name, 0), self._find(v, name, 1)
        if left is not None:
            own = _Axes(True, left.values.ndim - u.values.ndim)
            table = _rows_of_left(left.rows, len(v.values))
            pieces.append(replace(self.run(left, v, (own, *axes), wanted), table=table))
        if right is not None:
            own = _Axes(False, right.values.ndim - v.values.ndim)
            table = _rows_of_right(right.rows, len(u.values), len(v.values))
            pieces.append(replace(self.run(u, right, (own, *axes), wanted), table=table))
        # Without gradients of y rows are those of x, which need not be sorted.
        return add_gradients([_sorted(piece) for piece in pieces] if self.depends[1] else pieces)

    def _find(self, factor: Chunk, name: str, side: int) -> Chunk | None:
        """The gradient of a factor; None where it is zero, since the argument does not depend on it."""
        if name not in factor.gradients and name in self.depends[side]:
            raise ValidationError(
                f"dot: a gradient is itself differentiated with respect to {[name]}, but tensor_{side + 1}, "
                "which depends on it, has no such gradient where the product rule needs it; "
                f"add the gradient {name!r} to the block, without rows if it is zero"
            )
        return factor.gradients.get(name)


def _rows_of_left(table: Table, count: int) -> Table:
    """Labels of all pairs (row of a gradient of u, row of v), for the pairs (row of u, row of v)."""
    if count == 1:
        return table
    parents = table[:, :1] * count + np.arange(count, dtype=np.int32)
    return np.column_stack([parents.reshape(-1), np.repeat(table[:, 1:], count, axis=0)])


def _rows_of_right(table: Table, rows: int, count: int) -> Table:
    """Labels of all pairs (row of u, row of a gradient of v), for the pairs (row of u, row of v)."""
    parents = np.arange(rows, dtype=np.int32)[:, None] * count + table[:, 0]
    return np.column_stack([parents.reshape(-1), np.tile(table[:, 1:], (rows, 1))])


def _contract(u: Array, v: Array, axes: Sequence[_Axes]) -> Array:
    """Sum u (R, *K, *C, P) times v (T, *K, Q, P) over P: (R · T, *K, *C, Q), K in the order of ``axes``."""
    flat = u.reshape(prod(u.shape[:-1]), u.shape[-1]) @ v.reshape(prod(v.shape[:-1]), v.shape[-1]).T
    product = flat.reshape(*u.shape[:-1], *v.shape[:-1])
    start = u.ndim - 1
    at = {True: 1, False: start + 1}
    merged: list[int] = []
    for of_x, own in axes:
        merged += range(at[of_x], at[of_x] + own)
        at[of_x] += own
    moved = product.transpose(0, start, *merged, *range(at[True], start), product.ndim - 1)
    return moved.reshape(len(u) * len(v), *moved.shape[2:])


def _sorted(gradient: Chunk) -> Chunk:
    """Order rows by their parents; those of one parent keep their order."""
    parents = gradient.rows[:, 0]
    if (np.diff(parents) >= 0).all():
        return gradient
    order = np.argsort(parents, kind="stable")
    return replace(gather(gradient, order), table=gradient.rows[order])


@task(copies=True)
def dense_part(part: ChunkList) -> ChunkList:
    """Bring whole blocks into the form that every chunk is multiplied with."""
    return [dense(chunk) for chunk in part]


@task(holds_inputs=True)
@one_blas_thread()
def multiply_rows(others: Sequence[tuple[int, int]], part: ChunkList, *whole: ChunkList) -> ChunkList:
    """Multiply each piece with a whole block in dense form, given by its part and its place in that part."""
    return [outer(chunk, whole[n][place]) for chunk, (n, place) in zip(part, others, strict=True)]
