"""Results that are computed together are those that are computed alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad import TensorMap
from tests.ops.case import Case, operands
from tests.ops.cases import CASES
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS
from tests.support.variants import CALLS, CHUNK_BYTES, tensor

TURNED = {"positions": "cell", "cell": "positions"}


def maps() -> list[TensorMap]:
    return [tensor(), tensor(**TURNED), tensor(1)]


def check(call: str, found: TensorMap, map: TensorMap) -> None:
    expected = CALLS[call](map)
    assert found.keys == expected.keys, call
    assert og.allclose(found, expected, rtol=1e-7, atol=1e-9, equal_nan=True), call


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "processes": True}
    with LocalCluster(**settings) as cluster, Client(cluster) as client:
        yield client


def test_calls_of_other_parameters_together() -> None:
    calls = [(call, map) for map in maps() for call in CALLS]
    lazy = {id(map): map.chunk(target_bytes=CHUNK_BYTES) for _, map in calls}
    results = dask.compute(*(CALLS[call](lazy[id(map)]) for call, map in calls))
    for (call, map), found in zip(calls, results, strict=True):
        check(call, found, map)


def _table() -> list[tuple[Case, list[TensorMap]]]:
    return [(case, operands(case, first_seed=seed, order="samples")) for case in CASES for seed in (0, 3)]


def test_rows_of_the_table_together() -> None:
    table = _table()
    lazy = [case.call(*(cut_at(map, ACROSS_SYSTEMS) for map in given)) for case, given in table]
    for (case, given), found in zip(table, dask.compute(*lazy), strict=True):
        case.check_same(found, case.call(*given))


def test_results_that_are_saved_together(tmp_path: Path) -> None:
    map = tensor()
    lazy = map.chunk(target_bytes=CHUNK_BYTES)
    og.save_all({tmp_path / f"{n}.zarr": call(lazy) for n, call in enumerate(CALLS.values())})
    for n, call in enumerate(CALLS):
        check(call, og.load(tmp_path / f"{n}.zarr"), map)


@pytest.mark.cluster
def test_results_beside_some_that_a_cluster_holds(client: Client) -> None:
    """Every other result is persisted first, and some of the arrays that they are made of."""
    map = tensor()
    lazy = map.chunk(target_bytes=CHUNK_BYTES)
    calls = list(CALLS)
    held = dict(zip(calls[::2], client.persist([CALLS[call](lazy) for call in calls[::2]]), strict=True))
    others = dask.compute(*(CALLS[call](lazy) for call in calls[1::2]))
    for call, found in zip(calls[1::2], others, strict=True):
        check(call, found, map)
    for call, found in zip(held, dask.compute(*held.values()), strict=True):
        check(call, found, map)


@pytest.mark.cluster
def test_a_difference_from_a_result_that_a_cluster_holds(client: Client, tmp_path: Path) -> None:
    map = og.remove_gradients(tensor())
    lazy = map.chunk(target_bytes=CHUNK_BYTES // 4)
    held = og.mean_over_samples(lazy, by="a").persist()
    renamed = og.rename_dimension(held, "samples", "a", "b")
    difference = og.subtract(renamed, og.mean_over_samples(lazy, by="b"))
    og.save_all({tmp_path / "held.zarr": held, tmp_path / "other.zarr": og.mean_over_samples(lazy, by="b")})
    expected = [og.mean_over_samples(map, by=name) for name in ("a", "b")]
    assert np.allclose(difference.compute()[0].values, expected[0][0].values - expected[1][0].values)
    assert og.allclose(og.load(tmp_path / "held.zarr"), expected[0])
    assert og.allclose(og.load(tmp_path / "other.zarr"), expected[1])
