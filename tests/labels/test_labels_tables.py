"""Arithmetic on integer tables: the fast ways equal numpy's slow one, whatever the ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from outgrad._threads import several_threads
from outgrad.labels import rows as tables
from outgrad.labels.rows import find_rows, has_repeated_rows, is_sorted_rows, pack, unique_rows

FULL = st.integers(-(2**31), 2**31 - 1)
EDGES = st.sampled_from([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1])
SMALL = st.integers(-2, 2)
ELEMENTS = st.sampled_from([FULL, EDGES, SMALL])


@st.composite
def several_tables(draw: Callable[..., Any], count: int = 1) -> tuple[np.ndarray, ...]:
    """Tables with the same number of columns, each column of small, extreme or any values."""
    columns = draw(st.integers(1, 5))
    elements = [draw(ELEMENTS) for _ in range(columns)]
    rows = st.lists(st.tuples(*elements), max_size=30)
    return tuple(np.array(draw(rows), dtype=np.int32).reshape(-1, columns) for _ in range(count))


def brute_find(haystack: np.ndarray, needles: np.ndarray) -> list[Any]:
    first = {}
    for position, row in enumerate(map(tuple, haystack.tolist())):
        first.setdefault(row, position)
    return [first.get(tuple(row), -1) for row in needles.tolist()]


@pytest.fixture(params=["dense", "searched"])
def dense_factor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of lookup must find the same."""
    monkeypatch.setattr(tables, "DENSE_FACTOR", 1000 if request.param == "dense" else 0)
    monkeypatch.setattr(tables, "MANY_ROWS", 0)
    monkeypatch.setattr(tables, "PIECE_ROWS", 3)


ANY = settings(deadline=None, max_examples=150)


@ANY
@given(several_tables())
def test_unique_rows_equals_numpy(given_tables: tuple[np.ndarray, ...]) -> None:
    (table,) = given_tables
    expected, inverse = np.unique(table, axis=0, return_inverse=True)
    found, found_inverse = unique_rows(table)
    assert found.dtype == np.int32
    assert found_inverse.dtype == np.int64
    assert np.array_equal(found, expected)
    assert np.array_equal(found_inverse, inverse.reshape(-1))


@ANY
@given(several_tables())
def test_unique_rows_of_sorted_input_equals_numpy(given_tables: tuple[np.ndarray, ...]) -> None:
    table = np.array(sorted(given_tables[0].tolist()), dtype=np.int32).reshape(given_tables[0].shape)
    assert is_sorted_rows(table)
    assert np.array_equal(unique_rows(table)[0], np.unique(table, axis=0))
    assert np.array_equal(unique_rows(table)[0][unique_rows(table)[1]], table)


@ANY
@given(several_tables())
def test_keys_keep_equality_and_order(given_tables: tuple[np.ndarray, ...]) -> None:
    (table,) = given_tables
    packed, keys = pack(table)
    rows = [tuple(row) for row in table.tolist()]
    assert [rows[i] for i in np.argsort(keys, kind="stable")] == sorted(rows)
    assert len(set(keys.tolist())) == len(set(rows))
    assert all(0 <= key < packed.extent for key in keys.tolist())
    again, inside = packed.apply(table)
    assert np.array_equal(again, keys)
    assert inside is None or inside.all()


@ANY
@given(several_tables(), st.sampled_from([0, 128]))
def test_sorted_and_repeated_by_definition(given_tables: tuple[np.ndarray, ...], few_rows: int) -> None:
    (table,) = given_tables
    rows = [tuple(row) for row in table.tolist()]
    assert is_sorted_rows(table) == (rows == sorted(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "FEW_ROWS", few_rows)
        assert has_repeated_rows(table) == (len(set(rows)) < len(rows))


@settings(deadline=None, max_examples=200)
@given(several_tables(count=2), st.sampled_from([0, 8]), st.sampled_from([0, 10_000]))
def test_find_rows_equals_a_dictionary(
    given_tables: tuple[np.ndarray, ...], dense_factor: int, many_rows: int
) -> None:
    haystack, needles = given_tables
    needles = np.concatenate([needles, haystack[::-2]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "DENSE_FACTOR", dense_factor)
        patch.setattr(tables, "MANY_ROWS", many_rows)
        positions = find_rows(haystack, needles)
    assert positions.dtype == np.int64
    assert positions.tolist() == brute_find(haystack, needles)
    with several_threads(3):
        assert find_rows(haystack, needles).tolist() == brute_find(haystack, needles)


@ANY
@given(hnp.arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 9)), st.sampled_from([10, 2**62]))
def test_sort_keys_is_stable(keys: np.ndarray, extent: int) -> None:
    ordered, order = tables.sort_keys(keys, extent)
    assert np.array_equal(order, np.argsort(keys, kind="stable"))
    assert np.array_equal(ordered, np.sort(keys))


def test_columns_too_wide_for_one_key_are_ranked() -> None:
    wide = np.array([[-(2**31)] * 4, [2**31 - 1] * 4, [0] * 4], dtype=np.int32)
    packed, _ = pack(wide)
    assert sum(step.ranks is not None for step in packed.steps) >= 2
    needles = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [2**31 - 1] * 4], dtype=np.int32)
    assert find_rows(wide, needles).tolist() == [2, -1, -1, 1]


@pytest.mark.usefixtures("dense_factor")
def test_many_rows() -> None:
    rows = 3000
    generator = np.random.default_rng(7)
    haystack = generator.permutation(np.stack(np.divmod(np.arange(rows), 50), axis=1)).astype(np.int32)
    order = generator.permutation(rows)
    missing = haystack + np.int32(1000)
    needles = np.concatenate([haystack[order], missing])
    assert np.array_equal(find_rows(haystack, needles), np.concatenate([order, np.full(rows, -1)]))


def test_no_columns() -> None:
    table = np.empty((0, 0), dtype=np.int32)
    assert is_sorted_rows(table)
    assert not has_repeated_rows(table)
    assert unique_rows(table)[0].shape == (0, 0)


def test_strided_tables() -> None:
    table = np.arange(24, dtype=np.int32).reshape(8, 3)[::-2, ::2]
    assert unique_rows(table)[0].tolist() == np.unique(table, axis=0).tolist()
    assert find_rows(table, table).tolist() == [0, 1, 2, 3]
    assert tables.table_digest("ab", table) == tables.table_digest("ab", table.copy())


def test_inputs_are_not_changed() -> None:
    table = np.array([[3, 1], [2, 2], [3, 1]], dtype=np.int32)
    kept = table.copy()
    unique_rows(table)
    find_rows(table, table[::-1])
    has_repeated_rows(table)
    assert np.array_equal(table, kept)
