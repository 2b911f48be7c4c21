"""Which tasks run as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from dask._task_spec import Alias

import outgrad as og
from outgrad.graph.fuse import optimize
from outgrad.storage.save_plan import PlannedSave, merged_graph, plan_save
from outgrad.testing import Parameter, assert_identical, random_block

CHUNKS = 6
SYSTEM_BYTES = 4 * 8 * 8 + 4 * 2 * 3 * 8 * 8
SAMPLES = og.Labels(["system", "atom"], [[system, atom] for system in range(CHUNKS) for atom in range(4)])


def make_map(seed: int, keys: int = 2) -> og.TensorMap:
    rng = np.random.default_rng(seed)
    properties = og.Labels.range("n", 8)
    targets = og.Labels("atom", [[0], [1]])
    blocks = [
        random_block(
            rng, SAMPLES, [], properties, {"positions": Parameter((3,))}, targets=targets, sparsity=1
        )
        for _ in range(keys)
    ]
    return og.TensorMap(og.Labels(["center", "neighbor"], [[1, n] for n in range(keys)]), blocks)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[og.TensorMap]:
    """Two maps in archives, each block in six chunks of one system."""
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", SYSTEM_BYTES)
    found = []
    for seed in range(2):
        map = make_map(seed)
        og.save(tmp_path / f"{seed}.mts", map)
        found.append(og.open(tmp_path / f"{seed}.mts", target_bytes=SYSTEM_BYTES))
    assert {len(block.chunks) for map in found for block in map} == {CHUNKS}
    return found


def kinds(store: PlannedSave) -> list[str]:
    """The tasks to run, by the names of the operations in each."""
    names = to_run(merged_graph([store]), list(store.keys))
    return [name for name in names if not name.startswith(("seam", "receipt", "ends"))]


def to_run(graph: Any, keys: list[Any]) -> list[str]:
    found = optimize(graph, keys).graph
    return [str(key[0]) for key, task in found.items() if not isinstance(task, Alias)]


ELEMENTWISE = {
    "product of two": lambda a, b: a * b,
    "chain": lambda a, b: og.sqrt((a * a + 1.0) * 2.0),
    "chain of two": lambda a, b: og.sqrt((a - b) * (a - b) + b * b),
    "sum of each system": lambda a, b: og.sum_over_samples(a * b, "atom"),
    "mean after a slice": lambda a, b: og.mean_over_samples(
        og.slice(a * b, "properties", og.Labels("n", [[1], [3]])), "atom"
    ),
    "gradients removed": lambda a, b: og.remove_gradients(a / b),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_chain_from_archive_to_archive_is_one_task_a_chunk(
    name: str, opened: list[og.TensorMap], tmp_path: Path
) -> None:
    result = ELEMENTWISE[name](*opened)
    parts = len(result.__dask_keys__())
    assert parts in (CHUNKS, 2 * CHUNKS)  # small results share a task
    found = kinds(plan_save(tmp_path / "out.zarr", result))
    assert len(found) == parts, found
    og.save(tmp_path / "out.zarr", result)
    assert_identical(og.load(tmp_path / "out.zarr"), ELEMENTWISE[name](*(map.compute() for map in opened)))


def test_moves_of_whole_chunks_are_in_the_same_task(opened: list[og.TensorMap], tmp_path: Path) -> None:
    """Properties of two blocks side by side: both are read and multiplied by the task that does it."""
    a, b = opened
    with dask.config.set({"outgrad.chunk-bytes": a.nbytes // CHUNKS}):
        result = og.sum_over_samples((a * b).keys_to_properties("neighbor"), "atom")
        parts = len(result.__dask_keys__())
        assert parts >= CHUNKS / 2
        found = kinds(plan_save(tmp_path / "out.zarr", result))
    assert len(found) == parts, found


def test_what_is_used_twice_is_computed_once(opened: list[og.TensorMap], tmp_path: Path) -> None:
    product = opened[0] * opened[1]
    stores = [
        plan_save(tmp_path / "a.zarr", product),
        plan_save(tmp_path / "b.zarr", og.sum_over_samples(product, "atom")),
    ]
    keys = [key for store in stores for key in store.keys]
    graph = optimize(merged_graph(stores), keys).graph
    names = [
        str(key[0]) for key, task in graph.items() if isinstance(key, tuple) and not isinstance(task, Alias)
    ]
    assert sum("read" in name for name in names) == 2 * CHUNKS
    assert sum("multiply" in name for name in names) == 2 * CHUNKS


def test_contributions_of_chunks_are_made_side_by_side(opened: list[og.TensorMap]) -> None:
    """A sum over all systems: one task a chunk, which the task that adds up does not take in."""
    result = og.sum_over_samples(opened[0], ["system", "atom"])
    names = to_run(result.__dask_graph__(), result.__dask_keys__())
    assert sum("partial" in name for name in names) == 2 * CHUNKS


def test_more_inputs_than_a_few_are_read_side_by_side() -> None:
    maps = [make_map(seed, 1).chunk() for seed in range(6)]
    result = og.join([map * 2.0 for map in maps], "properties", add_dimension="tensor")
    graph = optimize(result.__dask_graph__(), result.__dask_keys__()).graph
    assert len([task for task in graph.values() if not isinstance(task, Alias)]) > 6
    assert_identical(
        result, og.join([map.compute() * 2.0 for map in maps], "properties", add_dimension="tensor")
    )
