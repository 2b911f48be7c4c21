"""Operands whose gradient rows differ: rows are united, and a missing row is zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock
from outgrad.testing import Order, assert_identical
from tests.support.lazy import cut_at

SAMPLES, PROPERTIES = Labels.range("system", 3), Labels.range("n", 2)
Rows = list[tuple[int, int]]


def block(values: Any, rows: Rows, gradient: Any) -> TensorBlock:
    made = TensorBlock(np.array(values, float), SAMPLES, [], PROPERTIES)
    table = Labels(["sample", "atom"], np.array(rows, int).reshape(-1, 2))
    made.add_gradient("x", TensorBlock(np.array(gradient, float).reshape(-1, 2), table, [], PROPERTIES))
    return made


A = block([[1, 2], [3, 4], [5, 6]], [(0, 0), (0, 2), (2, 1)], [[1, 1], [2, 2], [3, 3]])
B = block([[10, 20], [30, 40], [50, 60]], [(0, 1), (0, 2), (1, 0)], [[100, 100], [200, 200], [300, 300]])


def dense(made: TensorBlock) -> np.ndarray:
    """The gradient as an array (samples, atoms, properties), with zeros for rows that are missing."""
    gradient = made.gradient("x").compute()
    out = np.zeros((3, 4, 2))
    out[tuple(gradient.samples.values.T)] = gradient.values
    return out


def test_a_sum_has_the_rows_of_both_sorted() -> None:
    gradient = og.add(A, B).gradient("x")
    assert gradient.samples.values.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [2, 1]]
    assert gradient.values.tolist() == [[1, 1], [100, 100], [202, 202], [300, 300], [3, 3]]


def test_a_difference_has_the_rows_of_both() -> None:
    gradient = og.subtract(A, B).gradient("x")
    assert gradient.values.tolist() == [[1, 1], [-100, -100], [-198, -198], [-300, -300], [3, 3]]


def test_a_product_weighs_each_row_with_the_other_factor() -> None:
    gradient = og.multiply(A, B).gradient("x")
    assert gradient.samples.values.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [2, 1]]
    assert gradient.values.tolist() == [[10, 20], [100, 200], [220, 440], [900, 1200], [150, 180]]


def test_a_quotient_weighs_each_row_too() -> None:
    gradient = og.divide(A, B).gradient("x")
    np.testing.assert_allclose(
        gradient.values,
        [[0.1, 0.05], [-1, -0.5], [2 / 10 - 2, 2 / 20 - 1], [-1, -0.75], [3 / 50, 3 / 60]],
    )


def test_the_same_rows_in_another_order() -> None:
    turned = block([[1, 2], [3, 4], [5, 6]], [(0, 2), (0, 0), (2, 1)], [[2, 2], [1, 1], [3, 3]])
    total = og.add(A, turned)
    assert total.gradient("x").samples.values.tolist() == [[0, 0], [0, 2], [2, 1]]
    assert total.gradient("x").values.tolist() == [[2, 2], [4, 4], [6, 6]]


def test_the_same_rows_in_the_same_order_keep_it() -> None:
    rows = [(2, 1), (0, 2), (0, 0)]
    turned = block([[1, 2], [3, 4], [5, 6]], rows, [[3, 3], [2, 2], [1, 1]])
    assert og.add(turned, turned).gradient("x").samples.values.tolist() == [list(row) for row in rows]
    assert og.multiply(turned, turned).gradient("x").samples == turned.gradient("x").samples


def test_one_operand_without_rows() -> None:
    empty = block([[1, 1], [1, 1], [1, 1]], [], [])
    assert og.add(A, empty).gradient("x") == A.gradient("x")
    assert og.add(empty, A).gradient("x") == A.gradient("x")
    assert len(og.multiply(empty, empty).gradient("x")) == 0


ALL_ROWS = [(sample, atom) for sample in range(3) for atom in range(4)]


@st.composite
def sparse_blocks(draw: st.DrawFn, order: Order) -> TensorBlock:
    rows = draw(st.lists(st.sampled_from(ALL_ROWS), unique=True))
    if order == "sorted":
        rows.sort()
    elif order == "samples":
        rows.sort(key=lambda row: row[0])
    numbers = st.integers(-8, 8).filter(bool)
    values = draw(st.lists(numbers, min_size=6, max_size=6))
    gradient = draw(st.lists(numbers, min_size=2 * len(rows), max_size=2 * len(rows)))
    return block(np.reshape(values, (3, 2)), rows, gradient)


DERIVATIVES: dict[str, Any] = {
    "add": lambda x, y, dx, dy: dx + dy,
    "subtract": lambda x, y, dx, dy: dx - dy,
    "multiply": lambda x, y, dx, dy: dx * y + x * dy,
    "divide": lambda x, y, dx, dy: dx / y - x * dy / y**2,
}


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("order", ["sorted", "samples", "any"])
@given(data=st.data())
def test_missing_rows_are_zeros(name: str, order: Order, data: Any) -> None:
    a, b = data.draw(sparse_blocks(order)), data.draw(sparse_blocks(order))
    result = getattr(og, name)(a, b)
    x, y = a.values[:, None], b.values[:, None]
    np.testing.assert_allclose(dense(result), DERIVATIVES[name](x, y, dense(a), dense(b)), atol=1e-14)
    known = {tuple(row) for made in (a, b) for row in made.gradient("x").samples.values.tolist()}
    assert {tuple(row) for row in result.gradient("x").samples.values.tolist()} == known


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("order", ["sorted", "samples"])
@given(data=st.data())
def test_chunks_unite_like_the_whole(name: str, order: Order, data: Any) -> None:
    a, b = data.draw(sparse_blocks(order)), data.draw(sparse_blocks(order))
    edges = [sorted([0, *data.draw(st.lists(st.integers(0, 3), max_size=3)), 3])]
    result = getattr(og, name)(cut_at(a, edges), b)
    assert_identical(result, getattr(og, name)(a, b))


@pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")
def test_unsorted_rows_of_the_second_operand_leave_one_chunk() -> None:
    turned = block([[1, 2], [3, 4], [5, 6]], [(2, 1), (0, 2), (0, 0)], [[3, 3], [2, 2], [1, 1]])
    result = cut_at(A, [[0, 1, 2, 3]]) * turned
    assert result.chunks == (3,)
    assert_identical(result, A * turned)


def test_unsorted_rows_warn() -> None:
    turned = block([[1, 2], [3, 4], [5, 6]], [(2, 1), (0, 2), (0, 0)], [[3, 3], [2, 2], [1, 1]])
    with pytest.warns(
        og.errors.UnsortedGradientWarning, match="rows of gradient 'x' are not sorted by 'sample'"
    ):
        cut_at(A, [[0, 1, 2, 3]]) * turned
