"""Labels to pandas and back."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import outgrad as og
from outgrad import Labels
from outgrad.errors import ValidationError
from outgrad.testing import strategies
from tests.support.stored import Source, stored_labels

pandas = pytest.importorskip("pandas")

LABELS = Labels(["system", "atom"], [[0, 4], [0, 5], [-1, 4]])


@given(strategies.labels())
def test_round_trip(labels: Labels) -> None:
    frame = labels.to_pandas()
    assert list(frame.columns) == labels.names
    assert set(frame.dtypes) == {np.dtype(np.int32)}
    np.testing.assert_array_equal(frame.to_numpy(), labels.values)
    assert Labels.from_pandas(frame) == labels
    assert Labels.from_pandas(pandas.MultiIndex.from_frame(frame)) == labels


def test_labels_without_names() -> None:
    labels = Labels.empty(())
    assert labels.to_pandas().shape == (0, 0)
    assert Labels.from_pandas(labels.to_pandas()) == labels


def test_an_index_of_one_level() -> None:
    assert Labels.from_pandas(pandas.Index([3, 1], name="n")) == Labels("n", [[3], [1]])


def test_the_index_of_a_frame_is_ignored() -> None:
    frame = LABELS.to_pandas().query("atom == 4")
    assert list(frame.index) == [0, 2]
    assert Labels.from_pandas(frame) == Labels(["system", "atom"], [[0, 4], [-1, 4]])


def test_the_frame_is_a_copy() -> None:
    frame = LABELS.to_pandas()
    frame.loc[0, "atom"] = 7
    assert frame["atom"][0] == 7
    assert LABELS["atom"][0] == 4


def test_stored_labels_are_read_once_and_not_kept() -> None:
    labels = stored_labels(LABELS)
    Source.reads.clear()
    assert len(labels.to_pandas()) == 3
    assert Source.reads == [(LABELS.digest, 0, 3)]
    assert not labels.is_loaded


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int8", "Int64"])
def test_integers_of_other_sizes(dtype: str) -> None:
    frame = pandas.DataFrame({"a": [1, 2], "b": pandas.array([2, 3], dtype=dtype)})
    assert Labels.from_pandas(frame) == Labels(["a", "b"], [[1, 2], [2, 3]])


def test_columns_of_two_kinds_of_integers_do_not_become_floats() -> None:
    large = np.array([2**62 + 1], np.uint64)
    frame = pandas.DataFrame({"a": np.array([1], np.int64), "b": large})
    with pytest.raises(ValidationError, match=f"must fit into 32-bit integers, found {2**62 + 1} in row 0"):
        Labels.from_pandas(frame)


def test_an_empty_column_may_have_any_dtype() -> None:
    assert Labels.from_pandas(pandas.DataFrame({"a": []})) == Labels.empty("a")


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "floats": (
        pandas.DataFrame({"a": [1, 2], "b": [0.0, 1.0]}),
        TypeError,
        "Labels.from_pandas: the column 'b' has dtype float64, but labels are integers; convert it with "
        "frame.astype({'b': 'int32'}), or leave it out",
    ),
    "missing values": (
        pandas.DataFrame({"b": pandas.array([1, None], dtype="Int64")}),
        TypeError,
        "Labels.from_pandas: the column 'b' has dtype ",
    ),
    "flags": (
        pandas.DataFrame({"b": [True]}),
        TypeError,
        "Labels.from_pandas: the column 'b' has dtype bool, but labels are integers",
    ),
    "texts in an index": (
        pandas.MultiIndex.from_arrays([[1], ["H"]], names=["a", "b"]),
        TypeError,
        "but labels are integers; convert it with .astype('int32')",
    ),
    "no names": (
        pandas.MultiIndex.from_arrays([[1], [2]]),
        TypeError,
        "Labels.from_pandas: columns and levels need names that are strings, found None in [None, None]; set "
        "frame.columns = [...] or index.names = [...]",
    ),
    "numbers for names": (pandas.DataFrame([[1, 2]]), TypeError, "found 0 in [0, 1]; set frame.columns"),
    "one name twice": (
        pandas.DataFrame([[1, 2]], columns=["a", "a"]),
        ValidationError,
        "Labels.from_pandas: names must differ, found ['a', 'a']; rename one",
    ),
    "a bad name": (pandas.DataFrame({"a b": [1]}), ValidationError, "the name 'a b' is not valid"),
    "an entry twice": (pandas.DataFrame({"a": [1, 1]}), ValidationError, "Labels: rows"),
    "a series": (
        pandas.Series([1], name="a"),
        TypeError,
        "Labels.from_pandas: a DataFrame or an Index of pandas is needed, got a pandas Series",
    ),
    "labels": (LABELS, TypeError, "a DataFrame or an Index of pandas is needed, got Labels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(case: str) -> None:
    table, error, text = BAD[case]
    with pytest.raises(error, match=re.escape(text)):
        og.Labels.from_pandas(table)


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = LABELS.to_pandas()
    monkeypatch.setitem(sys.modules, "pandas", None)
    text = r"pandas is not installed; install it with: pip install 'outgrad\[xarray\]'"
    with pytest.raises(ImportError, match=r"Labels\.to_pandas: " + text):
        LABELS.to_pandas()
    with pytest.raises(ImportError, match=r"Labels\.from_pandas: " + text):
        Labels.from_pandas(frame)
