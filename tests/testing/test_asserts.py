"""assert_identical sees every difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import assert_identical, random_values
from outgrad.testing.strategies import tensor_maps
from tests.support.operands import CLOSED, KEYS, operand

MAP = operand(0, parameters=CLOSED, sparsity=1.0)


def changed(path: tuple[str, ...], number: float) -> TensorMap:
    map = MAP.copy()
    map._blocks().chunks[1].at(path).values.flat[-1] = number
    return map


def with_info(map: TensorMap) -> TensorMap:
    made = map.copy()
    made.set_info("more", "text")
    return made


def turned(map: TensorMap) -> TensorMap:
    made = TensorMap(Labels(KEYS.names, KEYS.values[::-1]), map.blocks()[::-1])
    made.set_info("source", "seed 0")
    return made


DIFFERENT: dict[str, tuple[str, Callable[[], Any]]] = {
    "kind": ("not identical: kind", lambda: MAP.block(0)),
    "keys": ("not identical: keys", lambda: turned(MAP)),
    "info": ("not identical: info", lambda: with_info(MAP)),
    "dtype": ("dtype of block \\(center_type=6\\)", lambda: MAP.to(dtype="complex128")),
    "values": ("values of block \\(center_type=1\\)", lambda: changed((), 99)),
    "gradient": ("values of gradient 'cell' of block \\(center_type=1\\)", lambda: changed(("cell",), 99)),
    "nested": (
        "values of gradient 'cell' of gradient 'positions' of block",
        lambda: changed(("positions", "cell"), 99),
    ),
    "gradients": (
        "gradients of block \\(center_type=6\\)",
        lambda: og.remove_gradients(MAP, "cell"),
    ),
    "samples": (
        "samples of gradient 'cell' of block",
        lambda: operand(0, parameters=CLOSED, sparsity=0.0),
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_differences_are_named(name: str) -> None:
    match, make = DIFFERENT[name]
    with pytest.raises(AssertionError, match=match):
        assert_identical(MAP, make())


def test_every_bit_counts() -> None:
    block = og.block_from_array(np.array([[0.0, 1.0]]))
    with pytest.raises(AssertionError, match="values of the block"):
        assert_identical(block, og.block_from_array(np.array([[-0.0, 1.0]])))
    with pytest.raises(AssertionError, match="values of the block"):
        assert_identical(block, og.block_from_array(np.array([[0.0, np.nextafter(1.0, 2.0)]])))
    nan = og.block_from_array(np.array([[np.nan, 1.0]]))
    assert_identical(nan, nan.copy())


def test_labels_count() -> None:
    values = np.ones((2, 2, 2))
    labels = [Labels.range("s", 2), Labels.range("m", 2), Labels.range("n", 2)]
    block = TensorBlock(values, labels[0], [labels[1]], labels[2])
    for axis, name in enumerate(("samples", "components", "properties")):
        others = list(labels)
        others[axis] = Labels("other", [[0], [1]])
        with pytest.raises(AssertionError, match=f"{name} of the block"):
            assert_identical(block, TensorBlock(values, others[0], [others[1]], others[2]))


@given(tensor_maps(nested=True, dtype=None))
def test_a_map_is_identical_to_itself(map: TensorMap) -> None:
    assert_identical(map, map.copy())
    assert_identical(map, map.chunk(100))


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "int8", "uint16", "bool"])
def test_random_values(dtype: str) -> None:
    values = random_values(np.random.default_rng(0), (100,), dtype)
    assert values.dtype == dtype
    assert len(np.unique(values)) > 1
    if np.dtype(dtype).kind != "b":
        assert (np.abs(values) >= 0.5).all()
    if np.dtype(dtype).kind in "fi":
        assert (values < 0).any()
