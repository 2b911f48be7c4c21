"""Results that are gathered: refused where workers are too small, and put together without a third copy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster, futures_of

import outgrad as og
from outgrad import TensorMap
from outgrad.errors import MemoryLimitError
from outgrad.graph.collection import Optimizer
from outgrad.graph.workers import Workers

MIB = 2**20
PARTS = 16


def ones(nbytes: int) -> TensorMap:
    """A map of ones, in parts; made by tasks, so that nothing is in memory before."""
    rows = nbytes // (8 * 4096)
    labels = og.Labels.range("system", rows), og.Labels.range("n", 4096)
    small = og.TensorBlock(np.broadcast_to(np.zeros(()), (rows, 4096)), labels[0], [], labels[1])
    return og.ones_like(TensorMap(og.Labels.single(), [small]).chunk(target_bytes=nbytes // PARTS))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(memory_limit=500 * MIB, **settings) as cluster, Client(cluster) as client:
        yield client


CALLS: dict[str, Callable[[TensorMap, Client], Any]] = {
    "map.compute": lambda map, client: map.compute(),
    "block.compute": lambda map, client: map.block(0).compute(),
    "dask.compute": lambda map, client: dask.compute(map, og.sum_over_samples(map, "system")),
    "client.compute": lambda map, client: client.compute(map).result(),
    "client.compute of two": lambda map, client: client.gather(client.compute([map, map * 2])),
    "map.persist": lambda map, client: map.persist(),
    "dask.persist": lambda map, client: dask.persist(map, map * 2),
    "client.persist": lambda map, client: client.persist(map),
}


@pytest.mark.cluster
@pytest.mark.parametrize("call", CALLS)
def test_what_does_not_fit_is_refused_before_any_task(client: Client, call: str) -> None:
    """Results that stay on workers may be written to their disks, unless that is switched off."""
    map = ones(1000 * MIB)
    without_spilling = dask.config.set({"distributed.worker.memory.spill": False})
    with (
        without_spilling,
        pytest.raises(MemoryLimitError, match=r"needs .* of memory in each worker: .* a worker may use 500"),
    ):
        CALLS[call](map, client)
    assert not client.processing() or not any(client.processing().values())


@pytest.mark.cluster
@pytest.mark.parametrize("call", [call for call in CALLS if "compute" in call])
def test_a_whole_result_counts_with_its_parts(client: Client, call: str) -> None:
    """Its parts fit on two workers, but one of them would have to put it together."""
    with pytest.raises(MemoryLimitError, match=r"for the whole result and the parts that it is made of"):
        CALLS[call](ones(200 * MIB), client)


@pytest.mark.cluster
def test_what_is_computed_together_is_counted_together(client: Client) -> None:
    """Each of two results fits, both do not: the scheduler, which has both graphs, refuses them."""
    with dask.config.set({"distributed.worker.memory.spill": False}):
        first = ones(180 * MIB)
        kept = dask.persist(first, first * 2)
    for own in kept:
        with pytest.raises(MemoryLimitError, match=r"for results that wait; a worker may use 500"):
            client.gather(futures_of(own))


def test_graphs_are_optimized_as_one_whatever_workers_hold() -> None:
    """Dask asks for an optimizer for each collection, and the memory of workers changes meanwhile."""
    assert Optimizer(Workers(base_bytes=1)) == Optimizer(Workers(base_bytes=2)) == Optimizer()


@pytest.mark.cluster
def test_results_that_fit_are_computed(client: Client) -> None:
    map = ones(50 * MIB)
    assert (map.compute()[0].values == 1).all()
    kept = ones(100 * MIB).persist()
    assert og.sum_over_samples(kept, "system").compute()[0].values[0, 0] == len(kept[0].samples)


@pytest.mark.cluster
def test_workers_do_not_matter_where_another_scheduler_is_named(client: Client) -> None:
    map = ones(400 * MIB)
    with pytest.raises(MemoryLimitError):
        map.compute()
    assert map.compute(scheduler="sync").nbytes == map.nbytes
    assert map.persist(scheduler="sync").nbytes == map.nbytes


@pytest.mark.parametrize("kind", ["map", "with gradients", "one part"])
def test_a_result_is_put_together_without_a_third_copy(kind: str) -> None:
    map = ones(32 * MIB)
    if kind == "one part":
        map = map.chunk(target_bytes=10**9)
    if kind == "with gradients":
        block = map.block(0).copy()
        table = np.arange(len(block.samples))[:, None]
        block.add_gradient(
            "cell", og.TensorBlock(block.values, og.Labels("sample", table), [], block.properties)
        )
        map = TensorMap(map.keys, [block])
    nbytes = map.nbytes
    tracemalloc.start()
    try:
        result = map.compute(scheduler="sync")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.nbytes == nbytes
    assert peak <= 2.1 * nbytes, peak / nbytes
