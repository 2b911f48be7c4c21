"""A folder with a small archive and a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import outgrad as og

JOB = """\
version: 1
inputs:  {rho: soap.zarr}
steps:
  - {name: h, op: multiply, args: [rho, rho]}
outputs: {h: squared.zarr}
"""


@pytest.fixture
def rho() -> og.TensorMap:
    samples = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    properties = og.Labels(["n"], [[0], [1]])
    blocks = []
    for scale in (1.0, 2.0):
        block = og.TensorBlock(scale * np.arange(6.0).reshape(3, 2), samples, [], properties)
        gradient = og.TensorBlock(
            scale * np.arange(24.0).reshape(4, 3, 2),
            og.Labels(["sample", "atom"], [[0, 0], [0, 1], [1, 0], [2, 0]]),
            [og.Labels(["xyz"], [[0], [1], [2]])],
            properties,
        )
        block.add_gradient("positions", gradient)
        blocks.append(block)
    return og.TensorMap(og.Labels(["center_type"], [[1], [8]]), blocks)


@pytest.fixture
def folder(tmp_path: Path, rho: og.TensorMap, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``soap.zarr`` and ``job.yaml``."""
    monkeypatch.chdir(tmp_path)
    og.save("soap.zarr", rho)
    Path("job.yaml").write_text(JOB)
    return tmp_path
