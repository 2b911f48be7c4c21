"""Groups of rows, and whether chunks hold whole groups."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.engine.reduce.plan import group_edges, group_rows

TABLE = np.array([[1, 5], [0, 5], [1, 4], [1, 5]], np.int32)


@pytest.mark.parametrize(
    ("columns", "rows", "target"),
    [
        ((0,), [[0], [1]], [1, 0, 1, 1]),
        ((1,), [[4], [5]], [1, 1, 0, 1]),
        ((0, 1), [[0, 5], [1, 4], [1, 5]], [2, 0, 1, 2]),
        ((1, 0), [[4, 1], [5, 0], [5, 1]], [2, 1, 0, 2]),
        ((), [[0]], [0, 0, 0, 0]),
    ],
)
def test_groups(columns: tuple[int, ...], rows: list[list[int]], target: list[int]) -> None:
    distinct, groups = group_rows(TABLE, columns)
    assert distinct.tolist() == rows
    assert groups.tolist() == target


@pytest.mark.parametrize("columns", [(), (0,), (0, 1)])
def test_no_rows_form_no_group(columns: tuple[int, ...]) -> None:
    distinct, groups = group_rows(TABLE[:0], columns)
    assert distinct.shape == (0, max(len(columns), 1))
    assert groups.shape == (0,)


@pytest.mark.parametrize(
    ("target", "edges", "expected"),
    [
        ([0, 0, 1, 1], [0, 2, 4], [0, 1, 2]),
        ([0, 0, 1, 1], [0, 4], [0, 2]),
        ([0, 0, 1, 1], [0, 1, 4], None),  # group 0 lies in both chunks
        ([1, 0, 3, 2], [0, 2, 4], [0, 2, 4]),  # not sorted inside a chunk
        ([1, 1, 0, 0], [0, 2, 4], None),  # chunks in the other order
        ([0, 2, 1, 3], [0, 2, 4], None),  # group 1 lies between those of the first chunk
        ([0, 1, 0], [0, 2, 3], None),
        ([0, 0, 1], [0, 2, 2, 3, 3], [0, 1, 1, 2, 2]),
        ([], [0, 0], [0, 0]),
        ([], [0, 0, 0], [0, 0, 0]),
    ],
)
def test_group_edges(target: list[int], edges: list[int], expected: list[int] | None) -> None:
    size = len(set(target))
    found = group_edges(np.array(target, np.int64), np.array(edges), size)
    assert (None if found is None else found.tolist()) == expected


@given(st.lists(st.integers(0, 4), max_size=10), st.lists(st.integers(0, 10), max_size=4), st.booleans())
def test_edges_are_found_exactly_where_chunks_hold_increasing_whole_groups(
    values: list[int], inner: list[int], ordered: bool
) -> None:
    rows = sorted(values) if ordered else values
    target = np.unique(np.array(rows, int), return_inverse=True)[1]
    size = len(set(rows))
    edges = sorted([0, *(min(edge, len(rows)) for edge in inner), len(rows)])
    chunks = [set(target[a:b].tolist()) for a, b in pairwise(edges)]
    found = group_edges(target, np.array(edges), size)
    flat = [group for chunk in chunks for group in sorted(chunk)]
    assert (found is not None) == (flat == list(range(size)))
    if found is not None:
        assert [set(range(a, b)) for a, b in pairwise(found)] == chunks
