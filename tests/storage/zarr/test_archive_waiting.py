"""What waits in memory while an archive is written: rows of storage chunks that several parts share."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import outgrad as og
from outgrad.graph.fuse import optimize
from outgrad.graph.memory import project
from outgrad.storage import plan_save
from outgrad.storage.save_plan import merged_graph

PARTS, ATOMS = 40, 200


def narrow_values_and_wide_gradients() -> og.TensorMap:
    """All values fit into one storage chunk; the gradient rows of a part nearly fill one."""
    n = og.Labels.range("n", 8)
    block = og.TensorBlock(np.arange(8.0 * PARTS).reshape(PARTS, 8), og.Labels.range("system", PARTS), [], n)
    rows = np.array([[s, a] for s in range(PARTS) for a in range(ATOMS)])
    values = np.arange(len(rows) * 240.0).reshape(-1, 30, 8)
    samples = og.Labels(["sample", "atom"], rows)
    gradient = og.TensorBlock(values, samples, [og.Labels.range("k", 30)], n)
    block.add_gradient("positions", gradient)
    return og.TensorMap(og.Labels.single(), [block])


def test_gradient_rows_do_not_wait_for_the_seam_of_the_values(tmp_path: Path) -> None:
    """The seam of the values needs all parts: it gets their rows of values, and nothing else."""
    whole = narrow_values_and_wide_gradients()
    lazy = whole.chunk(target_bytes=whole.nbytes // PARTS)
    store = plan_save(tmp_path / "map.zarr", lazy, overwrite=False)
    graph = dict(store.tasks.graph)
    seams = {key: task.dependencies for key, task in graph.items() if str(key[0]).startswith("seam-")}
    assert max(len(needs) for needs in seams.values()) == len(lazy.__dask_keys__()) > 20
    for needs in seams.values():
        names = {str(key[0]).split("-")[0] for key in needs}
        assert len(names) == 1
        assert names == {"ends"} or len(needs) <= 10
    og.save(tmp_path / "other.zarr", lazy)
    assert og.equal(og.load(tmp_path / "other.zarr"), whole)


@pytest.mark.parametrize("parts", [30, 400])
def test_what_waits_does_not_grow_with_the_number_of_parts(tmp_path: Path, parts: int) -> None:
    """Dask orders tasks by what they lead to: what leads to a seam of many parts must not come last."""
    n, m, k = og.Labels.range("n", 8), og.Labels.range("m", 2200), og.Labels.range("k", 3)
    samples, atoms = og.Labels.range("system", parts), 10  # 4 MiB of gradients a part; 30 parts share values
    block = og.TensorBlock(da.zeros((parts, 2200, 8), chunks=(1, 2200, 8)), samples, [m], n)
    rows = np.column_stack([np.repeat(np.arange(parts), atoms), np.tile(np.arange(atoms), parts)])
    values = da.zeros((len(rows), 3, 2200, 8), chunks=(atoms, 3, 2200, 8))
    gradient = og.TensorBlock(values, og.Labels(["sample", "atom"], rows), [k, m], n)
    block.add_gradient("positions", gradient)
    store = plan_save(tmp_path / "map.zarr", og.TensorMap(og.Labels.single(), [block]))
    graph = merged_graph([store])
    waiting = project(graph, optimize(graph, list(store.keys))).waiting_bytes
    assert 4 * 2**20 < waiting < 20 * 4 * 2**20
