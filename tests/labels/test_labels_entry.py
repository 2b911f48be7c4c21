"""One row of labels."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest

from outgrad.errors import ValidationError
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels


@pytest.fixture
def entry() -> LabelsEntry:
    return LabelsEntry(["system", "atom"], [0, 3])


def test_reading(entry: LabelsEntry) -> None:
    assert (len(entry), list(entry), entry.names, entry.device) == (2, [0, 3], ["system", "atom"], "cpu")
    assert entry.values.dtype == np.int32
    assert not entry.values.flags.writeable
    assert (entry["atom"], entry[1], entry[-2], entry[np.uint8(1)]) == (3, 3, 0, 3)
    assert type(entry["atom"]) is int


def test_texts(entry: LabelsEntry) -> None:
    assert str(entry) == repr(entry) == "LabelsEntry(system=0, atom=3)"
    assert entry.print() == "(system=0, atom=3)"
    assert repr(LabelsEntry([], np.empty(0, int))) == "LabelsEntry()"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (LabelsEntry(["system", "atom"], np.array([0, 3])), True),
        (LabelsEntry(["system", "atom"], [0, 4]), False),
        (LabelsEntry(["system", "n"], [0, 3]), False),
        ((0, 3), False),
        (np.array([0, 3]), False),
        (None, False),
    ],
)
def test_equality(entry: LabelsEntry, other: Any, expected: bool) -> None:
    assert (entry == other) is expected
    assert (other == entry) is expected
    if isinstance(other, LabelsEntry):
        assert (hash(entry) == hash(other)) is expected


def test_pickling(entry: LabelsEntry, labels: Labels) -> None:
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert pickle.loads(pickle.dumps(labels[1])) == labels[1]


def test_names_are_a_new_list_each_time(entry: LabelsEntry) -> None:
    entry.names.clear()
    assert entry.names == ["system", "atom"]


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ("n", ValueError, "Labels: 'n' is not a dimension; use one of ['system', 'atom']"),
        (2, IndexError, "out of bounds"),
        (
            slice(0, 1),
            TypeError,
            "LabelsEntry: an index must be one name or one integer, found slice; for several",
        ),
        (0.0, TypeError, "an index must be one name or one integer, found float"),
    ],
)
def test_index_that_is_refused(entry: LabelsEntry, index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        entry[index]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            [0],
            ValidationError,
            "LabelsEntry: names ['system', 'atom'] need 2 value(s), found shape (1,); pass one",
        ),
        ([[0, 1]], ValidationError, "found shape (1, 2)"),
        ([0, 0.5], TypeError, "0.5 in row 0 of column 'atom'"),
        ([0, 2**31], ValidationError, "found 2147483648 in row 0 of column 'atom'"),
    ],
)
def test_values_that_are_refused(values: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        LabelsEntry(["system", "atom"], values)


def test_attributes_cannot_be_set(entry: LabelsEntry) -> None:
    with pytest.raises(AttributeError):
        entry.values = [1, 2]
    with pytest.raises(AttributeError):
        entry.other = 1


def test_the_array_of_the_caller_is_not_kept() -> None:
    array = np.array([0, 3], np.int32)
    entry = LabelsEntry(["system", "atom"], array)
    array[0] = 9
    assert list(entry) == [0, 3]
