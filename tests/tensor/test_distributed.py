"""Maps and blocks on a distributed scheduler."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad.testing import assert_identical
from tests.support.lazy import cut_at
from tests.support.operands import CLOSED, ONE_ROW, operand

pytestmark = pytest.mark.cluster

MAP = operand(0, parameters=CLOSED)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    settings = {"processes": False, "n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**settings) as cluster, Client(cluster) as client:
        yield client


def test_compute(client: Client) -> None:
    lazy = cut_at(MAP, ONE_ROW)
    assert_identical(og.sum_over_samples(lazy * lazy, "atom"), og.sum_over_samples(MAP * MAP, "atom"))
    assert_identical(client.compute(lazy).result(), MAP)
    results = dask.compute(lazy, lazy.block(0), lazy.block(1).gradient("positions"))
    assert_identical(results[0], MAP)
    assert_identical(results[1], MAP.block(0))
    assert_identical(results[2], MAP.block(1).gradient("positions"))


def test_persist(client: Client) -> None:
    for lazy, whole in ((cut_at(MAP, ONE_ROW), MAP), (cut_at(MAP, ONE_ROW).block(0), MAP.block(0))):
        kept = lazy.persist()
        assert client.futures_of(kept)
        assert_identical(kept, whole)
        assert_identical(kept * kept, whole * whole)
    values = cut_at(MAP, ONE_ROW).persist().block(0).values
    assert np.array_equal((values + 1).compute(), MAP.block(0).values + 1)


def test_comparisons_run_on_the_cluster(client: Client) -> None:
    lazy = cut_at(MAP, ONE_ROW)
    assert og.equal(lazy, MAP)
    assert not og.allclose(lazy, 2 * lazy)


def test_workers_get_maps_as_arguments(client: Client) -> None:
    assert client.submit(og.equal, MAP, MAP.copy()).result()
    assert client.submit(lambda map: map.compute(scheduler="sync"), cut_at(MAP, ONE_ROW)).result() == MAP
