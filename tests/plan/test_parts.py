"""Leaving out parts without rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.plan.chunks import pack
from outgrad.plan.outline import Outline, Piece
from outgrad.plan.parts import parts_with_rows, renumbered


def outline(edges: list[int], rows: list[int] | None = None) -> Outline:
    gradients = {} if rows is None else {"x": outline(rows)}
    return Outline(np.array(edges, np.int64), (1,), np.dtype("float64"), gradients)


@pytest.mark.parametrize(
    ("edges", "parts", "kept", "new_edges", "new_parts"),
    [
        ([[0, 2, 2, 5]], [[(0, 0)], [(0, 1)], [(0, 2)]], [0, 2], [[0, 2, 5]], [[(0, 0)], [(0, 1)]]),
        ([[0, 0, 3]], [[(0, 0)], [(0, 1)]], [1], [[0, 3]], [[(0, 0)]]),
        ([[0, 3, 3]], [[(0, 0)], [(0, 1)]], [0], [[0, 3]], [[(0, 0)]]),
        ([[0, 0, 0]], [[(0, 0)], [(0, 1)]], [0], [[0, 0]], [[(0, 0)]]),  # a block without rows keeps a chunk
        (
            [[0, 1, 1], [0, 0, 4]],
            [[(0, 0)], [(0, 1), (1, 0)], [(1, 1)]],
            [0, 2],
            [[0, 1], [0, 4]],
            [[(0, 0)], [(1, 0)]],
        ),
        ([[0, 1, 1], [0, 4]], [[(0, 0)], [(0, 1), (1, 0)]], [0, 1], [[0, 1, 1], [0, 4]], None),
    ],
)
def test_parts_without_rows_go(edges: Any, parts: Any, kept: Any, new_edges: Any, new_parts: Any) -> None:
    outlines = [outline(own) for own in edges]
    given_ = [tuple(Piece(*piece) for piece in part) for part in parts]
    assert parts_with_rows(outlines, given_) == kept
    cut, left = renumbered(outlines, [given_[number] for number in kept])
    assert [own.edges.tolist() for own in cut] == new_edges
    assert [[tuple(piece) for piece in part] for part in left] == (new_parts or parts)


def test_gradients_go_along() -> None:
    made = outline([0, 0, 2, 2, 3], [0, 0, 4, 4, 4])
    cut, _ = renumbered([made], [(Piece(0, 1),), (Piece(0, 3),)])
    assert cut[0].edges.tolist() == [0, 2, 3]
    assert cut[0].gradients["x"].edges.tolist() == [0, 4, 4]


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=4), st.integers(1, 40)
)
def test_all_rows_stay(blocks: list[list[int]], target: int) -> None:
    outlines = [outline([0, *np.cumsum(rows).tolist()]) for rows in blocks]
    parts = pack(outlines, target)
    cut, left = renumbered(outlines, [parts[number] for number in parts_with_rows(outlines, parts)])
    found = sorted(piece for part in left for piece in part)
    assert found == [Piece(b, c) for b, own in enumerate(cut) for c in range(own.chunk_count)]
    for before, after in zip(outlines, cut, strict=True):
        assert after.shape == before.shape
        assert [n for n in after.chunk_rows if n] == [n for n in before.chunk_rows if n]
