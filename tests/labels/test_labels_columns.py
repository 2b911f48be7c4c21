"""Labels with other dimensions: insert, append, permute, remove, rename."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels


@pytest.mark.parametrize(
    ("index", "names", "first_row"),
    [
        (0, ["n", "system", "atom"], [7, 0, 4]),
        (1, ["system", "n", "atom"], [0, 7, 4]),
        (2, ["system", "atom", "n"], [0, 4, 7]),
        (-1, ["system", "n", "atom"], [0, 7, 4]),
        (-2, ["n", "system", "atom"], [7, 0, 4]),
        (np.int64(1), ["system", "n", "atom"], [0, 7, 4]),
    ],
)
@pytest.mark.parametrize("values", [np.array([7, 8, 9]), [7, 8, 9]])
def test_insert(
    labels: Labels, index: Any, names: list[str], first_row: list[int], values: list[int] | np.ndarray
) -> None:
    new = labels.insert(index, "n", values)
    assert new.names == names
    assert new.values[0].tolist() == first_row
    assert new["n"].tolist() == [7, 8, 9]
    assert not new.values.flags.writeable
    assert labels.names == ["system", "atom"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_append_goes_last_whatever_the_number_of_entries(labels: Labels, count: int) -> None:
    """metatensor puts it at the number of *entries*."""
    new = labels.slice_rows(0, count).append("n", np.arange(count))
    assert new.names == ["system", "atom", "n"]
    assert new["n"].tolist() == list(range(count))


def test_append_to_no_dimensions() -> None:
    assert Labels([], np.empty((0, 0), int)).append("n", []) == Labels.empty("n")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (0, "atom", [0, 0, 0]),
            ValidationError,
            "names must differ, found 'atom' twice in ['atom', 'system', 'atom']",
        ),
        ((0, "a b", [0, 0, 0]), ValidationError, "name 'a b' is not valid"),
        ((0, 3, [0, 0, 0]), TypeError, "names must be strings, found 3 of type int"),
        (
            (0, "n", [0, 0]),
            ValidationError,
            "Labels: the new dimension 'n' needs one value for each of 3 entries, found shape (2,); pass",
        ),
        ((0, "n", [[0], [0], [0]]), ValidationError, "found shape (3, 1)"),
        ((0, "n", [0, 0.5, 0]), TypeError, "0.5 in row 1 of column 'n'"),
        ((0, "n", [0, 0, 2**31]), ValidationError, "found 2147483648 in row 2 of column 'n'"),
        ((3, "n", [0, 0, 0]), IndexError, "insert: position 3 is out of range for 2 dimensions; use -2 to 2"),
        (
            (-3, "n", [0, 0, 0]),
            IndexError,
            "insert: position -3 is out of range for 2 dimensions; use -2 to 2",
        ),
    ],
)
def test_insert_refuses(
    labels: Labels, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        labels.insert(*arguments)


@pytest.mark.parametrize("order", [[1, 0], np.array([1, 0]), (-1, -2)])
def test_permute(labels: Labels, order: Any) -> None:
    new = labels.permute(order)
    assert new.names == ["atom", "system"]
    assert new.values.tolist() == [[4, 0], [5, 0], [4, 1]]
    assert new.values.flags.c_contiguous


@pytest.mark.parametrize("order", [[0], [0, 0], [0, 1, 1], [0, 2], [-3, 0], [0, -2]])
def test_permute_refuses(labels: Labels, order: list[int]) -> None:
    message = (
        f"permute: found positions {order}, but each of ['system', 'atom'] is needed once; pass e.g. [1, 0]"
    )
    with pytest.raises(ValidationError, match=re.escape(message)):
        labels.permute(order)


def test_remove(labels: Labels) -> None:
    assert labels.slice_rows(0, 2).remove("system") == Labels("atom", [[4], [5]])
    assert Labels.empty("atom").remove("atom").shape == (0, 0)


def test_remove_refuses(labels: Labels) -> None:
    with pytest.raises(ValueError, match="Labels: 'n' is not a dimension; use one of"):
        labels.remove("n")
    with pytest.raises(
        ValidationError,
        match=re.escape("remove: rows must be unique, found (atom=4) in rows 0 and 2; remove"),
    ):
        labels.remove("system")
    with pytest.raises(
        ValidationError, match="remove: found no dimension besides 'n' in labels with 3 entries; use"
    ):
        Labels.range("n", 3).remove("n")


def test_rename(labels: Labels) -> None:
    new = labels.rename("system", "structure")
    assert new.names == ["structure", "atom"]
    assert np.shares_memory(new.values, labels.values)
    assert new != labels
    assert new.digest != labels.digest
    assert labels.rename("atom", "atom") == labels


def test_rename_refuses(labels: Labels) -> None:
    with pytest.raises(ValueError, match="'n' is not a dimension"):
        labels.rename("n", "m")
    with pytest.raises(ValidationError, match="found 'atom' twice"):
        labels.rename("system", "atom")
    with pytest.raises(ValidationError, match="'0' is not valid"):
        labels.rename("system", "0")
