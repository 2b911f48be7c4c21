"""Dask arrays of any chunks as values: they become co-chunked."""

from __future__ import annotations

import warnings
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.errors import UnsortedGradientWarning
from outgrad.testing import Parameter, assert_identical, random_block
from tests.support.lazy import chunks_of, nothing_computed

S, M, N = Labels.range("system", 6), Labels.range("m", 2), Labels.range("n", 3)
VALUES = np.arange(36.0).reshape(6, 2, 3)
ROWS = Labels(["sample", "atom"], [[0, 0], [0, 1], [2, 0], [3, 1], [3, 2], [5, 0]])
GRADIENT = np.arange(36.0).reshape(6, 2, 3) / 4


def block(values: Any, samples: Labels = S) -> TensorBlock:
    return TensorBlock(values, samples, [M], N)


CHUNKS = {
    "one": (-1, -1, -1),
    "rows": (1, -1, -1),
    "irregular rows": ((1, 3, 2), -1, -1),
    "components": (2, 1, -1),
    "properties": (3, -1, (1, 2)),
    "everything": ((4, 2), 1, (2, 1)),
    "rows without content": ((0, 2, 0, 4, 0), -1, -1),
}


@pytest.mark.parametrize("chunks", CHUNKS)
def test_any_chunks_are_accepted(chunks: str) -> None:
    array = da.from_array(VALUES, chunks=CHUNKS[chunks])
    with nothing_computed():
        made = block(array)
        made.add_gradient("x", TensorBlock(da.from_array(GRADIENT, chunks=CHUNKS[chunks]), ROWS, [M], N))
        square = made * made
    assert made.values.chunks == (array.chunks[0], (2,), (3,))
    expected = block(VALUES)
    expected.add_gradient("x", TensorBlock(GRADIENT, ROWS, [M], N))
    assert_identical(made, expected)
    assert_identical(square, expected * expected)


def test_gradients_are_cut_where_the_values_are() -> None:
    made = block(da.from_array(VALUES, chunks=((1, 2, 3), -1, -1)))
    made.add_gradient("x", TensorBlock(da.from_array(GRADIENT, chunks=((5, 1), 1, -1)), ROWS, [M], N))
    assert made.gradient("x").values.chunks == ((2, 1, 3), (2,), (3,))
    tables = [chunk.gradients["x"].rows.tolist() for chunk in chunks_of(made)[0]]
    assert tables == [[[0, 0], [0, 1]], [[1, 0]], [[0, 1], [0, 2], [2, 0]]]


@pytest.mark.parametrize("kind", ["array", "sum of arrays", "slices", "rechunked", "reduction", "result"])
def test_arrays_from_any_graph(kind: str) -> None:
    """The layer of the array may stand anywhere in its graph."""
    base = da.from_array(VALUES, chunks=(2, -1, -1))
    array = {
        "array": base,
        "sum of arrays": (base + 1) * base - base,
        "slices": da.concatenate([base[3:], base[:3]]),
        "rechunked": (base * 2).rechunk((3, 1, 2)),
        "reduction": da.stack([base, base]).sum(axis=0),
        "result": (block(base) * 3).values + 1,
    }[kind]
    made = block(array)
    made.__dask_graph__().validate()
    expected = array.compute()
    assert np.array_equal(made.compute().values, expected)
    assert np.array_equal(made.values.compute(), expected)
    assert np.array_equal((made.values + 1).compute(), expected + 1)
    # Dask 2026.8 groups the results by kind of collection, so arrays are asked for last.
    map, block_, product, same = dask.compute(
        TensorMap(Labels.single(), [made]), made * 2, (made * 2).values, array
    )
    assert np.array_equal(map.block().values, expected)
    assert np.array_equal(block_.values, 2 * expected)
    assert np.array_equal(product, 2 * expected)
    assert np.array_equal(same, expected)


def test_unknown_chunk_sizes_are_refused() -> None:
    array = da.from_array(VALUES, chunks=(2, -1, -1))
    unknown = array[array[:, 0, 0] > 10]
    with pytest.raises(
        ValidationError,
        match=r"Dask array with unknown chunk sizes, shape \(nan, 2, 3\); call array.compute_chu",
    ):
        block(unknown)
    assert block(unknown.compute_chunk_sizes(), Labels.range("system", 4)).compute().shape == (4, 2, 3)


def test_the_same_array_has_the_same_name() -> None:
    first, second = (block(da.from_array(VALUES, chunks=(2, -1, -1))) for _ in range(2))
    assert first.__dask_keys__() == second.__dask_keys__()
    other = block(da.from_array(VALUES + 1, chunks=(2, -1, -1)))
    assert not set(first.__dask_keys__()) & set(other.__dask_keys__())


# ---- gradient rows that are not sorted ----
TURNED = Labels(ROWS.names, ROWS.values[::-1])


def unsorted(values: Any, gradient: Any) -> TensorBlock:
    made = block(values)
    made.add_gradient("x", TensorBlock(gradient, TURNED, [M], N))
    return made


@pytest.mark.parametrize("rows", [1, (2, 4)])
def test_unsorted_rows_leave_one_chunk_and_warn(rows: Any) -> None:
    values = da.from_array(VALUES, chunks=(rows, -1, -1))
    for gradient in (GRADIENT, da.from_array(GRADIENT, chunks=(2, -1, -1))):
        with pytest.warns(
            UnsortedGradientWarning, match="rows of gradient 'x' are not sorted by 'sample', so the bl"
        ):
            made = unsorted(values, gradient)
        assert made.chunks == (6,)
        assert_identical(made, unsorted(VALUES, GRADIENT))
        assert_identical(made * made, unsorted(VALUES, GRADIENT) * unsorted(VALUES, GRADIENT))


def test_unsorted_rows_of_one_chunk_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = unsorted(da.from_array(VALUES, chunks=-1), GRADIENT)
        assert_identical(made + made, 2 * unsorted(VALUES, GRADIENT))
        assert_identical(unsorted(VALUES, GRADIENT) + 1, unsorted(VALUES + 1, GRADIENT))


def test_chunking_unsorted_rows_warns_once() -> None:
    with pytest.warns(
        UnsortedGradientWarning, match="sort the rows of the gradient before chunking"
    ) as caught:
        made = unsorted(VALUES, GRADIENT).chunk(1)
    assert len(caught) == 1
    assert made.chunks == (6,)
    assert_identical(made, unsorted(VALUES, GRADIENT))


def test_the_gradient_that_is_not_sorted_is_named() -> None:
    below = TensorBlock(np.ones((2, 2, 3)), Labels(["sample"], [[3], [1]]), [M], N)
    gradient = TensorBlock(GRADIENT, ROWS, [M], N)
    gradient.add_gradient("cell", below)
    made = block(VALUES)
    made.add_gradient("x", gradient)
    with pytest.warns(UnsortedGradientWarning, match="rows of gradient 'cell' are not sorted") as caught:
        assert made.chunk(1).chunks == (6,)
    assert len(caught) == 1


def test_only_the_block_with_unsorted_rows_is_one_chunk() -> None:
    made = [unsorted(VALUES, GRADIENT), block(VALUES)]
    made[1].add_gradient("x", TensorBlock(GRADIENT, ROWS, [M], N))
    with pytest.warns(UnsortedGradientWarning):
        map = TensorMap(Labels.range("k", 2), made).chunk(1)
    assert [one.chunks for one in map] == [(6,), (1,) * 6]
    assert_identical(og.sum_over_samples(map, []), og.sum_over_samples(map.compute(), []))


@given(st.data())
def test_any_chunks_of_values_and_gradients(data: Any) -> None:
    made = random_block(
        np.random.default_rng(data.draw(st.integers(0, 99))), S, [], N, {"x": Parameter((2,))}, sparsity=0.4
    )
    gradient = made.gradient("x")

    def pieces(count: int) -> tuple[int, ...]:
        edges = sorted([0, *data.draw(st.lists(st.integers(0, count), max_size=4)), count])
        return tuple(np.diff(edges).tolist())

    def lazy(array: Any) -> Any:
        return da.from_array(array, chunks=tuple(pieces(size) for size in array.shape))

    again = TensorBlock(lazy(made.values), S, [], N)
    again.add_gradient("x", TensorBlock(lazy(gradient.values), gradient.samples, gradient.components, N))
    assert_identical(again, made)
    assert again.gradient("x").values.compute().tolist() == gradient.values.tolist()
