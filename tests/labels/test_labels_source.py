"""Labels whose values stay in a source until they are used: what reads, and what does not."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from tests.labels.conftest import CountingSource


@pytest.mark.parametrize(
    "use",
    [
        len,
        lambda labels: labels.names,
        lambda labels: labels.shape,
        lambda labels: labels.nbytes,
        lambda labels: labels.digest,
        lambda labels: labels.is_loaded,
        lambda labels: labels == None,  # noqa: E711
        hash,
        pickle.dumps,
        lambda labels: labels.__dask_tokenize__(),
    ],
)
def test_metadata_needs_no_read(sourced: Labels, source: CountingSource, use: Callable[..., Any]) -> None:
    use(sourced)
    assert source.reads == []
    assert not sourced.is_loaded


def test_comparison_needs_no_read(sourced: Labels, source: CountingSource, labels: Labels) -> None:
    twin = Labels.from_source(labels.names, len(labels), labels.digest, source)
    assert sourced == twin
    assert sourced == Labels(labels.names, labels.values.copy())
    assert Labels(labels.names, labels.values.copy()) == sourced
    assert sourced != labels.slice_rows(0, 2)
    assert sourced != Labels(labels.names, labels.values[::-1])
    assert sourced.union(twin) is sourced
    assert sourced.intersection(labels) is sourced
    assert source.reads == []


def test_values_are_read_once(sourced: Labels, source: CountingSource, labels: Labels) -> None:
    assert sourced.values is sourced.values
    assert np.array_equal(sourced.values, labels.values)
    assert not sourced.values.flags.writeable
    assert sourced["atom"].tolist() == [4, 5, 4]
    assert sourced.position([0, 5]) == 1
    assert source.reads == [(0, 3)]
    assert sourced.is_loaded


def test_read_takes_only_these_rows(sourced: Labels, source: CountingSource) -> None:
    assert sourced.read(1, 3).tolist() == [[0, 5], [1, 4]]
    assert sourced.slice_rows(1, 2).values.tolist() == [[0, 5]]
    assert source.reads == [(1, 3), (1, 2)]
    assert not sourced.is_loaded


def test_read_of_loaded_values_does_not_ask_the_source(sourced: Labels, source: CountingSource) -> None:
    assert len(sourced.values) == 3
    assert sourced.read(1, 3).tolist() == [[0, 5], [1, 4]]
    assert source.reads == [(0, 3)]


def test_printing_reads_what_it_shows() -> None:
    table = np.arange(1000, dtype=np.int32)[:, None]
    kept = Labels("n", table)

    reads = []

    @dataclass
    class Watched:
        def read(self, start: int, stop: int) -> np.ndarray:
            reads.append((start, stop))
            return table[start:stop]

    labels = Labels.from_source("n", 1000, kept.digest, Watched())
    assert str(labels) == str(kept)
    assert reads == [(0, 2), (998, 1000)]
    reads.clear()
    assert labels._repr_html_() == kept._repr_html_()
    assert reads == [(0, 5), (995, 1000)]


def test_pickles_its_source_even_after_loading(sourced: Labels, source: CountingSource) -> None:
    before = pickle.dumps(sourced)
    assert len(sourced.values) == 3
    source.reads.clear()
    assert len(pickle.dumps(sourced)) == len(before)
    back = pickle.loads(pickle.dumps(sourced))
    assert not back.is_loaded
    assert back == sourced
    assert source.reads == []
    assert np.array_equal(back.values, sourced.values)


@dataclass
class Handle:
    """As light as the handle of an archive: the table is somewhere else."""

    count: int

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.arange(start, stop, dtype=np.int32)[:, None]


def test_pickle_is_small_whatever_the_number_of_entries() -> None:
    labels = Labels.from_source("n", 100_000, Labels.range("n", 100_000).digest, Handle(100_000))
    assert labels.values[-1, 0] == 99_999
    assert len(pickle.dumps(labels)) < 400


@pytest.mark.parametrize("dtype", ["i8", ">i4", "u2"])
def test_other_integers_of_a_source_become_int32(
    labels: Labels, source: CountingSource, sourced: Labels, dtype: str
) -> None:
    source.table = labels.values.astype(dtype)
    assert sourced.values.dtype == np.int32
    assert sourced.values.dtype.isnative
    assert np.array_equal(sourced.values, labels.values)


def test_values_are_read_only_and_the_array_of_the_source_is_left_alone(
    sourced: Labels, source: CountingSource
) -> None:
    source.table = source.table.copy()
    assert not sourced.read(0, 2).flags.writeable
    assert not sourced.values.flags.writeable
    assert source.table.flags.writeable


def test_source_of_another_shape_is_refused(sourced: Labels, source: CountingSource) -> None:
    source.table = source.table[:2]
    message = "returned shape (2, 2) for rows [0, 3) instead of (3, 2); it is corrupted, write it again"
    with pytest.raises(ValidationError, match=re.escape(message)):
        _ = sourced.values
    assert not sourced.is_loaded


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["a b"], 3, "0" * 32), ValidationError, "'a b' is not valid"),
        (
            (["a"], -1, "0" * 32),
            ValidationError,
            "Labels.from_source: a number of entries is not negative, found count=-1; pass 0",
        ),
        (
            (["a"], 3, "0" * 31),
            ValidationError,
            "Labels.from_source: a digest has 32 hex characters, found '0000",
        ),
        ((["a"], 3, "G" * 32), ValidationError, "a digest has 32 hex characters, found 'GGGG"),
        (([], 3, "0" * 32), ValidationError, "without dimensions there can be no entries, found 3"),
    ],
)
def test_description_that_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Labels.from_source(*arguments, source=Handle(3))
