"""When a call that computes has failed, none of its tasks runs any more."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import outgrad as og

running: list[int] = []
lock = threading.Lock()


def task(block: np.ndarray, block_info: dict[int, dict[str, list[int]]]) -> np.ndarray:
    number = block_info[0]["chunk-location"][0]
    if number == 0:
        while not running:
            time.sleep(0.001)
        raise RuntimeError("a task that fails")
    with lock:
        running.append(number)
    time.sleep(0.3)
    with lock:
        running.remove(number)
    return block


@pytest.mark.parametrize("name", ["a.zarr", "a.mts"])
def test_no_task_runs_after_a_save_that_failed(tmp_path: Path, name: str) -> None:
    values = da.ones((8, 2), chunks=(1, 2)).map_blocks(task, dtype=float, meta=np.empty((0, 0)))
    block = og.TensorBlock(values, og.Labels.range("s", 8), [], og.Labels.range("p", 2))
    with pytest.raises(RuntimeError, match="a task that fails"):
        og.save(tmp_path / name, block)
    assert running == []
    assert list(tmp_path.iterdir()) == []
