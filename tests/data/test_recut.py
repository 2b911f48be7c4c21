"""Cutting at other rows: which rows of which old chunk make up a new one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.chunk import Chunk, cut_chunk, join_chunks
from outgrad.data.chunking import gradient_edges
from outgrad.data.outline import Outline, Piece
from outgrad.data.recut import rows_of_old_chunks
from outgrad.data.requests import Request, Written, request


def outline(edges: list[int], column: list[int] | None = None) -> Outline:
    """Values at ``edges``, and a gradient whose rows belong to the samples ``column``."""
    own = np.array(edges, np.int64)
    gradients = {}
    if column is not None:
        below = gradient_edges(np.array(column, np.int32), own)
        assert below is not None
        gradients["x"] = Outline(below, (1,), np.dtype("int64"))
    return Outline(own, (1,), np.dtype("int64"), gradients)


@pytest.mark.parametrize(
    ("old", "new", "chunk", "expected"),
    [
        ([0, 3, 6], [0, 6], 0, [(0, [(0, 3)]), (1, [(0, 3)])]),
        ([0, 6], [0, 3, 6], 1, [(0, [(3, 6)])]),
        ([0, 2, 4, 6], [0, 3, 6], 0, [(0, [(0, 2)]), (1, [(0, 1)])]),
        ([0, 2, 4, 6], [0, 3, 6], 1, [(1, [(1, 2)]), (2, [(0, 2)])]),
        ([0, 0, 3], [0, 3], 0, [(1, [(0, 3)])]),
        ([0, 3], [0, 0, 3], 0, [(0, [(0, 0)])]),  # a chunk without rows has one source all the same
        ([0, 3], [0, 3, 3], 1, [(0, [(3, 3)])]),
        ([0, 0], [0, 0], 0, [(0, [(0, 0)])]),
    ],
)
def test_rows_of_old_chunks(old: list[int], new: list[int], chunk: int, expected: Any) -> None:
    found = rows_of_old_chunks((outline(old),), (outline(new),), Piece(0, chunk))
    assert [(source.chunk, list(source.ranges)) for source in found] == expected


def test_gradient_rows_come_along() -> None:
    column = [0, 0, 1, 3, 3, 3]
    old, new = outline([0, 2, 4], column), outline([0, 1, 4], column)
    assert [(s.chunk, s.ranges) for s in rows_of_old_chunks((old,), (new,), Piece(0, 0))] == [
        (0, ((0, 1), (0, 2)))
    ]
    assert [(s.chunk, s.ranges) for s in rows_of_old_chunks((old,), (new,), Piece(0, 1))] == [
        (0, ((1, 2), (2, 3))),
        (1, ((0, 2), (0, 3))),
    ]


def chunks_at(outline: Outline, column: list[int]) -> list[Chunk]:
    """Chunks whose numbers say which row they are."""
    whole = Chunk(
        np.arange(outline.shape[0])[:, None],
        {"x": Chunk(np.arange(len(column))[:, None], {}, np.array(column, np.int32)[:, None])},
    )
    requests = [request((outline,), Piece(0, chunk)) for chunk in range(outline.chunk_count)]
    return [cut_chunk(whole, each.ranges) for each in requests]


edges = st.lists(st.integers(0, 8), max_size=6).map(lambda inner: sorted([0, *inner, 8]))


@given(edges, edges, st.lists(st.integers(0, 7), max_size=12).map(sorted))
def test_recut_chunks_are_those_of_the_whole(old: list[int], new: list[int], column: list[int]) -> None:
    before, after = outline(old, column), outline(new, column)
    chunks = chunks_at(before, column)
    for number, expected in enumerate(chunks_at(after, column)):
        found = rows_of_old_chunks((before,), (after,), Piece(0, number))
        made = join_chunks([cut_chunk(chunks[source.chunk], source.ranges) for source in found])
        assert made.values.tolist() == expected.values.tolist()
        assert made.gradients["x"].values.tolist() == expected.gradients["x"].values.tolist()
        assert made.gradients["x"].rows.tolist() == expected.gradients["x"].rows.tolist()


def test_requests() -> None:
    made = outline([0, 1, 4], [0, 0, 1, 3, 3])
    assert request((made, made), Piece(1, 1)) == Request(1, ((1, 4), (2, 5)))


def test_receipts_hold_no_arrays() -> None:
    written = Written(8, ((0, 0, 123),), ends=(object(),))  # type: ignore[arg-type]
    assert written.receipt() == Written(8, ((0, 0, 123),))
