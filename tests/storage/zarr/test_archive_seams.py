"""Shards have one owner each: the arithmetic against counting by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.requests import End, Seam
from outgrad.errors import ArchiveError
from outgrad.storage.zarr.format import ArraySpec
from outgrad.storage.zarr.seams import (
    ArrayRange,
    ConsecutiveRows,
    assemble,
    find_seams,
    join_consecutive,
    merge_ranges,
    owned,
    shared_ends,
)


def spec(rows: int, chunk_rows: int, chunks_per_shard: int = 1) -> ArraySpec:
    return ArraySpec("values", np.dtype("<f8"), (rows, 1), chunk_rows, None, chunks_per_shard)


def test_owned() -> None:
    assert owned(ArrayRange(0, 3, 17), spec(20, 5)) == (5, 15)
    assert owned(ArrayRange(0, 3, 20), spec(20, 5)) == (5, 20)
    assert owned(ArrayRange(0, 3, 18), spec(18, 5)) == (5, 18)
    assert owned(ArrayRange(0, 6, 9), spec(20, 5)) == (9, 9)
    assert owned(ArrayRange(0, 0, 5), spec(20, 5)) == (0, 5)


def test_merge_ranges_unites_what_touches_or_overlaps() -> None:
    rows = [
        ArrayRange(1, 4, 6),
        ArrayRange(0, 2, 3),
        ArrayRange(0, 0, 2),
        ArrayRange(0, 5, 5),
        ArrayRange(0, 7, 9),
        ArrayRange(1, 5, 8),
        ArrayRange(1, 4, 5),
    ]
    assert merge_ranges(rows) == [(0, 0, 3), (0, 7, 9), (1, 4, 8)]


def test_consecutive_rows_are_joined() -> None:
    pieces = [
        (0, 3, np.ones((2, 1))),
        (1, 0, np.ones((1, 1))),
        (0, 0, np.zeros((3, 1))),
        (0, 9, np.ones((1, 1))),
    ]
    found = join_consecutive(pieces)
    assert [each.range for each in found] == [(0, 0, 5), (0, 9, 10), (1, 0, 1)]
    np.testing.assert_array_equal(found[0].take(2, 4)[:, 0], [0, 1])


def test_take_copies_only_where_it_must() -> None:
    rows = np.arange(10.0)[:, None]
    joined = ConsecutiveRows(0, [0, 6], [rows[:6], rows[6:]])
    assert np.shares_memory(joined.take(1, 5), rows)
    np.testing.assert_array_equal(joined.take(4, 8), rows[4:8])


def test_ends_are_copies() -> None:
    rows = np.arange(10.0)[:, None]
    (end,) = shared_ends(ConsecutiveRows(0, [0], [rows[:7]]), spec(10, 5))
    assert (end.start, end.rows.ravel().tolist()) == (5, [5, 6])
    assert not np.shares_memory(end.rows, rows)


def test_a_seam_without_all_rows_is_refused() -> None:
    ends = [End(0, 0, np.ones((2, 1)))]
    with pytest.raises(ArchiveError, match="shard 0 of values lacks 3 of 5 rows, which the tasks"):
        assemble(Seam(0, 0, ()), spec(10, 5), ends)


@given(st.data())
def test_each_shard_has_one_owner(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 60))
    chunk_rows = data.draw(st.integers(1, rows))
    grid = spec(rows, chunk_rows, data.draw(st.integers(1, 3)))
    edges = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=12))})
    runs = [ArrayRange(0, a, b) for a, b in pairwise(edges)]
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(runs), max_size=len(runs)))
    parts = [
        merge_ranges(run for run, owner in zip(runs, owners, strict=True) if owner == n) for n in range(4)
    ]
    owned_by: dict[int, list[object]] = {shard: [] for shard in range(grid.shard_count)}
    for number, part in enumerate(parts):
        for run in part:
            for shard in grid.shards_of(*owned(run, grid)):
                owned_by[shard].append(number)
    for seam in find_seams(parts, [grid]):
        owned_by[seam.shard].append("seam")
        lower, upper = grid.shard_range(seam.shard)
        expected = [
            n for n, part in enumerate(parts) if any(r.start < upper and lower < r.stop for r in part)
        ]
        assert list(seam.parts) == expected
    assert all(len(owners) == 1 for owners in owned_by.values())
