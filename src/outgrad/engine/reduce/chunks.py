"""Sums, means, variances and standard deviations of groups: what a chunk contributes, and how that is merged.

With c any constant of a group, N its size and x' = x − c,

    mean = c + Σ x' / N        var = Σ x'² / N − (Σ x' / N)²

A constant changes no gradient, so all gradients follow from those of the two sums; c is chosen as the mean of
the values at hand, so that no digits are lost in the difference. Sums of two chunks with constants a and b
are brought to one c by δ = a − c:

    Σ (x − c) = Σ (x − a) + N δ        Σ (x − c)² = Σ (x − a)² + 2 δ Σ (x − a) + N δ²
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from outgrad.data.chunk import Array, Chunk, ChunkList, Table, join_chunks
from outgrad.data.positions import Index, positions
from outgrad.data.stored_rows import resolved
from outgrad.engine.reduce.plan import group_rows
from outgrad.engine.shuffle.chunks import take
from outgrad.gradients.elementwise import ADD, POWER, ROOT, SUBTRACT
from outgrad.gradients.rule import Composite, apply_part, map_arrays, sum_rows, times_array
from outgrad.gradients.scatter import accumulator, scatter_columns
from outgrad.task import MERGE_SHARE, SHARE, task
from outgrad.tree import GradientPath, fold_down, follow

SPREAD = ("var", "std")
"""Kinds that need the sum of squares."""
KINDS = ("sum", "mean", *SPREAD)


class Groups(NamedTuple):
    """Entry i of an axis belongs to group ``target[i]`` of ``size``; every group has an entry."""

    target: Index
    size: int
    axis: int
    """0 for rows, −1 for columns."""

    @property
    def counts(self) -> Array:
        return np.bincount(self.target, minlength=self.size)

    def summed(self, chunk: Chunk, dtype: np.dtype[Any]) -> Chunk:
        """Sum rows or columns by group, gradients too."""
        if self.axis == 0:
            return sum_rows(chunk, self.target, self.size, dtype)
        return map_arrays(chunk, lambda array: scatter_columns(array, self.target, self.size, dtype))

    def center(self, values: Array) -> Array:
        """Mean of each group: its first entry and the mean distance to it, exact where all are the same."""
        if values.shape[self.axis] < len(self.target):
            return values  # an array without content
        first = np.zeros(self.size, dtype=np.int64)
        first[self.target[::-1]] = np.arange(len(self.target))[::-1]
        start = np.take(values, first, axis=self.axis)
        distances = self.summed(Chunk(values - self.spread(start)), values.dtype)
        return start + divided(distances, self.counts, self.axis).values

    def spread(self, array: Array) -> Array:
        """Give each entry what its group has."""
        if array.shape[self.axis] < self.size:
            return array
        return np.take(array, self.target, axis=self.axis)


@dataclass(frozen=True, slots=True)
class Moments:
    """Of each group: number of entries, constant, Σ (x − constant) and Σ (x − constant)²."""

    count: Array
    shift: Array | None
    first: Chunk
    second: Chunk | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        second = 0 if self.second is None else self.second.nbytes
        return self.count.nbytes + self.first.nbytes + second

    def rows(self, start: int, stop: int) -> Moments:
        """The moments of some groups."""
        index = np.arange(start, stop)
        return Moments(
            self.count[start:stop],
            None if self.shift is None else self.shift[start:stop],
            take(self.first, index),
            None if self.second is None else take(self.second, index),
        )


def moments(kind: str, chunk: Chunk, groups: Groups, final: bool = False) -> Moments:
    """What a chunk contributes to its groups; sums are taken in float64.

    ``final`` says that nothing will be merged: then Σ x' is 0 but for rounding, and its gradient is not
    needed unless gradients are differentiated again.
    """
    wide = wide_dtype(kind, chunk.values.dtype)
    if kind not in SPREAD:
        return Moments(groups.counts, None, groups.summed(chunk, wide))
    values = chunk.values.astype(wide, copy=False)
    shift = groups.center(values)
    centred = Chunk(values - groups.spread(shift), chunk.gradients)
    nested = any(gradient.gradients for gradient in chunk.gradients.values())
    first = centred if nested or not final else Chunk(centred.values)
    squares = POWER([centred], 2)
    return Moments(groups.counts, shift, groups.summed(first, wide), groups.summed(squares, wide))


def merged(partials: Sequence[tuple[Moments, Index]], size: int) -> Moments:
    """Add up moments; the groups of each are given as numbers below ``size``."""
    target = np.concatenate([groups for _, groups in partials])
    count = np.zeros(size, dtype=np.int64)
    np.add.at(count, target, np.concatenate([partial.count for partial, _ in partials]))
    shifts = [partial.shift for partial, _ in partials if partial.shift is not None]
    if not shifts:
        first = sum_rows(join_chunks([partial.first for partial, _ in partials]), target, size)
        return Moments(count, None, first)

    # The mean of the constants; taken of differences, it is exact where they agree.
    start = np.zeros((size, *shifts[0].shape[1:]), shifts[0].dtype)
    for (_, groups), shift in reversed(list(zip(partials, shifts, strict=True))):
        start[groups] = shift
    total = np.zeros_like(start)
    for (partial, groups), shift in zip(partials, shifts, strict=True):
        total[groups] += _by_row(partial.count, shift) * (shift - start[groups])
    common = start + total / np.maximum(_by_row(count, start), 1)

    # Both sums of each are brought to this constant, by δ.
    firsts, seconds = [], []
    for (partial, groups), shift in zip(partials, shifts, strict=True):
        assert partial.second is not None, "there are squares where there is a constant"
        delta = shift - common[groups]
        partial_count = _by_row(partial.count, delta)
        second = ADD([partial.second, times_array(partial.first, 2 * delta)])
        firsts.append(replace(partial.first, values=partial.first.values + partial_count * delta))
        seconds.append(replace(second, values=second.values + partial_count * delta**2))
    first, second = (sum_rows(join_chunks(chunks), target, size) for chunks in (firsts, seconds))
    return Moments(count, common, first, second)


def _by_row(count: Array, like: Array) -> Array:
    return count.reshape(-1, *(1,) * (like.ndim - 1))


def finished(kind: str, sums: Moments, dtype: np.dtype[Any], axis: int = 0) -> Chunk:
    """The sum, mean, variance or standard deviation, in the dtype of the result."""
    out = sums.first
    if kind != "sum":
        out = divided(out, sums.count, axis)
    if sums.second is not None:
        spread = SUBTRACT([divided(sums.second, sums.count, axis), POWER([out], 2)])
        out = replace(spread, values=np.maximum(spread.values, 0))
    if kind == "std":
        out = ROOT([out])
    return map_arrays(out, lambda array: array.astype(dtype, copy=False))


def divided(chunk: Chunk, count: Array, axis: int) -> Chunk:
    """Divide each group by its number of entries."""
    if axis == -1:
        return map_arrays(chunk, lambda array: array / count if array.shape[-1] == len(count) else array)
    counts = follow(lambda gradient, above: above[gradient.rows[:, 0]], chunk, count)

    def divide(path: GradientPath, _: Any, node: Chunk, gradients: dict[str, Chunk]) -> Chunk:
        return Chunk(node.values / _by_row(counts[path], node.values), gradients, node.table)

    return fold_down(divide, chunk)


def wide_dtype(kind: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype in which sums are taken: integers are counted exactly, means are floats."""
    return accumulator(dtype) if kind == "sum" else np.result_type(dtype, np.float64)


def result_dtype(kind: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype of the result: that of the values, but means of integers are floats."""
    return dtype if kind == "sum" or dtype.kind in "fc" else np.dtype(np.float64)


def reduction(kind: str, axis: int) -> Composite:
    """The operation on one chunk that has all entries of its groups."""

    def function(chunks: Sequence[Chunk], target: Index, size: int) -> Chunk:
        chunk = chunks[0]
        sums = moments(kind, chunk, Groups(target, size, axis), final=True)
        out = finished(kind, sums, result_dtype(kind, chunk.values.dtype), axis)
        return replace(out, table=chunk.table if axis == -1 else None)

    name = f"{kind}_{'rows' if axis == 0 else 'columns'}"
    return Composite(name, function, linear=kind not in SPREAD, share=SHARES[kind])


SHARES = {"sum": SHARE, "mean": SHARE, "var": 3.5, "std": 3.5}
"""What a reduction holds on the way: squares are taken of complete arrays (see tests/lazy/test_memory.py)."""

REDUCTIONS = {(kind, axis): reduction(kind, axis) for kind in KINDS for axis in (0, -1)}


def local_groups(samples: Table, columns: Sequence[int]) -> tuple[Index, int]:
    """The group of each row of a chunk, and how many groups it has: for samples that a task reads."""
    distinct, target = group_rows(samples, columns)
    return target, len(distinct)


@task(holds_inputs=True, share=lambda rule, *_: rule.share)
def reduce_part(rule: Composite, groups_of_pieces: Sequence[Any], part: ChunkList) -> ChunkList:
    """Reduce each chunk by itself; tasks read stored samples, and group them."""
    return apply_part(rule, [resolved(groups) for groups in groups_of_pieces], part)


@task(share=lambda kind, *_: SHARES[kind])
def contribute(kind: str, groups_of_pieces: Sequence[Any], part: ChunkList) -> list[Moments]:
    """What each chunk contributes to the groups of its rows."""
    out = []
    for groups, chunk in zip(groups_of_pieces, part, strict=True):
        target, size = resolved(groups)
        out.append(moments(kind, chunk, Groups(target, size, 0)))
    return out


def cut_contribution(number: int, rows: tuple[int, int], part: Sequence[Moments]) -> list[Moments]:
    """Take some groups out of a contribution."""
    return [part[number].rows(*rows)]


@task(share=MERGE_SHARE)
def merge_contributions(
    kind: str, final: bool, recipes: Sequence[tuple[int, Any, Any]], *parts: Sequence[Moments]
) -> list[Any]:
    """Merge contributions into new chunks; ``final`` ones become chunks, others are merged further."""
    out = []
    for size, sources, dtype in recipes:
        sums = merged([(parts[n][number], positions(groups)) for n, number, groups in sources], size)
        out.append(finished(kind, sums, dtype) if final else sums)
    return out
