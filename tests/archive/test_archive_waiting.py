"""What waits in memory while an archive is written: rows of storage chunks that several parts share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import outgrad as og
from outgrad.archive import plan_save

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
