"""Where chunk() cuts: by bytes, on whole samples, and on whole systems where it can."""

from __future__ import annotations

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import Parameter, assert_identical, random_block
from outgrad.testing.strategies import tensor_maps
from tests.support.lazy import nothing_computed


def block(systems: list[int], name: str = "system", **settings: float) -> TensorBlock:
    """One sample for each entry of ``systems``; 8 bytes a sample without gradients."""
    samples = Labels([name, "atom"], np.column_stack([systems, np.arange(len(systems))]))
    parameters = {"x": Parameter((3,))} if settings else {}
    return random_block(np.random.default_rng(0), samples, [], Labels.range("n", 1), parameters, **settings)


@pytest.mark.parametrize(
    ("systems", "target", "expected"),
    [
        ([0, 0, 1, 1, 2, 2], 16, (2, 2, 2)),
        ([0, 0, 1, 1, 2, 2], 24, (2, 2, 2)),  # three samples would fit, but not whole systems
        ([0, 0, 1, 1, 2, 2], 32, (4, 2)),
        ([0, 0, 1, 1, 2, 2], 48, (6,)),
        ([0, 0, 0, 0, 1, 2], 16, (2, 2, 2)),  # a system larger than the target is cut at its samples
        ([0, 0, 0, 1], 16, (2, 2)),
        ([0, 0, 0, 1], 1, (1, 1, 1, 1)),
        ([2, 0, 1, 0], 16, (2, 2)),  # not sorted by system: every sample is an edge
        ([4], 1, (1,)),
        ([], 1, (0,)),
    ],
)
@pytest.mark.parametrize("name", ["system", "structure"])
def test_edges(systems: list[int], target: int, expected: tuple[int, ...], name: str) -> None:
    assert block(systems, name).chunk(target).chunks == expected


def test_other_names_are_no_systems() -> None:
    assert block([0, 0, 0, 0, 1, 1], "molecule").chunk(24).chunks == (3, 3)


def test_gradient_bytes_count() -> None:
    """8 bytes of values, and 3 targets times 3 components of 8 bytes: 80 bytes a sample."""
    made = block([0, 1, 2, 3], sparsity=1.0)
    assert made.chunk(79).chunks == (1, 1, 1, 1)
    assert made.chunk(160).chunks == (2, 2)
    assert made.chunk(319).chunks == (3, 1)
    assert made.chunk(320).chunks == (4,)


def test_sizes_as_text_and_by_configuration() -> None:
    made = og.block_from_array(np.ones((2048, 64)))
    assert made.chunk("256 KiB").chunks == (512,) * 4
    assert made.chunk(256 * 1024).chunks == (512,) * 4
    assert made.chunk().chunks == (2048,)
    with dask.config.set({"outgrad.chunk-bytes": "512 KiB"}):
        assert made.chunk().chunks == (1024, 1024)
        assert TensorMap(Labels.single(), [made]).chunk().block().chunks == (1024, 1024)


@pytest.mark.parametrize("target", [0, -1, "0 B"])
def test_sizes_are_positive(target: int | str) -> None:
    with pytest.raises(ValueError, match=r"target_bytes=.*: it must be a positive size"):
        og.block_from_array(np.ones((2, 2))).chunk(target)


@pytest.mark.parametrize("target", ["many", "3 parsecs"])
def test_sizes_have_units(target: str) -> None:
    with pytest.raises(ValueError, match=r"target_bytes=.*: it must be"):
        og.block_from_array(np.ones((2, 2))).chunk(target)


def test_small_blocks_share_a_task() -> None:
    map = TensorMap(Labels.range("k", 10), [block([0, 1])] * 10)
    assert len(map.chunk(16).__dask_keys__()) == 10
    assert len(map.chunk(48).__dask_keys__()) == 4
    assert len(map.chunk().__dask_keys__()) == 1


def test_chunks_can_be_changed() -> None:
    made = block([0, 0, 1, 1, 2, 2], sparsity=0.5)
    chunked = made.chunk(1)
    with nothing_computed():
        merged = chunked.chunk("1 MiB")
        again = merged.chunk(1)
    assert merged.chunks == (6,)
    assert again.chunks == chunked.chunks == (1,) * 6
    for one in (chunked, merged, again):
        assert_identical(one, made)


@given(tensor_maps(nested=True), st.integers(1, 4000))
def test_chunks_hold_whole_samples_and_keep_to_the_target(map: TensorMap, target: int) -> None:
    chunked = map.chunk(target)
    assert_identical(chunked, map)
    lazy = chunked._blocks().to_compute
    assert lazy is not None
    for outline in lazy.outlines:
        sizes = outline.chunk_bytes.tolist()
        assert sum(sizes) == outline.nbytes
        assert all(
            size <= target or count == 1 for size, count in zip(sizes, outline.chunk_rows, strict=True)
        )
    assert all(
        size <= target or len(part) == 1 for size, part in zip(lazy.part_bytes, lazy.parts, strict=True)
    )
