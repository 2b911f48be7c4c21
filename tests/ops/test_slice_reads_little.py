"""Choosing a few samples of a lazy map runs only the tasks of the chunks that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import outgrad as og

SYSTEMS, ATOMS = 12, 3


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    n = og.Labels.range("n", 2)
    rows = np.array([[s, a] for s in range(SYSTEMS) for a in range(ATOMS)])
    blocks = []
    for key in range(2):
        block = og.TensorBlock(
            np.arange(2.0 * len(rows)).reshape(-1, 2) + key, og.Labels(["system", "atom"], rows), [], n
        )
        samples = og.Labels(["sample", "atom"], np.array([[r, 0] for r in range(len(rows))]))
        block.add_gradient("x", og.TensorBlock(np.ones((len(rows), 2)), samples, [], n))
        blocks.append(block)
    map = og.TensorMap(og.Labels.range("key", 2), blocks)
    og.save(tmp_path / "map.zarr", map)
    return tmp_path / "map.zarr"


@pytest.mark.parametrize("system", [0, 5, SYSTEMS - 1])
def test_parts_without_the_samples_are_left_out(archive: Path, system: int) -> None:
    whole = og.load(archive)
    lazy = whole.chunk(target_bytes=96)
    assert len(lazy._blocks().to_compute.parts) == 2 * SYSTEMS
    sliced = og.slice(lazy, "samples", og.Labels("system", [[system]]))
    assert len(sliced._blocks().to_compute.parts) <= 2
    assert og.equal(sliced, og.slice(whole, "samples", og.Labels("system", [[system]])))
    assert sliced.block(0).chunks == (ATOMS,)


def test_a_block_of_which_nothing_is_chosen_stays_with_one_empty_chunk(archive: Path) -> None:
    lazy = og.load(archive).chunk(target_bytes=96)
    sliced = og.slice(lazy, "samples", og.Labels("system", [[99]]))
    assert [block.chunks for block in sliced] == [(0,), (0,)]
    assert sliced.compute().block(0).gradient("x").shape == (0, 2)


def test_several_stretches_are_kept_in_order(archive: Path) -> None:
    whole = og.load(archive)
    chosen = og.Labels("system", [[1], [7], [8]])
    sliced = og.slice(whole.chunk(target_bytes=96), "samples", chosen)
    assert sliced.block(1).chunks == (ATOMS, ATOMS, ATOMS)
    assert og.equal(sliced * 2, og.slice(whole, "samples", chosen) * 2)
    assert og.equal(og.sum_over_samples(sliced, "atom"), og.sum_over_samples(sliced.compute(), "atom"))
