"""Where chunks are cut: tables of plain integers, and laws."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.chunking import (
    choose_edges,
    coarsen,
    cut_samples,
    gradient_edges,
    pack_chunks,
    system_edges,
)
from outgrad.data.outline import Outline, Piece

FLOAT = np.dtype("float64")


def outline(edges: Any, trailing: tuple[int, ...] = (1,), **gradients: Outline) -> Outline:
    return Outline(np.array(edges, np.int64), trailing, FLOAT, gradients)


def cumulative(sizes: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))])


@pytest.mark.parametrize(
    ("sizes", "target", "expected"),
    [
        ([1, 1, 1, 1], 2, [0, 2, 4]),
        ([1, 1, 1], 2, [0, 2, 3]),
        ([1, 1, 1], 100, [0, 3]),
        ([1, 5, 1], 2, [0, 1, 2, 3]),  # a row larger than the target stands alone
        ([5, 1, 1], 2, [0, 1, 3]),
        ([0, 0, 3, 0, 0], 3, [0, 5]),
        ([0, 0, 3, 3, 0], 3, [0, 3, 5]),
        ([0, 0, 0], 1, [0, 3]),
        ([7], 1, [0, 1]),
        ([], 1, [0, 0]),  # a block without rows has one chunk
    ],
)
def test_cut(sizes: list[int], target: int, expected: list[int]) -> None:
    edges = choose_edges(cumulative(sizes), np.arange(len(sizes) + 1), target)
    assert edges.tolist() == expected
    assert edges.dtype == np.int64


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 20))
def test_cut_is_greedy(sizes: list[int], target: int) -> None:
    edges = choose_edges(cumulative(sizes), np.arange(len(sizes) + 1), target).tolist()
    assert edges[0] == 0
    assert edges[-1] == len(sizes)
    for start, stop in pairwise(edges):
        assert sum(sizes[start:stop]) <= target or stop == start + 1
        if stop < len(sizes):
            assert sum(sizes[start : stop + 1]) > target  # the next row would not have fitted


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([0, 0, 1, 1, 1, 4], [0, 2, 5, 6]),
        ([3], [0, 1]),
        ([], [0]),
        ([1, 0], [0, 1, 2]),  # not sorted: every row may be an edge
        ([-2, -2, 0], [0, 2, 3]),
    ],
)
def test_system_edges(column: list[int], expected: list[int]) -> None:
    assert system_edges(np.array(column, np.int32)).tolist() == expected


@pytest.mark.parametrize(
    ("sizes", "starts", "target", "expected"),
    [
        ([1, 1, 1, 1], [0, 2, 4], 3, [0, 2, 4]),
        ([1, 1, 1, 1], [0, 2, 4], 4, [0, 4]),
        ([1, 1, 1, 1], [0, 3, 4], 2, [0, 2, 4]),  # the first system is cut: it exceeds the target
        ([2, 2, 2, 1, 1], [0, 3, 5], 4, [0, 2, 5]),
        ([9, 1, 1], [0, 1, 3], 2, [0, 1, 3]),
        ([], [0], 5, [0, 0]),
    ],
)
def test_cut_samples(sizes: list[int], starts: list[int], target: int, expected: list[int]) -> None:
    assert cut_samples(cumulative(sizes), np.array(starts), target).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30), st.integers(1, 40))
def test_systems_that_fit_stay_whole(rows: list[tuple[int, bool]], target: int) -> None:
    sizes = [size for size, _ in rows]
    starts = [0, *(n for n, (_, new) in enumerate(rows) if new and n > 0), *([len(rows)] if rows else [])]
    edges = set(cut_samples(cumulative(sizes), np.array(starts), target).tolist())
    for start, stop in pairwise(starts):
        if sum(sizes[start:stop]) <= target:
            assert not edges & set(range(start + 1, stop))
    assert {0, len(rows)} <= edges


@pytest.mark.parametrize(
    ("column", "edges", "expected"),
    [
        ([0, 0, 2, 5], [0, 1, 3, 6], [0, 2, 3, 4]),
        ([0, 0, 2, 5], [0, 0, 6, 6], [0, 0, 4, 4]),
        ([], [0, 3], [0, 0]),
        ([2, 1], [0, 1, 3], None),
        ([2, 1], [0, 3], None),
        ([4], [0, 2, 5], [0, 0, 1]),
    ],
)
def test_gradient_edges(column: list[int], edges: list[int], expected: list[int] | None) -> None:
    found = gradient_edges(np.array(column, np.int32), np.array(edges))
    assert (None if found is None else found.tolist()) == expected


def test_coarsen_merges_values_and_gradients_alike() -> None:
    """Bytes of the chunks: 8 and 16, 16 and 0, 8 and 0, 8 and 24."""
    fine = outline([0, 1, 3, 4, 5], x=outline([0, 2, 2, 2, 5]))
    assert fine.chunk_bytes.tolist() == [24, 16, 8, 32]
    for target, edges, rows in (
        (24, [0, 1, 4, 5], [0, 2, 2, 5]),
        (48, [0, 4, 5], [0, 2, 5]),
        (56, [0, 4, 5], [0, 2, 5]),
        (80, [0, 5], [0, 5]),
        (1, [0, 1, 3, 4, 5], [0, 2, 2, 2, 5]),
    ):
        coarse = coarsen(fine, target)
        assert coarse.edges.tolist() == edges
        assert coarse.gradients["x"].edges.tolist() == rows
        assert coarse.nbytes == fine.nbytes == 80
    assert coarsen(outline([0, 0]), 5).edges.tolist() == [0, 0]


def pieces(parts: Any) -> list[list[tuple[int, int]]]:
    return [[tuple(piece) for piece in part] for part in parts]


@pytest.mark.parametrize(
    ("edges", "target", "expected"),
    [
        ([[0, 1], [0, 1], [0, 1]], 16, [[(0, 0), (1, 0)], [(2, 0)]]),
        ([[0, 1], [0, 1], [0, 1]], 1, [[(0, 0)], [(1, 0)], [(2, 0)]]),
        ([[0, 1, 2], [0, 1]], 100, [[(0, 0)], [(0, 1), (1, 0)]]),  # chunks of one block stay apart
        ([[0, 0], [0, 0], [0, 1]], 1, [[(0, 0), (1, 0)], [(2, 0)]]),
        ([[0, 5], [0, 1]], 16, [[(0, 0)], [(1, 0)]]),
        ([], 16, []),
    ],
)
def test_pack(edges: list[list[int]], target: int, expected: Any) -> None:
    assert pieces(pack_chunks([outline(own) for own in edges], target)) == expected


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), max_size=6), st.integers(1, 100))
def test_parts_hold_every_chunk_once_within_the_target(blocks: list[list[int]], target: int) -> None:
    outlines = [outline(cumulative(rows)) for rows in blocks]
    parts = pack_chunks(outlines, target)
    found = [piece for part in parts for piece in part]
    assert found == [Piece(b, c) for b, own in enumerate(outlines) for c in range(own.chunk_count)]
    for part in parts:
        assert sum(int(outlines[b].chunk_bytes[c]) for b, c in part) <= target or len(part) == 1
        assert len({b for b, _ in part}) == len(part)


def test_outlines_know_their_sizes() -> None:
    made = outline([0, 2, 5], (3, 2), x=outline([0, 4, 4], (3, 3, 2), y=outline([0, 0, 1], (3, 3, 2))))
    assert made.shape == (5, 3, 2)
    assert made.row_bytes == 48
    assert made.chunk_count == 2
    assert made.chunk_rows == (2, 3)
    assert made.chunk_bytes.tolist() == [2 * 48 + 4 * 144, 3 * 48 + 144]
    assert made.nbytes == sum(made.chunk_bytes.tolist())
    assert [path for path, _ in made.walk()] == [(), ("x",), ("x", "y")]
    assert made.at(("x", "y")).shape == (1, 3, 3, 2)
