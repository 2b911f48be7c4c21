"""Contiguous arrays, and what has no effect on NumPy and Dask arrays."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import assert_identical
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, arrays, operand

MAP = operand(0, parameters=CLOSED)


def turned(block: TensorBlock, depth: int) -> TensorBlock:
    """The same block; arrays at some depth of gradients are in Fortran order."""
    values = np.asfortranarray(block.values) if depth == 0 else block.values
    made = TensorBlock(values, block.samples, block.components, block.properties)
    for name, gradient in block.gradients():
        made.add_gradient(name, turned(gradient, depth - 1))
    return made


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_arrays_at_every_depth_count(depth: int) -> None:
    map = TensorMap(MAP.keys, [MAP[0], turned(MAP[1], depth), MAP[2]])
    assert og.is_contiguous(MAP)
    assert not og.is_contiguous(map)
    made = og.make_contiguous(map)
    assert og.is_contiguous(made)
    assert_identical(made, og.TensorMap(MAP.keys, MAP.blocks()))
    assert og.is_contiguous_block(map.block(0))
    assert not og.is_contiguous_block(map.block(1))
    assert og.is_contiguous_block(og.make_contiguous_block(map.block(1)))


def test_contiguous_arrays_are_shared() -> None:
    for old, new in zip(arrays(MAP), arrays(og.make_contiguous(MAP)), strict=True):
        assert new is old


def test_strided_views_are_copied() -> None:
    block = og.block_from_array(np.arange(12.0).reshape(4, 3)[::2])
    assert not og.is_contiguous(block)
    assert og.make_contiguous(block).values.tolist() == [[0, 1, 2], [6, 7, 8]]


def test_lazy_data_are_contiguous_once_they_were_made_so() -> None:
    array = da.ones((4, 3), chunks=(4, 3)).map_blocks(np.asfortranarray)
    block = og.block_from_array(array)
    assert not block.compute().values.flags.c_contiguous
    with nothing_computed():
        assert not og.is_contiguous(block)
        made = og.make_contiguous(block)
        assert og.is_contiguous(made)
        assert og.is_contiguous(pickle.loads(pickle.dumps(made)))
        assert not og.is_contiguous(made * 2)
        assert og.make_contiguous(made).__dask_keys__() == made.__dask_keys__()
    assert made.compute().values.flags.c_contiguous
    assert_identical(made, block)


def test_gradients_of_lazy_data_become_contiguous() -> None:
    map = TensorMap(MAP.keys, [turned(MAP[0], 1), turned(MAP[1], 2), MAP[2]])
    made = og.make_contiguous(cut_at(map, [[0, 7], [0, 4], [0, 0]])).compute()
    assert og.is_contiguous(made)
    assert_identical(made, TensorMap(MAP.keys, MAP.blocks()))


@pytest.mark.parametrize("lazy", [False, True])
def test_detach_and_requires_grad_share_everything(lazy: bool) -> None:
    map: Any = cut_at(MAP, ACROSS_SYSTEMS) if lazy else MAP
    for same in (og.detach(map), og.requires_grad(map, False), og.requires_grad(map, requires_grad=False)):
        assert same is not map
        assert same.info() == map.info()
        assert_identical(same, map)
        same.set_info("source", "changed")
        assert map.get_info("source") == "seed 0"
        if not lazy:
            assert all(a is b for a, b in zip(arrays(same), arrays(map), strict=True))
    block = map.block(0)
    assert_identical(og.detach_block(block), block)
    assert_identical(og.requires_grad_block(block, requires_grad=False), block)


def test_requiring_gradients_warns() -> None:
    match = "requires_grad: `requires_grad=True` does nothing for numpy arrays"
    with pytest.warns(UserWarning, match=match) as found:
        assert_identical(og.requires_grad(MAP), MAP)
    assert [warning.filename for warning in found] == [__file__]
    with pytest.warns(UserWarning, match=match):
        og.requires_grad_block(MAP.block(0), True)


@pytest.mark.parametrize("name", ["is_contiguous", "make_contiguous", "detach", "requires_grad"])
def test_errors(name: str) -> None:
    call: Any = getattr(og, name)
    with pytest.raises(TypeError, match=f"{name}: tensor must be a TensorMap or a TensorBlock, got Labels"):
        call(Labels.single())
    with pytest.raises(TypeError, match=f"{name}_block: block must be a TensorBlock, got TensorMap"):
        getattr(og, f"{name}_block")(MAP)
