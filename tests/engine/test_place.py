"""Putting chunks together anew: every row goes where it should, and its gradient rows with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.data.chunk import Chunk
from outgrad.data.outline import Frame
from outgrad.engine.divide.chunks import divide_chunk
from outgrad.engine.shuffle.chunks import Patch, RowOrder, assemble_chunk, frame_of, take

WIDTH = 2
Rows = list[tuple[int, int]]
KEEPING = (RowOrder.KEPT, RowOrder.FOLLOWING, RowOrder.SORTED, RowOrder.DESCENDING)


def chunk(rows: int, table: Rows, below: Rows | None = None, start: int = 0) -> Chunk:
    """A chunk whose numbers all differ, with a gradient by x, and that with a gradient by y."""

    def numbers(count: int, first: int) -> Any:
        return first + np.arange(float(count * WIDTH)).reshape(count, WIDTH)

    nested = {}
    if below is not None:
        nested["y"] = Chunk(numbers(len(below), start + 2000), {}, np.array(below, np.int32).reshape(-1, 2))
    labels = np.array(table, np.int32).reshape(-1, 2)
    gradient = Chunk(numbers(len(table), start + 1000), nested, labels)
    return Chunk(numbers(rows, start), {"x": gradient})


@st.composite
def chunks(draw: st.DrawFn, start: int = 0) -> Chunk:
    def table(parents: int) -> Rows:
        pairs = st.tuples(st.integers(0, max(0, parents - 1)), st.integers(0, 2))
        return draw(st.lists(pairs, unique=True, max_size=6)) if parents else []

    rows = draw(st.integers(0, 4))
    own = table(rows)
    return chunk(rows, own, table(len(own)), start)


def entries(found: Chunk, parents: list[Any] | None = None) -> dict[Any, list[float]]:
    """Every row at every depth by its labels: of the value, of the gradient row, of the row below."""
    own = [(n,) for n in range(len(found.values))]
    if parents is not None:
        own = [(*parents[row[0]], *row[1:]) for row in found.rows.tolist()]
    out = {(len(key), *key): values.tolist() for key, values in zip(own, found.values, strict=True)}
    for gradient in found.gradients.values():
        out |= entries(gradient, own)
    return out


def moved_entries(found: Chunk, where: Any) -> dict[Any, list[float]]:
    """The same after value row r went to ``where[r]``."""
    return {
        (depth, int(where[row]), *rest): values
        for (depth, row, *rest), values in entries(found).items()
        if where[row] >= 0
    }


@st.composite
def places(draw: st.DrawFn, count: int) -> Any:
    """A new place for some of the rows, in any order."""
    kept = draw(st.permutations(range(count)))[: draw(st.integers(0, count))]
    where = np.full(count, -1)
    where[list(kept)] = np.arange(len(kept))
    return where


@pytest.mark.parametrize("order", KEEPING)
@given(data=st.data())
def test_every_row_takes_its_gradient_rows_along(order: RowOrder, data: Any) -> None:
    given_ = data.draw(chunks())
    where = data.draw(places(len(given_.values)))
    result = assemble_chunk(frame_of(given_), int((where >= 0).sum()), [Patch(given_, where)], order)
    assert entries(result) == moved_entries(given_, where)


@pytest.mark.parametrize("order", [*KEEPING, RowOrder.MERGED])
@given(data=st.data())
def test_two_chunks_behind_each_other(order: RowOrder, data: Any) -> None:
    first, second = data.draw(chunks()), data.draw(chunks(start=100))
    to_first, to_second = np.arange(len(first.values)), len(first.values) + np.arange(len(second.values))
    size = len(to_first) + len(to_second)
    result = assemble_chunk(frame_of(first), size, [Patch(first, to_first), Patch(second, to_second)], order)
    assert entries(result) == {**moved_entries(first, to_first), **moved_entries(second, to_second)}


@given(data=st.data())
def test_the_orders_of_gradient_rows(data: Any) -> None:
    given_ = data.draw(chunks())
    where = data.draw(places(len(given_.values)))

    def rows(order: RowOrder) -> list[list[int]]:
        result = assemble_chunk(frame_of(given_), int((where >= 0).sum()), [Patch(given_, where)], order)
        return result.gradients["x"].rows.tolist()

    kept = rows(RowOrder.KEPT)
    assert rows(RowOrder.FOLLOWING) == sorted(kept, key=lambda row: row[0])
    assert rows(RowOrder.SORTED) == sorted(kept)
    assert rows(RowOrder.DESCENDING) == sorted(kept, key=lambda row: (row[0], -row[1]))


def test_descending_rows_do_not_overflow() -> None:
    least = -(2**31)
    result = assemble_chunk(
        frame_of(chunk(1, [(0, least), (0, 5)])),
        1,
        [Patch(chunk(1, [(0, least), (0, 5)]))],
        RowOrder.DESCENDING,
    )
    assert result.gradients["x"].rows.tolist() == [[0, 5], [0, least]]


def test_rows_that_agree_are_merged() -> None:
    """Two chunks side by side: their columns differ, a row that both have is one."""
    left, right = chunk(2, [(0, 1), (1, 0)]), chunk(2, [(0, 1), (0, 2)], start=100)
    frame = Frame((4,), np.dtype(float), 0, {"x": Frame((4,), np.dtype(float), 2)})
    patches = [Patch(left, None, np.array([0, 2])), Patch(right, None, np.array([1, 3]))]
    for order in (RowOrder.MERGED, RowOrder.SORTED):
        result = assemble_chunk(frame, 2, patches, order, fill=-1)
        assert result.values.tolist() == [[0, 100, 1, 101], [2, 102, 3, 103]]
        assert result.gradients["x"].rows.tolist() == [[0, 1], [0, 2], [1, 0]]
        assert result.gradients["x"].values.tolist() == [
            [1000, 1100, 1001, 1101],
            [-1, 1102, -1, 1103],
            [1002, -1, 1003, -1],
        ]


def test_what_nothing_covers_is_filled() -> None:
    frame = Frame((3,), np.dtype(float), 0, {"x": Frame((3,), np.dtype(float), 2)})
    result = assemble_chunk(
        frame, 3, [Patch(chunk(1, [(0, 7)]), np.array([2]), np.array([2, 0]))], RowOrder.KEPT, 5
    )
    assert result.values.tolist() == [[5, 5, 5], [5, 5, 5], [1, 5, 0]]
    assert result.gradients["x"].rows.tolist() == [[2, 7]]
    assert result.gradients["x"].values.tolist() == [[1001, 5, 1000]]


def test_rows_and_columns_may_be_left_out_together() -> None:
    frame = Frame((1,), np.dtype(float))
    patch = Patch(chunk(3, []), np.array([1, -1, 0]), np.array([-1, 0]))
    assert assemble_chunk(frame, 2, [patch], RowOrder.KEPT).values.tolist() == [[5], [1]]


@pytest.mark.parametrize("order", list(RowOrder))
def test_nothing_makes_a_chunk_without_rows(order: RowOrder) -> None:
    frame = frame_of(chunk(2, [(0, 0)], [(0, 1)]))
    result = assemble_chunk(frame, 0, [], order)
    assert frame_of(result) == frame
    assert [len(below.values) for _, below in result.walk()] == [0, 0, 0]


def test_a_gradient_that_only_one_chunk_has() -> None:
    plain = Chunk(np.zeros((1, WIDTH)))
    other = chunk(1, [(0, 3)])
    result = assemble_chunk(
        frame_of(other), 2, [Patch(plain, np.array([0])), Patch(other, np.array([1]))], RowOrder.FOLLOWING
    )
    assert result.gradients["x"].rows.tolist() == [[1, 3]]


@given(data=st.data())
def test_rows_are_taken_in_any_order(data: Any) -> None:
    given_ = data.draw(chunks())
    where = data.draw(places(len(given_.values)))
    kept = np.flatnonzero(where >= 0)
    index = kept[np.argsort(where[kept])]
    assert entries(take(given_, index)) == moved_entries(given_, where)


# ---- many parts in one pass ----
@given(data=st.data())
def test_parts_are_what_taking_their_rows_gives(data: Any) -> None:
    given_ = data.draw(chunks())
    rows = st.lists(st.integers(0, max(0, len(given_.values) - 1)), unique=True)
    parts = data.draw(st.lists(rows if len(given_.values) else st.just([]), max_size=4))
    edges = np.cumsum([0, *(len(part) for part in parts)])
    division = divide_chunk(given_, np.array([row for part in parts for row in part], np.int64), edges)
    for n, part in enumerate(parts):
        where = np.full(len(given_.values), -1)
        where[part] = np.arange(len(part))
        expected = assemble_chunk(frame_of(given_), len(part), [Patch(given_, where)], RowOrder.FOLLOWING)
        found = part_of(division, n)
        assert entries(found) == entries(expected)
        assert np.array_equal(found.gradients["x"].rows, expected.gradients["x"].rows)


def part_of(division: Any, n: int) -> Chunk:
    table = None if division.table is None else division.table[division.edges[n] : division.edges[n + 1]]
    gradients = {name: part_of(below, n) for name, below in division.gradients.items()}
    return Chunk(division.values[division.starts[n] : division.stops[n]], gradients, table)


def test_neighbours_are_views() -> None:
    given_ = chunk(4, [(0, 0), (1, 0), (1, 1), (3, 0)])
    division = divide_chunk(given_, np.array([2, 3, 0, 1]), np.array([0, 2, 2, 4]))
    assert division.values is given_.values
    assert division.gradients["x"].values is given_.gradients["x"].values
    assert division.gradients["x"].table.tolist() == [[1, 0], [0, 0], [1, 0], [1, 1]]


def test_rows_that_are_no_neighbours_are_copied() -> None:
    given_ = chunk(3, [(1, 0), (2, 0)])
    division = divide_chunk(given_, np.array([0, 2, 1]), np.array([0, 2, 3]))
    assert not np.shares_memory(division.values, given_.values)
    assert not division.is_original
