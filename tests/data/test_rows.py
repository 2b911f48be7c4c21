"""Maps of gradient rows: unite, renumber, group, lift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.rows import group, lift, merge, renumber


def table(rows: Any) -> np.ndarray:
    return np.array(rows, np.int32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("tables", "union", "places"),
    [
        ([[[0, 0], [1, 0]], [[0, 1], [1, 0]]], [[0, 0], [0, 1], [1, 0]], [[0, 2], [1, 2]]),
        ([[[0, 1]], []], [[0, 1]], [[0], []]),
        ([[], []], [], [[], []]),
        ([[[0, 5], [0, 4]], [[0, 5], [0, 4]]], [[0, 5], [0, 4]], [[0, 1], [0, 1]]),  # agree: order is kept
        ([[[0, 5], [0, 4]], [[0, 4], [0, 5]]], [[0, 4], [0, 5]], [[1, 0], [0, 1]]),
        ([[[0, 4], [0, 5]], [[0, 5], [0, 4]]], [[0, 4], [0, 5]], [[0, 1], [1, 0]]),
        (
            [[[0, 5], [0, 4], [1, 3], [1, 2]], [[0, 5], [0, 4], [1, 2]]],
            [[0, 5], [0, 4], [1, 2], [1, 3]],  # parent 0 agrees and keeps its order, parent 1 is sorted
            [[0, 1, 3, 2], [0, 1, 2]],
        ),
        (
            [[[1, 3], [1, 2], [0, 1]], [[0, 1], [1, 3], [1, 2]]],
            [[0, 1], [1, 3], [1, 2]],
            [[1, 2, 0], [0, 1, 2]],
        ),
    ],
)
def test_merge(tables: Any, union: Any, places: Any) -> None:
    found, where = merge([table(rows) for rows in tables])
    assert found.tolist() == union
    assert [place.tolist() for place in where] == places


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), unique=True)


@given(st.lists(rows, min_size=1, max_size=3))
def test_merge_holds_every_row_once_sorted_by_parent(given_: list[list[tuple[int, int]]]) -> None:
    tables = [table(own) for own in given_]
    union, places = merge(tables)
    assert sorted(map(tuple, union.tolist())) == sorted({row for own in given_ for row in own})
    assert (np.diff(union[:, 0]) >= 0).all()
    for own, place in zip(tables, places, strict=True):
        assert np.array_equal(union[place], own)


@given(st.lists(rows, min_size=2, max_size=2))
def test_rows_of_one_parent_do_not_depend_on_other_parents(given_: list[list[tuple[int, int]]]) -> None:
    tables = [table(own)[np.argsort(table(own)[:, 0], kind="stable")] for own in given_]
    union, _ = merge(tables)
    for parent in range(4):
        alone, _ = merge([own[own[:, 0] == parent] for own in tables])
        assert np.array_equal(union[union[:, 0] == parent], alone)


def test_a_table_has_no_say_in_parents_that_it_does_not_cover() -> None:
    pieces = [table([[0, 5], [0, 4]]), table([[1, 3], [1, 2]]), table([[0, 5], [0, 4], [1, 2], [1, 3]])]
    union, places = merge(pieces, [np.array([0, -1]), np.array([1]), None])
    assert union.tolist() == [[0, 5], [0, 4], [1, 2], [1, 3]]
    assert [place.tolist() for place in places] == [[0, 1], [3, 2], [0, 1, 2, 3]]
    assert merge(pieces)[0].tolist() == [[0, 4], [0, 5], [1, 2], [1, 3]]
    # −1 is no parent, also not the last one
    assert merge(pieces[:2], [np.array([0, -1]), np.array([1])])[0].tolist() == [
        [0, 5],
        [0, 4],
        [1, 3],
        [1, 2],
    ]


@given(st.lists(rows, min_size=2, max_size=3), st.integers(0, 4))
def test_tables_in_pieces_give_the_same_union(given_: list[list[tuple[int, int]]], at: int) -> None:
    tables = [table(own)[np.argsort(table(own)[:, 0], kind="stable")] for own in given_]
    pieces, covered = [], []
    for own in tables:
        first = own[:, 0] < at
        pieces += [own[first], own[~first]]
        covered += [np.arange(at), np.arange(at, 4)]
    assert np.array_equal(merge(pieces, covered)[0], merge(tables)[0])


def test_renumber() -> None:
    found = renumber(table([[0, 7], [2, 8], [0, 9]]), np.array([5, 6, 1]))
    assert found.tolist() == [[5, 7], [1, 8], [5, 9]]
    assert found.dtype == np.int32
    assert renumber(table([]), np.array([3])).shape == (0, 2)


def test_group() -> None:
    found, where = group(table([[0, 7], [1, 7], [2, 7], [1, 8]]), np.array([1, 1, 0]))
    assert found.tolist() == [[0, 7], [1, 7], [1, 8]]
    assert where.tolist() == [1, 1, 0, 2]


@pytest.mark.parametrize(
    ("index", "own", "read", "expected"),
    [
        ([1, 0], [[0, 7], [1, 8], [1, 9]], [1, 2, 0], [[0, 8], [0, 9], [1, 7]]),
        ([0, 0], [[0, 7]], [0, 0], [[0, 7], [1, 7]]),  # rows may be taken twice
        ([2, 0], [[0, 7], [1, 8]], [0], [[1, 7]]),  # a parent without rows takes none along
        ([1, 0], [[1, 9], [0, 7], [1, 8]], [0, 2, 1], [[0, 9], [0, 8], [1, 7]]),  # order of rows is kept
        ([], [[0, 7]], [], []),
        ([0], [], [], []),
    ],
)
def test_lift(index: Any, own: Any, read: Any, expected: Any) -> None:
    found, labels = lift(np.array(index, np.int64), table(own))
    assert found.tolist() == read
    assert labels.tolist() == expected
    assert labels.dtype == np.int32
