"""Maps and blocks as Dask collections."""

from __future__ import annotations

import pickle
from typing import Any

import dask
import numpy as np
import pytest
from dask.graph_manipulation import checkpoint, wait_on

import outgrad as og
from outgrad import TensorMap
from outgrad.testing import assert_identical
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, KEYS, ONE_ROW, operand

MAP = operand(0, parameters=CLOSED)


@pytest.fixture(params=["map", "block", "gradient", "gradient of gradient"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The same in memory and lazy."""
    whole, lazy = MAP, cut_at(MAP, ACROSS_SYSTEMS)
    if request.param == "map":
        return whole, lazy
    found = []
    for map in (whole, lazy):
        block = map.block(0)
        if request.param.startswith("gradient"):
            block = block.gradient("positions")
        found.append(block.gradient("cell") if request.param == "gradient of gradient" else block)
    return found[0], found[1]


def test_lazy_data_are_a_collection(pair: tuple[Any, Any]) -> None:
    whole, lazy = pair
    assert dask.is_dask_collection(lazy)
    assert not dask.is_dask_collection(whole)


def test_compute(pair: tuple[Any, Any]) -> None:
    whole, lazy = pair
    computed = lazy.compute()
    assert type(computed) is type(lazy)
    assert not dask.is_dask_collection(computed)
    assert_identical(computed, whole)
    (one,) = dask.compute(lazy)
    assert_identical(one, whole)


def test_persist_keeps_chunks(pair: tuple[Any, Any]) -> None:
    whole, lazy = pair
    kept = lazy.persist()
    assert dask.is_dask_collection(kept)
    with nothing_computed():
        blocks = [kept] if not isinstance(kept, TensorMap) else list(kept)
        before = [lazy] if not isinstance(lazy, TensorMap) else list(lazy)
        assert [block.chunks for block in blocks] == [block.chunks for block in before]
    assert all(
        not task.dependencies
        for task in kept.__dask_optimize__(kept.__dask_graph__(), kept.__dask_keys__()).values()
    )
    assert_identical(kept, whole)
    assert_identical(kept * 2, whole * 2)
    values = (kept.block(0) if isinstance(kept, TensorMap) else kept).values
    assert np.array_equal(
        values.compute(), (whole.block(0) if isinstance(whole, TensorMap) else whole).values
    )


def test_in_memory_compute_and_persist_change_nothing(pair: tuple[Any, Any]) -> None:
    whole = pair[0]
    assert_identical(whole.compute(), whole)
    assert_identical(whole.persist(), whole)
    (one,) = dask.compute(whole)
    assert one is whole


def test_several_collections_at_once() -> None:
    lazy = cut_at(MAP, ONE_ROW)
    total = og.sum_over_samples(lazy, "atom")
    results = dask.compute(lazy, {"total": [total]}, lazy.block(0), lazy.block(0).values.sum(), MAP)
    assert_identical(results[0], MAP)
    assert_identical(results[1]["total"][0], og.sum_over_samples(MAP, "atom"))
    assert_identical(results[2], MAP.block(0))
    np.testing.assert_allclose(results[3], MAP.block(0).values.sum())
    assert results[4] is MAP


def test_persisting_several_at_once() -> None:
    lazy = cut_at(MAP, ONE_ROW)
    kept, total = dask.persist(lazy, og.sum_over_samples(lazy, "atom"))
    assert_identical(kept, MAP)
    assert_identical(total, og.sum_over_samples(MAP, "atom"))
    assert_identical(kept + kept, 2 * MAP)


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_schedulers(scheduler: str) -> None:
    lazy = cut_at(MAP, ONE_ROW)
    assert_identical((lazy * 2).compute(scheduler=scheduler), MAP * 2)
    with dask.config.set(scheduler=scheduler):
        assert og.equal(lazy, MAP)
        assert_identical(abs(lazy).compute(), abs(MAP))


def test_without_optimisation() -> None:
    lazy = cut_at(MAP, ONE_ROW)
    assert_identical(
        og.sum_over_samples(lazy * lazy, "atom").compute(optimize_graph=False),
        og.sum_over_samples(MAP * MAP, "atom"),
    )


def test_tokens_name_content(pair: tuple[Any, Any]) -> None:
    whole, lazy = pair
    for one in pair:
        assert dask.base.tokenize(one) == dask.base.tokenize(one.copy(deep=False))
        assert dask.base.tokenize(one) != dask.base.tokenize(one * 2)
    assert dask.base.tokenize(whole) == dask.base.tokenize(whole.copy())
    relabelled = (
        lazy if not isinstance(lazy, TensorMap) else TensorMap(KEYS.rename("center_type", "t"), list(lazy))
    )
    assert relabelled is lazy or dask.base.tokenize(relabelled) != dask.base.tokenize(lazy)


def test_results_that_wait_for_others(pair: tuple[Any, Any]) -> None:
    """Dask renames the keys of a collection that has to wait."""
    whole, lazy = pair
    later, _ = wait_on(lazy, cut_at(MAP, ONE_ROW))
    assert not set(later.__dask_keys__()) & set(lazy.__dask_keys__())
    assert_identical(later, whole)
    assert_identical(later * 2, whole * 2)
    assert checkpoint(lazy).compute(scheduler="sync") is None


def test_delayed_functions_take_them(pair: tuple[Any, Any]) -> None:
    whole, lazy = pair
    same = dask.delayed(og.equal, pure=True)(lazy, whole)
    assert same.compute(scheduler="sync")


def test_pickled_graphs_compute(pair: tuple[Any, Any]) -> None:
    whole, lazy = pair
    assert_identical(pickle.loads(pickle.dumps(lazy)), whole)


def test_results_do_not_hold_the_graph() -> None:
    computed = cut_at(MAP, ONE_ROW).compute()
    assert computed._blocks().to_compute is None
    assert computed.__dask_graph__() is None
    assert computed.__dask_keys__() == []
    assert computed.__dask_layers__() == ()


def test_rows_are_taken_by_a_list_where_most_chunks_are_empty() -> None:
    """Dask fails where there are more chunks than rows: ``da.ones((2, 2), chunks=((1, 1, 0), 2))[[1]]``."""
    samples, n = og.Labels.range("atom", 5), og.Labels.range("n", 2)
    block = og.TensorBlock(np.ones((5, 2)), samples, [], n)
    rows = og.Labels("sample", [[1], [3]])
    values = np.arange(4.0).reshape(2, 2)
    block.add_gradient("cell", og.TensorBlock(values, rows, [], n))
    lazy = block.chunk(1).gradient("cell").values
    assert lazy.chunks[0] == (0, 1, 0, 1, 0)
    for index in ([1], [1, 0], [], np.array([True, False]), ([1], 0), (1, [0]), ([0], None, slice(1))):
        np.testing.assert_array_equal(lazy[index].compute(), values[index])
