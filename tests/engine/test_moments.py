"""Sums, means and variances that are put together from pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.chunk import Chunk
from outgrad.engine.reduce.chunks import KINDS, Groups, finished, merged, moments
from outgrad.engine.shuffle.chunks import take


def chunk(rng: np.random.Generator, rows: int, offset: float = 0.0) -> Chunk:
    """Values, a gradient with some rows for each sample, and a gradient of it."""
    values = rng.normal(size=(rows, 2, 3)) + offset
    table = np.array([[s, t] for s in range(rows) for t in range(3) if rng.random() < 0.6], np.int32)
    table = table.reshape(-1, 2)
    second = np.array([[r, 0] for r in range(len(table))], np.int32).reshape(-1, 2)
    nested = Chunk(rng.normal(size=(len(second), 2, 3)), {}, second)
    gradient = Chunk(rng.normal(size=(len(table), 2, 3)), {"q": nested}, table)
    plain = Chunk(rng.normal(size=(len(table), 2, 3)), {}, table)
    return Chunk(values, {"p": gradient, "q": plain})


def assert_close(a: Chunk, b: Chunk) -> None:
    for (path, x), (_, y) in zip(a.walk(), b.walk(), strict=True):
        np.testing.assert_allclose(x.values, y.values, rtol=1e-11, atol=1e-11, err_msg=str(path))
        if path:
            assert np.array_equal(x.rows, y.rows)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_pieces_merged_in_any_way_are_the_whole(kind: str, data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, size = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    own = chunk(rng, rows, offset=100.0)
    target = np.concatenate([np.arange(min(size, rows)), rng.integers(0, min(size, rows), rows)])[:rows]
    target, count = rng.permutation(target), min(size, rows)
    whole = finished(kind, moments(kind, own, Groups(target, count, 0)), np.dtype(float))
    piece = np.array(data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows)))
    partials = []
    for number in range(3):
        index = np.flatnonzero(piece == number)
        present, local = np.unique(target[index], return_inverse=True)
        partials.append((moments(kind, take(own, index), Groups(local, len(present), 0)), present))
    assert_close(finished(kind, merged(partials, count), np.dtype(float)), whole)
    twice = [(merged(partials[:2], count), np.arange(count)), partials[2]]
    assert_close(finished(kind, merged(twice, count), np.dtype(float)), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_some_groups_of_moments(kind: str) -> None:
    own = chunk(np.random.default_rng(0), 6)
    target = np.array([0, 1, 2, 0, 1, 2])
    whole = finished(kind, moments(kind, own, Groups(target, 3, 0)), np.dtype(float))
    part = finished(kind, moments(kind, own, Groups(target, 3, 0)).rows(1, 3), np.dtype(float))
    assert_close(part, take(whole, np.array([1, 2])))


@pytest.mark.parametrize("axis", [0, -1])
def test_equal_entries_have_no_spread(axis: int) -> None:
    """0.1 + 0.1 + 0.1 is not 3 · 0.1, but the spread of three equal numbers is exactly 0."""
    values = np.full((3, 1) if axis == 0 else (1, 3), 0.1)
    out = finished(
        "std", moments("std", Chunk(values), Groups(np.zeros(3, int), 1, axis)), np.dtype(float), axis
    )
    assert out.values.tolist() == [[0.0]]
    parts = [(moments("std", Chunk(values[:1]), Groups(np.zeros(1, int), 1, 0)), np.zeros(1, int))] * 3
    if axis == 0:
        assert finished("std", merged(parts, 1), np.dtype(float)).values.tolist() == [[0.0]]


def test_a_large_mean_costs_no_digits() -> None:
    """Σx²/N − μ² would lose all digits at 10⁸."""
    rng = np.random.default_rng(0)
    values = 1e8 + rng.normal(size=(1000, 1))
    whole = Groups(np.zeros(500, int), 1, 0)
    parts = [(moments("var", Chunk(own), whole), np.zeros(1, int)) for own in (values[:500], values[500:])]
    found = finished("var", merged(parts, 1), np.dtype(float)).values
    np.testing.assert_allclose(found[0], np.var(values), rtol=1e-7)


def test_float32_is_summed_in_float64() -> None:
    values = np.array([[1e8], *([[1.0]] * 100)], np.float32)
    own = moments("sum", Chunk(values), Groups(np.zeros(101, int), 1, 0))
    assert own.first.values.dtype == np.float64
    assert finished("sum", own, np.dtype(np.float32)).values.tolist() == [[np.float32(1e8 + 100)]]
