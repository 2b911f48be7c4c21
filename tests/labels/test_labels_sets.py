"""Union, intersection, difference, selection: orders and mappings, by example."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from outgrad.errors import ValidationError
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels


def column(*values: int) -> Labels:
    return Labels("n", np.array(values, dtype=int).reshape(-1, 1))


def listed(result: tuple[Labels | np.ndarray, ...]) -> tuple[list[Any], ...]:
    labels, *mappings = result
    assert all(mapping.dtype == np.int64 for mapping in mappings)
    return labels["n"].tolist(), *(mapping.tolist() for mapping in mappings)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (column(4, 1), column(0, 1, 2), ([4, 1, 0, 2], [0, 1], [2, 1, 3])),
        (column(4, 1), column(1), ([4, 1], [0, 1], [1])),
        (column(4, 1), column(4, 1), ([4, 1], [0, 1], [0, 1])),
        (column(4, 1), column(1, 4), ([4, 1], [0, 1], [1, 0])),
        (column(), column(3, 2), ([3, 2], [], [0, 1])),
        (column(3, 2), column(), ([3, 2], [0, 1], [])),
        (column(), column(), ([], [], [])),
    ],
)
def test_union(first: Labels, second: Labels, expected: tuple[list[Any], ...]) -> None:
    assert listed(first.union_and_mapping(second)) == expected
    assert first.union(second)["n"].tolist() == expected[0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (column(1, 2, 3), column(3, 1), ([3, 1], [1, -1, 0], [0, 1])),
        (column(3, 1), column(1, 2, 3), ([3, 1], [0, 1], [1, -1, 0])),
        (column(3, 1, 9), column(1, 2, 3), ([3, 1], [0, 1, -1], [1, -1, 0])),
        (column(1), column(2), ([], [-1], [-1])),
        (column(), column(2), ([], [], [-1])),
        (column(2), column(), ([], [-1], [])),
        (column(4, 1), column(4, 1), ([4, 1], [0, 1], [0, 1])),
    ],
)
def test_intersection(first: Labels, second: Labels, expected: tuple[list[Any], ...]) -> None:
    assert listed(first.intersection_and_mapping(second)) == expected
    assert first.intersection(second)["n"].tolist() == expected[0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (column(3, 1, 2), column(1, 7), ([3, 2], [0, -1, 1])),
        (column(3, 1), column(1, 3), ([], [-1, -1])),
        (column(3, 1), column(), ([3, 1], [0, 1])),
        (column(), column(1), ([], [])),
    ],
)
def test_difference(first: Labels, second: Labels, expected: tuple[list[Any], ...]) -> None:
    assert listed(first.difference_and_mapping(second)) == expected
    assert first.difference(second)["n"].tolist() == expected[0]


def test_unchanged_labels_are_returned_themselves() -> None:
    """So that digest, source and values in memory stay shared."""
    labels = column(3, 1)
    assert labels.union(column(1)) is labels
    assert labels.intersection(column(1, 2, 3)) is labels
    assert labels.difference(column(7)) is labels


def test_mappings_are_separate_arrays() -> None:
    _, first, second = column(3, 1).union_and_mapping(column(3, 1))
    first[0] = 9
    assert second[0] == 0


@pytest.mark.parametrize("operation", ["union", "intersection", "difference"])
@pytest.mark.parametrize("suffix", ["", "_and_mapping"])
def test_set_operations_refuse(labels: Labels, operation: str, suffix: str) -> None:
    method = getattr(labels, operation + suffix)
    message = f"{operation}: the names must be the same in the same order, found ['system', 'atom'] and "
    with pytest.raises(ValidationError, match=re.escape(message)):
        method(labels.permute([1, 0]))
    with pytest.raises(TypeError, match=f"{operation}: the other must be Labels, found list"):
        method([[0, 4]])


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Labels(["system", "atom"], [[1, 4], [7, 7], [0, 4]]), [2, 0]),
        (Labels(["atom", "system"], [[4, 1], [4, 0]]), [0, 2]),
        (Labels("atom", [[9], [4]]), [0, 2]),
        (Labels("system", [[0]]), [0, 1]),
        (Labels.empty("atom"), []),
        (Labels.empty(["system", "atom"]), []),
        (Labels([], np.empty((0, 0), int)), [0, 1, 2]),
        (LabelsEntry("atom", [5]), [1]),
        (LabelsEntry(["system", "atom"], [1, 4]), [2]),
        (LabelsEntry(["system", "atom"], [1, 5]), []),
    ],
)
def test_select(labels: Labels, selection: Labels | LabelsEntry, expected: list[Any]) -> None:
    positions = labels.select(selection)
    assert positions.dtype == np.int64
    assert positions.tolist() == expected


def test_select_refuses(labels: Labels) -> None:
    message = "select: ['n'] are not among the names of the labels; select by some of ['system', 'atom']"
    with pytest.raises(ValidationError, match=re.escape(message)):
        labels.select(Labels(["atom", "n"], [[0, 0]]))
    with pytest.raises(ValidationError, match=re.escape("select: ['n'] are not among the names")):
        labels.select(Labels.empty("n"))
    with pytest.raises(TypeError, match="select: the selection must be Labels or a LabelsEntry, found dict"):
        labels.select({"atom": 4})
