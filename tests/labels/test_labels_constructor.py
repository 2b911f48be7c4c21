"""What the constructor of Labels accepts, what it refuses and with which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import metatensor
import numpy as np
import pytest

from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels

TABLE = np.array([[0, 4], [0, 5], [1, 4]])
NAMES = ["system", "atom"]


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", ">i4", ">i8", "u1", "u2", "u4", "u8"])
def test_any_integer_dtype_becomes_int32(dtype: str) -> None:
    values = Labels(NAMES, TABLE.astype(dtype)).values
    assert values.dtype == np.int32
    assert values.tolist() == TABLE.tolist()


def test_bool_is_cast() -> None:
    assert Labels("flag", np.array([[False], [True]]))["flag"].tolist() == [0, 1]


def test_lists_of_integers_are_accepted() -> None:
    assert Labels(NAMES, [[0, 4], [0, 5], [1, 4]]) == Labels(NAMES, TABLE)


@pytest.mark.parametrize(
    ("names", "expected"),
    [("a", ["a"]), (["a"], ["a"]), (("a",), ["a"]), (iter(["a"]), ["a"]), (np.array(["a"]), ["a"])],
)
def test_forms_of_names(names: Any, expected: list[str]) -> None:
    assert Labels(names, [[3]]).names == expected


@pytest.mark.parametrize("names", ["", [], ()])
def test_no_dimensions(names: Any) -> None:
    labels = Labels(names, np.empty((0, 0), dtype=int))
    assert (labels.names, labels.shape, len(labels)) == ([], (0, 0), 0)


def test_float_without_rows_becomes_int32() -> None:
    assert Labels(NAMES, np.empty((0, 2))).values.dtype == np.int32


@pytest.mark.parametrize("extreme", [-(2**31), 2**31 - 1])
@pytest.mark.parametrize("dtype", [np.int64, object])
def test_limits_of_int32_fit(extreme: int, dtype: type[Any]) -> None:
    if dtype is object:
        assert Labels("a", [[extreme]])["a"].tolist() == [extreme]
    else:
        assert Labels("a", np.array([[extreme]], dtype))["a"].tolist() == [extreme]


NAME_ERRORS = [
    (3, TypeError, "names must be strings, found int; pass e.g. ['system', 'atom']"),
    (["a", 3], TypeError, "names must be strings, found 3 of type int among them"),
    (["a", b"b"], TypeError, "names must be strings, found b'b' of type bytes among them"),
    (["a", ""], ValidationError, "name '' is not valid; use letters, digits and underscores"),
    (["a", "1b"], ValidationError, "name '1b' is not valid"),
    (["a", "b c"], ValidationError, "name 'b c' is not valid"),
    (["a", "é"], ValidationError, "name 'é' is not valid"),
    (["a", "b\n"], ValidationError, r"name 'b\n' is not valid"),
    (["a", "a"], ValidationError, "names must differ, found 'a' twice in ['a', 'a']; rename one"),
]


@pytest.mark.parametrize(("names", "error", "message"), NAME_ERRORS)
def test_names_that_are_refused(names: int | list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Labels(names, [[0, 1]])


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *((shape, np.float64) for shape in [(0,), (0, 0), (0, 1), (0, 2), (0, 5), (0, 2, 3)]),
        *(((0, 2), dtype) for dtype in [np.int32, np.int64, np.bool_]),
    ],
)
@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"]])
def test_without_rows_any_shape_is_taken(names: list[Any], shape: tuple[int, ...], dtype: type[Any]) -> None:
    """As in metatensor: nothing is in such an array that could be misread."""
    labels = Labels(names, np.empty(shape, dtype))
    assert (labels.names, labels.values.shape) == (names, (0, len(names)))
    assert labels.values.dtype == np.int32
    assert labels == Labels(names, np.empty((0, len(names)), np.int32))
    theirs = metatensor.Labels(names, np.empty(shape, dtype))
    assert theirs.values.shape == labels.values.shape


@pytest.mark.parametrize("shape", [(1,), (2, 0), (1, 3), (1, 2, 1), (1, 0, 2)])
def test_with_rows_the_shape_has_to_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match=re.escape(f"found shape {shape}")):
        Labels(["a", "b"], np.zeros(shape, np.int32))


VALUE_ERRORS = [
    ([0, 1], ValidationError, "need a 2-D array with 2 column(s), found shape (2,); reshape it"),
    ([[0, 1, 2]], ValidationError, "need a 2-D array with 2 column(s), found shape (1, 3)"),
    (np.zeros((1, 2, 1), int), ValidationError, "found shape (1, 2, 1)"),
    (3, ValidationError, "found shape ()"),
    ([[0, 1], [2]], ValidationError, "must be a rectangular table of integers"),
    ([[0, 1], [0, 0.5]], TypeError, "integers, found dtype float64: 0.5 in row 1 of column 'atom'; convert"),
    (np.array([[1, 2.0]]), TypeError, "found dtype float64: 1.0 in row 0 of column 'system'"),
    (np.array([[1, np.nan]]), TypeError, "nan in row 0 of column 'atom'"),
    (np.array([[1, np.inf]]), TypeError, "found dtype float64: 1.0 in row 0 of column 'system'"),
    ([["a", "b"]], TypeError, "found dtype <U1: a in row 0 of column 'system'"),
    ([[1j, 2j]], TypeError, "found dtype complex128"),
    ([[0, 2**70]], TypeError, "found dtype object"),
    ([[0, 1], [0, 2**40]], ValidationError, "32-bit integers, found 1099511627776 in row 1 of column 'atom'"),
    ([[-(2**31) - 1, 0]], ValidationError, "found -2147483649 in row 0 of column 'system'; renumber"),
    (
        np.array([[2**63, 0]], np.uint64),
        ValidationError,
        "found 9223372036854775808 in row 0 of column 'system'",
    ),
    (np.array([[2**31, 0]], np.uint32), ValidationError, "stay within -2147483648 and 2147483647"),
]


@pytest.mark.parametrize(("values", "error", "message"), VALUE_ERRORS)
def test_values_that_are_refused(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Labels(NAMES, values)


def test_entries_without_dimensions_are_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"Labels: without dimensions there can be no entries, found 1; .*single\(\)"
    ):
        Labels([], np.empty((1, 0), dtype=int))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [[0, 3], [0, 3]],
            "Labels: rows must be unique, found (system=0, atom=3) in rows 0 and 1; remove one of them",
        ),
        ([[9, 9], [0, 3], [7, 7], [1, 1], [0, 3]], "found (system=0, atom=3) in rows 1 and 4"),
        ([[5, 5], [0, 3], [0, 3], [5, 5]], "found (system=0, atom=3) in rows 1 and 2"),
        ([[2**31 - 1, -(2**31)], [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]], "in rows 1 and 2"),
    ],
)
def test_repeated_rows_are_refused(rows: list[list[Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        Labels(NAMES, rows)


def test_assume_unique_does_not_look() -> None:
    assert len(Labels("a", [[1], [1]], assume_unique=True)) == 2


def test_writable_array_is_copied_and_stays_writable() -> None:
    array = TABLE.astype(np.int32)
    labels = Labels(NAMES, array)
    array[0, 0] = 77
    assert labels.values[0, 0] == 0


def test_read_only_view_of_a_writable_array_is_copied() -> None:
    array = TABLE.astype(np.int32)
    view = array[:]
    view.flags.writeable = False
    labels = Labels(NAMES, view)
    array[0, 0] = 77
    assert labels.values[0, 0] == 0


def test_read_only_int32_is_shared() -> None:
    array = TABLE.astype(np.int32)
    array.flags.writeable = False
    assert np.shares_memory(Labels(NAMES, array).values, array)
    from_bytes = np.frombuffer(array.tobytes(), np.int32).reshape(array.shape)
    assert np.shares_memory(Labels(NAMES, from_bytes).values, from_bytes)


def test_strided_and_fortran_arrays_become_contiguous() -> None:
    labels = Labels(NAMES, np.asfortranarray(TABLE.astype(np.int32)))
    assert labels.values.flags.c_contiguous
    fortran = np.asfortranarray(TABLE.astype(np.int32))
    fortran.flags.writeable = False
    assert Labels(NAMES, fortran).values.flags.c_contiguous
    assert Labels(NAMES, np.repeat(TABLE, 2, axis=1)[:, ::2]).values.tolist() == TABLE.tolist()


def test_single_empty_range() -> None:
    assert Labels.single() == Labels("_", [[0]])
    assert Labels.empty(NAMES) == Labels(NAMES, np.empty((0, 2), int))
    assert Labels.empty("a").names == ["a"]
    assert Labels.range("n", 3) == Labels("n", [[0], [1], [2]])
    assert len(Labels.range("n", 0)) == 0


def test_made_labels_are_read_only() -> None:
    for labels in (Labels.single(), Labels.range("n", 3), Labels.empty("n")):
        assert not labels.values.flags.writeable


def test_range_refuses_negative_counts() -> None:
    with pytest.raises(
        ValidationError, match=r"Labels\.range: a number of entries is not negative, found end=-1; pass 0"
    ):
        Labels.range("n", -1)


@pytest.mark.parametrize("make", [Labels.empty, lambda name: Labels.range(name, 2)])
def test_made_labels_check_names(make: Callable[..., Any]) -> None:
    with pytest.raises(ValidationError, match="'a b' is not valid"):
        make("a b")
