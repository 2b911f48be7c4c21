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
from outgrad.tree import GradientPath, fold_down, follow

Wanted = Mapping[str, Any]
"""Parameters that a result is differentiated by, each with those of its gradient."""


def dense(y: Chunk) -> Chunk:
    """Values (1, Q, P), and gradients (T, *K, Q, P) with one row for each target, zero where y has none."""
    count = len(y.values)

    def step(gradient: Chunk, above: tuple[Index, Index, Any]) -> tuple[Index, Index, Any]:
        """For each row of a gradient its sample of y and its dense row, and the table of dense rows."""
        table, rows = group(gradient.rows, above[1])
        return above[0][gradient.rows[:, 0]], rows, table

    start: tuple[Index, Index, Any] = np.arange(count), np.zeros(count, np.int64), None
    places = follow(step, y, start)

    def spread(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        samples, rows, table = places[path]
        if not path:
            return Chunk(node.values[None], gradients)
        shape = node.values.shape
        values = np.zeros((len(table), *shape[1:-1], count, shape[-1]), node.values.dtype)
        values[rows, ..., samples, :] = node.values
        return Chunk(values, gradients, table)

    return fold_down(spread, y)


def outer(x: Chunk, y: Chunk) -> Chunk:
    """Multiply x (S, *C, P) with the dense form of y: values (S, *C, Q), and all gradients."""
    wanted: dict[str, Any] = {}
    for factor in (x, y):
        for path, _ in factor.walk():
            reduce(lambda nested, name: nested.setdefault(name, {}), path, wanted)
    return _ProductRule((_dependencies(x), _dependencies(y))).run(x, y, (), wanted)


def _dependencies(chunk: Chunk) -> frozenset[str]:
    """What a chunk depends on: parameters of its gradients at any depth."""
    return frozenset(path[-1] for path, _ in chunk.walk() if path)


class _Axes(NamedTuple):
    """Component axes of one derivative, and whether they are those of x."""

    of_x: bool
    number: int


@dataclass(frozen=True)
class _ProductRule:
    """The product rule; ``depends`` names the parameters that x and y depend on."""

    depends: tuple[frozenset[str], frozenset[str]]

    def run(self, u: Chunk, v: Chunk, axes: tuple[_Axes, ...], wanted: Wanted) -> Chunk:
        """Multiply derivatives of x and of y; ``axes`` lists their component axes, the last ones first."""
        gradients = {}
        for name, nested in wanted.items():
            terms = []
            left, right = self._find(u, name, 0), self._find(v, name, 1)
            u_count, v_count = len(u.values), len(v.values)
            if left is not None:
                of_left = _Axes(True, left.values.ndim - u.values.ndim)
                table = left.rows
                if v_count != 1:
                    labels = np.repeat(table[:, 1:], v_count, axis=0)
                    table = _pairs(table[:, 0], np.arange(v_count), v_count, labels)
                terms.append(replace(self.run(left, v, (of_left, *axes), nested), table=table))
            if right is not None:
                of_right = _Axes(False, right.values.ndim - v.values.ndim)
                labels = np.tile(right.rows[:, 1:], (u_count, 1))
                table = _pairs(np.arange(u_count), right.rows[:, 0], v_count, labels)
                terms.append(replace(self.run(u, right, (of_right, *axes), nested), table=table))
            if self.depends[1]:  # otherwise rows are those of x, which need not be sorted
                for n, term in enumerate(terms):
                    parents = term.rows[:, 0]
                    if (np.diff(parents) < 0).any():
                        order = np.argsort(parents, kind="stable")
                        terms[n] = replace(gather(term, order), table=term.rows[order])
            gradients[name] = add_gradients(terms)
        return Chunk(_contract(u.values, v.values, axes), gradients)

    def _find(self, factor: Chunk, name: str, side: int) -> Chunk | None:
        """The gradient of a factor; None where it is zero, since the argument does not depend on it."""
        if name not in factor.gradients and name in self.depends[side]:
            raise ValidationError(
                f"dot: a gradient is itself differentiated with respect to {[name]}, but tensor_{side + 1}, "
                "which depends on it, has no such gradient where the product rule needs it; "
                f"add the gradient {name!r} to the block, without rows if it is zero"
            )
        return factor.gradients.get(name)


def _pairs(u_parents: Index, v_parents: Index, count: int, labels: Table) -> Table:
    """Rows for all pairs of a row of u and a row of v, given their parents; v has ``count`` rows itself.

    Their parents are pairs too, numbered in the same way; ``labels`` are those of the pairs.
    """
    parents = u_parents[:, None] * count + v_parents
    return np.column_stack([parents.reshape(-1).astype(np.int32, copy=False), labels])


def _contract(u: Array, v: Array, axes: Sequence[_Axes]) -> Array:
    """Sum u (R, *K, *C, P) times v (T, *K, Q, P) over P: (R · T, *K, *C, Q), K in the order of ``axes``."""
    flat = u.reshape(prod(u.shape[:-1]), u.shape[-1]) @ v.reshape(prod(v.shape[:-1]), v.shape[-1]).T
    product = flat.reshape(*u.shape[:-1], *v.shape[:-1])  # (R, *K of u, *C, T, *K of v, Q)
    start_of_v = u.ndim - 1
    next_axis = {True: 1, False: start_of_v + 1}
    merged: list[int] = []
    for of_x, count in axes:
        merged += range(next_axis[of_x], next_axis[of_x] + count)
        next_axis[of_x] += count
    components = range(next_axis[True], start_of_v)
    moved = product.transpose(0, start_of_v, *merged, *components, product.ndim - 1)
    return moved.reshape(len(u) * len(v), *moved.shape[2:])


@task(copies=True)
def dense_part(part: ChunkList) -> ChunkList:
    """Bring uncut blocks into the form that every chunk is multiplied with."""
    return [dense(chunk) for chunk in part]


@task(holds_inputs=True)
@one_blas_thread()
def multiply_rows(others: Sequence[tuple[int, int]], part: ChunkList, *dense_parts: ChunkList) -> ChunkList:
    """Multiply each chunk with a dense block, given by the number of its part and its number in this part."""
    return [outer(chunk, dense_parts[n][number]) for chunk, (n, number) in zip(part, others, strict=True)]
