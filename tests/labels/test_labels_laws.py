"""Laws of labels as sets, for any labels."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrad.labels.labels import Labels

NAMES = ("a", "b", "c")
VALUES = st.one_of(st.integers(0, 2), st.sampled_from([-(2**31), -1, 2**31 - 1]))
LAW = settings(deadline=None, max_examples=150)


@st.composite
def some_labels(draw: Callable[..., Any], count: int = 1) -> tuple[Labels, ...]:
    names = NAMES[: draw(st.integers(1, 3))]
    rows = st.lists(st.tuples(*[VALUES] * len(names)), max_size=12, unique=True)
    return tuple(Labels(names, np.array(draw(rows), int).reshape(-1, len(names))) for _ in range(count))


def rows_of(labels: Labels) -> list[Any]:
    return [tuple(row) for row in labels.values.tolist()]


@LAW
@given(some_labels(count=2))
def test_union(pair: tuple[Labels, ...]) -> None:
    first, second = pair
    union, first_mapping, second_mapping = first.union_and_mapping(second)
    assert rows_of(union) == rows_of(first) + [row for row in rows_of(second) if row not in rows_of(first)]
    assert set(rows_of(union)) == set(rows_of(second.union(first)))
    assert np.array_equal(union.values[first_mapping], first.values)
    assert np.array_equal(union.values[second_mapping], second.values)


@LAW
@given(some_labels(count=2))
def test_intersection(pair: tuple[Labels, ...]) -> None:
    first, second = pair
    common, first_mapping, second_mapping = first.intersection_and_mapping(second)
    smaller, larger = (first, second) if len(first) <= len(second) else (second, first)
    assert rows_of(common) == [row for row in rows_of(smaller) if row in rows_of(larger)]
    for labels, mapping in ((first, first_mapping), (second, second_mapping)):
        assert np.array_equal(common.values[mapping[mapping >= 0]], labels.values[mapping >= 0])
        assert sorted(mapping[mapping >= 0].tolist()) == list(range(len(common)))
        assert (mapping >= 0).tolist() == [row in rows_of(common) for row in rows_of(labels)]


@LAW
@given(some_labels(count=2))
def test_difference_and_intersection_are_a_partition(pair: tuple[Labels, ...]) -> None:
    first, second = pair
    rest, mapping = first.difference_and_mapping(second)
    common = first.intersection(second)
    assert set(rows_of(rest)) | set(rows_of(common)) == set(rows_of(first))
    assert not set(rows_of(rest)) & set(rows_of(common))
    assert rows_of(rest) == [row for row in rows_of(first) if row not in rows_of(second)]
    assert np.array_equal(rest.values[mapping[mapping >= 0]], first.values[mapping >= 0])
    assert np.count_nonzero(mapping >= 0) == len(rest)


@LAW
@given(some_labels(count=3))
def test_union_is_associative(three: tuple[Labels, ...]) -> None:
    first, second, third = three
    assert first.union(second).union(third) == first.union(second.union(third))


@LAW
@given(some_labels(), st.data())
def test_select_equals_brute_force(one: tuple[Labels, ...], data: st.DataObject) -> None:
    (labels,) = one
    chosen = data.draw(st.permutations(labels.names))[: data.draw(st.integers(1, len(labels.names)))]
    rows = data.draw(st.lists(st.tuples(*[VALUES] * len(chosen)), max_size=6, unique=True))
    found = labels.select(Labels(chosen, np.array(rows, int).reshape(-1, len(chosen)))).tolist()
    if chosen == labels.names:
        assert found == [rows_of(labels).index(row) for row in rows if row in rows_of(labels)]
    else:
        projected = zip(*(labels[name].tolist() for name in chosen), strict=True)
        assert found == [position for position, row in enumerate(projected) if row in rows]


@LAW
@given(some_labels(count=2))
def test_position(pair: tuple[Labels, ...]) -> None:
    first, second = pair
    for entry in second:
        expected = rows_of(first).index(tuple(entry)) if tuple(entry) in rows_of(first) else None
        assert first.position(entry) == expected


@LAW
@given(some_labels(count=2))
def test_equal_means_equal_digest(pair: tuple[Labels, ...]) -> None:
    first, second = pair
    assert (first == second) == (rows_of(first) == rows_of(second))
    assert (first == second) == (first.digest == second.digest)


@LAW
@given(some_labels(), st.data())
def test_columns_can_be_moved_back(one: tuple[Labels, ...], data: st.DataObject) -> None:
    (labels,) = one
    order = data.draw(st.permutations(range(len(labels.names))))
    assert labels.permute(order).permute(np.argsort(order)) == labels
    assert labels.append("z", np.arange(len(labels))).remove("z") == labels if len(labels) else True
    assert labels.rename("a", "z").rename("z", "a") == labels
    assert pickle.loads(pickle.dumps(labels)) == labels


@LAW
@given(some_labels(), st.data())
def test_slices_join_to_the_whole(one: tuple[Labels, ...], data: st.DataObject) -> None:
    (labels,) = one
    cut = data.draw(st.integers(0, len(labels)))
    assert labels.slice_rows(0, cut).union(labels.slice_rows(cut, len(labels))) == labels
