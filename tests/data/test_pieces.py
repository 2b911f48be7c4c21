"""Chunks: cutting, joining, walking, comparing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.chunk import Chunk, cut_chunk, join_chunks
from outgrad.engine.compare.chunks import Tolerance, difference


def chunk(samples: int, column: Any, below: Any = ()) -> Chunk:
    """Values 0, 1, …; a gradient with rows of samples ``column``, and one below with rows of ``below``."""
    nested = Chunk(np.arange(len(below))[:, None], {}, np.array(below, np.int32).reshape(-1, 1))
    rows = np.column_stack([column, np.arange(len(column)) + 70]).astype(np.int32).reshape(-1, 2)
    gradient = Chunk(np.arange(len(column))[:, None] * 10, {"y": nested}, rows)
    return Chunk(np.arange(samples)[:, None], {"x": gradient})


WHOLE = chunk(4, [0, 0, 2, 3], [0, 2, 2, 3])


def test_cut_numbers_parents_from_its_start() -> None:
    made = cut_chunk(WHOLE, [(2, 4), (2, 4), (1, 4)])
    assert made.values.tolist() == [[2], [3]]
    assert made.gradients["x"].values.tolist() == [[20], [30]]
    assert made.gradients["x"].rows.tolist() == [[0, 72], [1, 73]]
    assert made.at(("x", "y")).values.tolist() == [[1], [2], [3]]
    assert made.at(("x", "y")).rows.tolist() == [[0], [0], [1]]
    assert WHOLE.gradients["x"].rows.tolist() == [[0, 70], [0, 71], [2, 72], [3, 73]]


def test_cut_shares_values() -> None:
    made = cut_chunk(WHOLE, [(0, 2), (0, 2), (0, 1)])
    assert np.shares_memory(made.values, WHOLE.values)
    assert np.shares_memory(made.gradients["x"].rows, WHOLE.gradients["x"].rows)


def same(a: Chunk, b: Chunk) -> bool:
    return [(p, c.values.tolist(), None if c.table is None else c.table.tolist()) for p, c in a.walk()] == [
        (p, c.values.tolist(), None if c.table is None else c.table.tolist()) for p, c in b.walk()
    ]


@given(st.data())
def test_join_is_the_inverse_of_cut(data: Any) -> None:
    column = sorted(data.draw(st.lists(st.integers(0, 4), max_size=6)))
    below = sorted(data.draw(st.lists(st.integers(0, len(column) - 1), max_size=6))) if column else []
    whole = chunk(5, column, below)
    edges = sorted([0, *data.draw(st.lists(st.integers(0, 5), max_size=4)), 5])
    rows = np.searchsorted(column, edges).tolist()
    nested = np.searchsorted(below, rows).tolist()
    pieces = [
        cut_chunk(whole, [(own[n], own[n + 1]) for own in (edges, rows, nested)])
        for n in range(len(edges) - 1)
    ]
    assert same(join_chunks(pieces), whole)


def test_joining_one_chunk_copies_nothing() -> None:
    assert join_chunks([WHOLE]) is WHOLE


def test_chunks_know_their_sizes() -> None:
    assert WHOLE.nbytes == 3 * 4 * 8 + 4 * 2 * 4 + 4 * 4
    assert [path for path, _ in WHOLE.walk()] == [(), ("x",), ("x", "y")]
    assert WHOLE.at(()) is WHOLE
    with pytest.raises(AssertionError, match="only the chunk of a gradient has a table of rows"):
        _ = WHOLE.rows


def changed(path: tuple[str, ...], to: float) -> Chunk:
    made = chunk(4, [0, 0, 2, 3], [0, 2, 2, 3])
    made.at(path).values[-1] = to
    return made


@pytest.mark.parametrize("path", [(), ("x",), ("x", "y")])
def test_differences_are_found_where_they_are(path: tuple[str, ...]) -> None:
    assert difference(WHOLE, changed(path, 99), Tolerance()) == path
    assert difference(WHOLE, changed(path, 99), Tolerance(0.1)) == path
    assert difference(WHOLE, changed(path, 99), Tolerance(0.1, 100)) is None
    assert difference(WHOLE, WHOLE, Tolerance()) is None


def test_tolerances_are_relative_to_the_second() -> None:
    less, more = Chunk(np.array([[90.0]])), Chunk(np.array([[100.0]]))
    assert difference(less, more, Tolerance(0.105)) is None
    assert difference(more, less, Tolerance(0.105)) == ()
    assert difference(more, less, Tolerance(0.0, 10.5)) is None


def test_shapes_differ_too() -> None:
    other = Chunk(WHOLE.values[:3], WHOLE.gradients)
    assert difference(WHOLE, other, Tolerance()) == ()
    assert difference(WHOLE, other, Tolerance(1.0, 100)) == ()


def test_nan_is_close_to_nan_on_request() -> None:
    made = Chunk(np.array([[np.nan]]))
    assert difference(made, made, Tolerance()) == ()
    assert difference(made, made, Tolerance(0.0)) == ()
    assert difference(made, made, Tolerance(0.0, 0.0, True)) is None
