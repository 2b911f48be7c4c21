"""Building a graph computes nothing, names are deterministic, and graphs are small."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
from dask._task_spec import Alias

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import Parameter, random_block
from tests.ops.case import Case, operands
from tests.ops.cases import ALL, CASES
from tests.support.elsewhere import printed_with_hash_seeds
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, KEYS, ONE_ROW, SAMPLES, operand


@pytest.mark.parametrize("case", ALL)
def test_building_computes_nothing(case: Case) -> None:
    with nothing_computed():
        result = case.call(*(cut_at(map, ACROSS_SYSTEMS) for map in operands(case)))
        assert all(isinstance(block, TensorBlock) and block.shape for block in result)
        assert result.nbytes >= 0
        assert str(result)
        assert "Dask" in result._repr_html_()
        assert dask.is_dask_collection(result)


@pytest.mark.parametrize("case", ALL)
def test_numpy_in_numpy_out(case: Case) -> None:
    with nothing_computed():
        result = case.call(*operands(case))
        assert dask.is_dask_collection(result) == case.exceptions.is_lazy
        if case.exceptions.is_lazy:
            return
        assert all(isinstance(block.values, np.ndarray) for block in result)
        assert all(isinstance(g.values, np.ndarray) for block in result for _, g in block.gradients())


def keys_of(map: TensorMap) -> list[Any]:
    return list(map.__dask_graph__())


@pytest.mark.parametrize("case", ALL)
def test_names_say_what_is_computed(case: Case) -> None:
    """The same call has the same names; another one, or one on other data, shares only its operands."""
    first, again, others = (
        case.call(*(cut_at(map, ACROSS_SYSTEMS) for map in operands(case, first_seed=seed)))
        for seed in (0, 0, 5)
    )
    assert keys_of(first) == keys_of(again)
    assert first.__dask_keys__() == again.__dask_keys__()
    if any(len(block.samples) for block in first):  # what has no rows is made of nothing, and the same
        assert not set(first.__dask_keys__()) & set(others.__dask_keys__())


def test_names_of_different_operations_differ() -> None:
    maps = {uniform: cut_at(operand(0, uniform=uniform), ACROSS_SYSTEMS) for uniform in (False, True)}
    seen: dict[Any, str] = {}
    for case in (case for case in CASES if case.operands == 1):
        map = maps[case.uniform]
        # Where only labels change, nothing is computed anew.
        for key in set(case.call(map).__dask_keys__()) - set(map.__dask_keys__()):
            assert seen.setdefault(key, case.name) == (case.exceptions.same_as or case.name)
    assert len(seen) > len(CASES)


def test_equal_operations_share_their_names() -> None:
    map = cut_at(operand(0), ACROSS_SYSTEMS)
    assert (2 * map).__dask_keys__() == og.multiply(map, 2.0).__dask_keys__()


def test_the_size_of_chunks_is_part_of_the_name_of_a_sum() -> None:
    map = cut_at(operand(0), ACROSS_SYSTEMS)
    packed = og.sum_over_samples(map, "atom")
    with dask.config.set({"outgrad.chunk-bytes": 1}):
        single = og.sum_over_samples(map, "atom")
    assert len(packed.__dask_keys__()) < len(single.__dask_keys__())
    assert not set(packed.__dask_keys__()) & set(single.__dask_keys__())
    first, second = dask.compute(packed, single)
    assert first == second


NAMES_ELSEWHERE = """
import numpy as np, outgrad as og
map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.arange(12.0).reshape(6, 2))]).chunk(32)
result = og.sum_over_samples(og.slice(map * map, "samples", [0, 2, 5]), "sample")
print(list(result.__dask_graph__()))
"""


def test_names_are_the_same_in_another_process() -> None:
    """A worker that resumes a job, or a second client, must find the same keys."""
    assert len(printed_with_hash_seeds(NAMES_ELSEWHERE)) == 1


@pytest.mark.parametrize("case", ALL)
def test_tasks_are_bounded_by_parts(case: Case) -> None:
    for cut in (ONE_ROW, ACROSS_SYSTEMS):
        maps = [cut_at(map, cut) for map in operands(case)]
        parts = len(maps[0].__dask_keys__())
        before = {key for map in maps for key in map.__dask_graph__()}
        added = set(case.call(*maps).__dask_graph__()) - before
        assert len(added) <= case.most_tasks(parts)


def test_small_blocks_share_tasks() -> None:
    rng = np.random.default_rng(0)
    labels = Labels.range("atom", 2), Labels.range("n", 3)
    blocks = [
        random_block(rng, labels[0], [], labels[1], {"cell": Parameter()}, sparsity=1) for _ in range(100)
    ]
    map = TensorMap(Labels.range("type", 100), blocks).chunk()
    total = og.sum_over_samples(og.multiply(map, map), "atom")
    assert len(total.__dask_graph__()) == 3  # memory, product, sum


def test_chains_of_operations_become_one_task() -> None:
    map = cut_at(operand(0), ACROSS_SYSTEMS)
    result = og.abs(map * map + 1) / 2
    fused = result.__dask_optimize__(result.__dask_graph__(), result.__dask_keys__())
    assert len([task for task in fused.values() if not isinstance(task, Alias)]) == len(map.__dask_keys__())


@pytest.mark.parametrize("case", ALL)
def test_graphs_are_well_formed(case: Case) -> None:
    result = case.call(*(cut_at(map, ACROSS_SYSTEMS) for map in operands(case)))
    graph = result.__dask_graph__()
    graph.validate()
    assert set(result.__dask_layers__()) <= set(graph.layers)
    assert {key[0] for key in result.__dask_keys__()} <= set(result.__dask_layers__())


def test_only_the_chunks_of_one_block_are_computed() -> None:
    """Culling follows keys: a block of a map does not compute the others."""
    map = cut_at(operand(0), ONE_ROW) * 2
    block = map.block(1)
    needed = block.__dask_optimize__(block.__dask_graph__(), block.__dask_keys__())
    assert len(block.__dask_keys__()) == len(SAMPLES[1])
    assert len(needed) <= 2 * len(SAMPLES[1])
    assert len(KEYS) == 3
