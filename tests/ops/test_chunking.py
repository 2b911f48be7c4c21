"""Chunking never changes a result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import TensorMap
from outgrad.testing import Parameter, assert_identical, random_block, random_values
from outgrad.testing.strategies import tensor_maps
from tests.ops.case import Case, operands
from tests.ops.cases import ALL
from tests.support.lazy import check_layout, cut_at
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, CUTS, ONE_ROW, Cuts


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("case", ALL)
def test_every_cut_gives_the_same_bits(case: Case, cut: str) -> None:
    maps = operands(case, order="samples")
    result = case.call(*(cut_at(map, CUTS[cut]) for map in maps))
    check_layout(result)
    case.check_same(result, case.call(*maps))


@pytest.mark.parametrize("case", ALL)
def test_gradients_of_gradients_too(case: Case) -> None:
    maps = operands(case, parameters=CLOSED, order="samples")
    result = case.call(*(cut_at(map, ONE_ROW) for map in maps))
    check_layout(result)
    case.check_same(result, case.call(*maps))


@pytest.mark.parametrize("case", ALL)
def test_operands_may_be_cut_differently_or_be_in_memory(case: Case) -> None:
    maps = operands(case, order="samples")
    cuts = [ACROSS_SYSTEMS, None, ONE_ROW]
    for shift in range(len(cuts)):
        ways = cuts[shift:] + cuts[:shift]
        given_ = [map if way is None else cut_at(map, way) for map, way in zip(maps, ways, strict=False)]
        case.check_same(case.call(*given_), case.call(*maps))


@pytest.mark.parametrize("case", ALL)
def test_dask_arrays_of_the_result_are_chunks_of_it(case: Case) -> None:
    maps = operands(case)
    whole = case.call(*maps)
    for block, expected in zip(case.call(*(cut_at(map, ONE_ROW) for map in maps)), whole, strict=True):
        close = dict.fromkeys(("rtol", "atol"), 1e-12 if case.exceptions.order_matters else 0.0)
        np.testing.assert_allclose(block.values.compute(), expected.values, **close)
        for name, gradient in block.gradients():
            assert len(gradient.values.chunks[0]) == len(block.values.chunks[0])
            np.testing.assert_allclose(gradient.values.compute(), expected.gradient(name).values, **close)


@pytest.mark.parametrize("case", ALL)
def test_automatic_chunks_give_the_same_bits(case: Case) -> None:
    maps = operands(case)
    result = case.call(*(map.chunk(target_bytes=300) for map in maps))
    check_layout(result)
    case.check_same(result, case.call(*maps))


@st.composite
def edges(draw: st.DrawFn, map: TensorMap) -> Cuts:
    counts = [len(block) for block in map]
    return [sorted([0, *draw(st.lists(st.integers(0, count), max_size=4)), count]) for count in counts]


@given(st.data())
def test_any_map_in_any_chunks(data: Any) -> None:
    map = data.draw(tensor_maps(nested=True))
    cut = cut_at(map, data.draw(edges(map)), part_bytes=data.draw(st.sampled_from([1, 200, 10**6])))
    assert_identical(cut, map)
    assert_identical(og.multiply(cut, cut), og.multiply(map, map))
    assert_identical(og.sum_over_samples(cut, "atom"), og.sum_over_samples(map, "atom"))


def many_samples(dtype: str) -> TensorMap:
    """300 samples of 3 systems, one system after the other every time: every chunk has all systems."""
    rng = np.random.default_rng(0)
    table = np.column_stack([np.tile(np.arange(3), 100), np.repeat(np.arange(100), 3)])
    samples = og.Labels(["system", "atom"], table)
    block = random_block(rng, samples, [], og.Labels.range("n", 2), {"cell": Parameter()}, dtype=dtype)
    return TensorMap(og.Labels.single(), [block])


def test_sums_of_many_partial_sums_form_a_tree() -> None:
    map = many_samples("float64")
    result = og.sum_over_samples(cut_at(map, [list(range(301))]), "atom")
    check_layout(result)
    assert_identical(result, og.sum_over_samples(map, "atom"))
    levels = {str(key[0]) for key in result.__dask_graph__() if "tree" in str(key[0])}
    assert len(levels) == 2  # 300 partial sums, 19, 2


def test_float32_is_added_in_float64_across_chunks() -> None:
    """10⁸ + 100 times 1 in float32 would stay 10⁸."""
    map = many_samples("float32")
    block = map.block()
    block.values[:] = 1.0
    block.values[:3] = 1e8
    expected = np.float32(1e8 + 99)
    assert (og.sum_over_samples(map, "atom").block().values == expected).all()
    cut = og.sum_over_samples(cut_at(map, [list(range(301))]), "atom").compute()
    assert cut.dtype == np.float32
    assert (cut.block().values == expected).all()


def test_rows_of_one_chunk_do_not_depend_on_other_chunks() -> None:
    """Gradient rows that agree in one chunk and differ in another are united in the same order."""
    labels = og.Labels(["system"], [[0], [1], [2]])
    properties = og.Labels.range("n", 2)
    rng = np.random.default_rng(0)

    def block(rows: list[list[int]]) -> og.TensorBlock:
        made = og.TensorBlock(random_values(rng, (3, 2)), labels, [], properties)
        table = og.Labels(["sample", "atom"], rows)
        made.add_gradient("x", og.TensorBlock(random_values(rng, (len(rows), 2)), table, [], properties))
        return made

    a = block([[0, 5], [0, 4], [1, 2], [1, 1], [2, 9]])
    b = block([[0, 5], [0, 4], [1, 1], [1, 3], [2, 9]])
    whole = a + b
    assert whole.gradient("x").samples.values.tolist() == [[0, 5], [0, 4], [1, 1], [1, 2], [1, 3], [2, 9]]
    assert_identical(cut_at(a, [[0, 1, 2, 3]]) + b, whole)


def test_empty_blocks_on_the_right_of_dot_share_a_task() -> None:
    """Blocks of no bytes are packed into one part; each has properties of its own."""

    def map(rows: int) -> TensorMap:
        blocks = [og.block_from_array(np.ones((rows, width))) for width in (2, 3)]
        return TensorMap(og.Labels.range("k", 2), blocks)

    result = og.dot(map(4).chunk(), map(0).chunk())
    assert [block.shape for block in result] == [(4, 0), (4, 0)]
    assert_identical(result, og.dot(map(4), map(0)))
