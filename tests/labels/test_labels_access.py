"""Reading labels: columns, entries, positions, comparison, copies, and that nothing can be changed."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outgrad.errors import ValidationError
from outgrad.labels.entry import LabelsEntry
from outgrad.labels.labels import Labels
from outgrad.labels.rows import RowIndex

INTEGERS = [int, np.int8, np.int64, np.uint8, np.uint64, np.array]


def test_shape_length_bytes(labels: Labels) -> None:
    assert (labels.shape, len(labels), labels.nbytes, labels.device) == ((3, 2), 3, 24, "cpu")


def test_iteration_yields_entries(labels: Labels) -> None:
    assert [entry.print() for entry in labels] == [
        "(system=0, atom=4)",
        "(system=0, atom=5)",
        "(system=1, atom=4)",
    ]


@pytest.mark.parametrize("read", [Labels.column, Labels.__getitem__])
def test_column(labels: Labels, read: Callable[..., Any]) -> None:
    assert read(labels, "atom").tolist() == [4, 5, 4]
    assert not read(labels, "atom").flags.writeable
    with pytest.raises(
        ValueError, match=re.escape("Labels: 'n' is not a dimension; use one of ['system', 'atom']")
    ):
        read(labels, "n")


def test_column_needs_a_name(labels: Labels) -> None:
    with pytest.raises(
        TypeError, match=r"column: a dimension is a name, found int; use one of \['system', 'atom'\]"
    ):
        labels.column(0)


@pytest.mark.parametrize("integer", INTEGERS)
def test_any_integer_is_an_index(labels: Labels, integer: Callable[..., Any] | type[Any]) -> None:
    assert labels[integer(2)] == LabelsEntry(["system", "atom"], [1, 4])


def test_negative_index(labels: Labels) -> None:
    assert labels[-1] == labels[2] == labels.entry(np.int8(-1))


@pytest.mark.parametrize("index", [3, -4])
def test_index_out_of_range(labels: Labels, index: int) -> None:
    with pytest.raises(IndexError, match=f"Labels: index {index} is out of range for 3 entries"):
        labels[index]


@pytest.mark.parametrize("index", [slice(0, 2), [0, 1], 1.0, None, np.array([0, 1])])
def test_index_of_another_type(labels: Labels, index: Any) -> None:
    expected = (
        f"one name or one integer, found {type(index).__name__}; .* index labels.values, or use slice_rows"
    )
    with pytest.raises(TypeError, match=expected):
        labels[index]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ([0, 5], 1),
        ((1, 4), 2),
        (np.array([0, 4], np.uint8), 0),
        (LabelsEntry(["system", "atom"], [1, 4]), 2),
        ([1, 5], None),
        ([-1, 4], None),
        ([0, 2**31], None),
        ([2**100, 0], None),
    ],
)
def test_position(labels: Labels, entry: Any, expected: int | None) -> None:
    assert labels.position(entry) == expected
    assert (entry in labels) == (expected is not None)


def test_the_index_of_rows_is_made_once(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("outgrad.labels.labels.RowIndex", lambda table: made.append(table) or RowIndex(table))
    assert [labels.position(entry) for entry in labels] == [0, 1, 2]
    assert len(made) == 1


def test_position_in_no_entries() -> None:
    assert Labels.empty(["a", "b"]).position([0, 0]) is None


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        (
            [0],
            ValidationError,
            "position: an entry has 2 values, found 1; pass one integer for each of ['system', 'atom']",
        ),
        (
            LabelsEntry("atom", [0]),
            ValidationError,
            "position: the entry has names ['atom'], these labels have ['system'",
        ),
        (
            [0, 0.5],
            TypeError,
            "position: an entry is a LabelsEntry or a sequence of integers, found [0, 0.5]; pass",
        ),
        (5, TypeError, "an entry is a LabelsEntry or a sequence of integers, found 5"),
        ("ab", TypeError, "found 'ab'"),
    ],
)
def test_position_refuses(labels: Labels, entry: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        labels.position(entry)
    with pytest.raises(error, match=re.escape(message)):
        entry in labels  # noqa: B015


def test_names_are_a_new_list_each_time(labels: Labels) -> None:
    labels.names.append("n")
    assert labels.names == ["system", "atom"]


@pytest.mark.parametrize("name", ["names", "values", "digest", "anything"])
def test_attributes_cannot_be_set(labels: Labels, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(labels, name, 1)


def test_values_cannot_be_written(labels: Labels) -> None:
    with pytest.raises(ValueError, match="read-only"):
        labels.values[0, 0] = 1


EQUAL = Labels(["system", "atom"], [[0, 4], [0, 5], [1, 4]])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (EQUAL, True),
        (EQUAL.slice_rows(0, 2), False),
        (Labels(["system", "atom"], [[0, 5], [0, 4], [1, 4]]), False),
        (Labels(["system", "n"], EQUAL.values), False),
        (EQUAL.permute([1, 0]), False),
        (None, False),
        (3, False),
        ([[0, 4], [0, 5], [1, 4]], False),
        (EQUAL.values, False),
    ],
)
@pytest.mark.parametrize("hashed", [True, False])
def test_equality(other: Any, expected: bool, hashed: bool) -> None:
    labels = Labels(EQUAL.names, EQUAL.values.copy())
    if hashed and isinstance(other, Labels):
        assert (hash(labels) == hash(other)) == expected
    assert (labels == other) is expected
    assert (other == labels) is expected
    assert (labels != other) is not expected


def test_empty_labels_of_other_names_differ() -> None:
    assert Labels.empty("a") != Labels.empty("b")
    assert Labels.empty(["a", "b"]) != Labels.empty("a")


def test_digest_is_fixed() -> None:
    """Archives keep digests: the bytes that are hashed must never change."""
    assert Labels(["system", "atom"], [[0, 4], [0, -5]]).digest == "0ad36eb12c654885deeaf526c1dfacc3"
    assert Labels([], np.empty((0, 0), int)).digest == "429fb468c7e57bcfbee9268fa35b3267"


@pytest.mark.parametrize(
    "other",
    [
        Labels(["systema", "tom"], [[0, 4]]),
        Labels(["system"], [[0], [4]]),
        Labels(["system", "atom"], [[0, 5]]),
        Labels.empty(["system", "atom"]),
    ],
)
def test_digest_tells_names_shape_and_values_apart(other: Labels) -> None:
    assert Labels(["system", "atom"], [[0, 4]]).digest != other.digest


def test_copies_are_the_same_object(labels: Labels) -> None:
    assert copy.copy(labels) is labels
    assert copy.deepcopy(labels) is labels
    assert copy.deepcopy([labels])[0] is labels


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_values(labels: Labels, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(labels, protocol))
    assert back == labels
    assert back.is_loaded
    assert not back.values.flags.writeable


def test_pickling_out_of_band(labels: Labels) -> None:
    buffers = []
    data = pickle.dumps(labels, protocol=5, buffer_callback=buffers.append)
    writable = [bytearray(buffer.raw()) for buffer in buffers]
    assert len(writable) == 1
    back = pickle.loads(data, buffers=writable)
    assert back == labels
    assert not back.values.flags.writeable


def test_pickling_a_slice_leaves_the_rest_behind() -> None:
    part = Labels.range("n", 100_000).slice_rows(5, 8)
    assert len(pickle.dumps(part)) < 1000
    assert pickle.loads(pickle.dumps(part)) == part


def test_slice_rows_is_a_view(labels: Labels) -> None:
    part = labels.slice_rows(1, 3)
    assert part == Labels(["system", "atom"], [[0, 5], [1, 4]])
    assert np.shares_memory(part.values, labels.values)
    assert len(labels.slice_rows(2, 2)) == 0


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 4), (2, 1)])
def test_rows_out_of_range(labels: Labels, start: int, stop: int) -> None:
    message = re.escape(f"Labels: rows [{start}, {stop}) are out of range for 3 entries")
    with pytest.raises(IndexError, match=message):
        labels.slice_rows(start, stop)
    with pytest.raises(IndexError, match=message):
        labels.read(start, stop)


def test_to(labels: Labels) -> None:
    assert (
        labels.to()
        is labels.to("cpu")
        is labels.to(arrays="numpy")
        is labels.to(None, non_blocking=True)
        is labels
    )
    with pytest.raises(
        ValueError, match=r"to: labels are NumPy arrays on the CPU, found device='cuda', arrays=None"
    ):
        labels.to("cuda")
    with pytest.raises(ValueError, match=r"found device=None, arrays='torch'"):
        labels.to(arrays="torch")


def test_dask_token_is_the_content(labels: Labels) -> None:
    assert labels.__dask_tokenize__() == EQUAL.__dask_tokenize__()
    assert labels.__dask_tokenize__() != labels.permute([1, 0]).__dask_tokenize__()
