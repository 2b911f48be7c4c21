"""A folder with a small archive and a job that squares it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

import outgrad as og
from outgrad.run import embedded
from outgrad.run.cluster import connect

SYSTEMS, ATOMS, PROPERTIES, BLOCKS = 40, 5, 6, 8

JOB = """\
version: 1
inputs:  {rho: soap.zarr}
steps:
  - {name: h, op: multiply, args: [rho, rho]}
  - {name: total, op: sum_over_samples, args: [h], sample_names: [atom]}
outputs: {h: squared.zarr, total: total.mts}
"""


def make_map(systems: int = SYSTEMS) -> og.TensorMap:
    """Blocks with gradients: every atom of a system depends on every other."""
    generator = np.random.default_rng(seed=3)
    samples = np.stack([np.repeat(np.arange(systems), ATOMS), np.tile(np.arange(ATOMS), systems)], axis=1)
    rows = np.repeat(np.arange(len(samples)), ATOMS)
    table = np.stack([rows, samples[rows, 0], np.tile(np.arange(ATOMS), len(samples))], axis=1)
    properties = og.Labels(["n"], np.arange(PROPERTIES)[:, None])
    blocks = []
    for _ in range(BLOCKS):
        values = generator.normal(size=(len(samples), PROPERTIES))
        block = og.TensorBlock(values, og.Labels(["system", "atom"], samples), [], properties)
        gradient = og.TensorBlock(
            generator.normal(size=(len(table), 3, PROPERTIES)),
            og.Labels(["sample", "system", "atom"], table),
            [og.Labels(["xyz"], np.arange(3)[:, None])],
            properties,
        )
        block.add_gradient("positions", gradient)
        blocks.append(block)
    return og.TensorMap(og.Labels(["center_type"], np.arange(BLOCKS)[:, None]), blocks)


@pytest.fixture
def rho() -> og.TensorMap:
    """The input of the job, in memory."""
    return make_map()


@pytest.fixture
def folder(tmp_path: Path, rho: og.TensorMap) -> Path:
    """A folder with ``soap.zarr`` and ``job.yaml``."""
    og.save(tmp_path / "soap.zarr", rho)
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """The cluster of the default specification, for all tests that need one."""
    with connect(embedded(memory_limit=768 * 2**20)) as client:
        yield client
