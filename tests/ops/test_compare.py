"""Comparisons: what counts as equal, and what the error says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import outgrad as og
from outgrad import Labels, NotEqualError, TensorBlock, TensorMap
from outgrad.testing.strategies import tensor_maps
from tests.support.lazy import cut_at
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, KEYS, ONE_ROW, operand

FORMS: dict[str, Callable[[TensorMap], Any]] = {
    "numpy": lambda map: map,
    "one row": lambda map: cut_at(map, ONE_ROW),
    "across systems": lambda map: cut_at(map, ACROSS_SYSTEMS),
}


def changed(path: tuple[str, ...], block: int, by: float = 1.0) -> TensorMap:
    """The map of seed 0 with one number changed."""
    map = operand(0, parameters=CLOSED, sparsity=1.0)
    array = map._blocks().chunks[block].at(path).values
    array.flat[-1] += by
    return map


KEY = r"blocks for key \(center_type=1\) are different: "


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", FORMS)
def test_a_map_equals_itself_in_any_form(first: str, second: str) -> None:
    map = operand(0, parameters=CLOSED)
    for one, other in ((map, map), (map.block(0), map.block(0))):
        if isinstance(one, TensorMap):
            one, other = FORMS[first](one), FORMS[second](other)
        assert og.equal(one, other)
        assert og.allclose(one, other)
        assert og.equal_metadata(one, other)
        og.equal_raise(one, other)
        og.allclose_raise(one, other)
        og.equal_metadata_raise(one, other)
    assert og.equal_block(map.block(0), map.block(0))
    og.equal_block_raise(map.block(0), map.block(0))
    assert og.allclose_block(map.block(0), map.block(0))
    og.allclose_block_raise(map.block(0), map.block(0))
    assert og.equal_metadata_block(map.block(0), map.block(0))
    og.equal_metadata_block_raise(map.block(0), map.block(0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("path", "where"),
    [
        ((), "values are"),
        (("cell",), "gradient 'cell' values are"),
        (("positions", "cell"), "gradient 'cell' of gradient 'positions' values are"),
    ],
)
def test_one_number_makes_a_difference(path: tuple[str, ...], where: str, form: str) -> None:
    map, other = FORMS[form](operand(0, parameters=CLOSED, sparsity=1.0)), changed(path, 1)
    assert not og.equal(map, other)
    assert not og.allclose(map, other)
    assert og.equal_metadata(map, other)
    with pytest.raises(NotEqualError, match=rf"^{KEY}{where} not equal$"):
        og.equal_raise(map, other)
    with pytest.raises(NotEqualError, match=rf"^{KEY}{where} not allclose$"):
        og.allclose_raise(map, other)
    with pytest.raises(NotEqualError, match=f"^{where} not equal"):
        og.equal_raise(map.block(1), other.block(1))


@pytest.mark.parametrize("form", FORMS)
def test_tolerances(form: str) -> None:
    map = operand(0, parameters=CLOSED, sparsity=1.0)
    size = abs(map.block(0).values.flat[-1])
    one, other = FORMS[form](changed((), 0, by=0.1)), FORMS[form](map)
    assert not og.allclose(one, other)
    assert og.allclose(one, other, atol=0.11)
    assert not og.allclose(one, other, atol=0.09)
    assert og.allclose(one, other, rtol=0.11 / size)
    assert not og.allclose(one, other, rtol=0.09 / size)
    assert og.allclose(changed((), 0, by=1e-14), map)
    assert not og.allclose(changed((), 0, by=1e-10), map)


@pytest.mark.parametrize("is_lazy", [False, True])
def test_relative_and_absolute_tolerances(is_lazy: bool) -> None:
    map = TensorMap(og.Labels.single(), [og.block_from_array(np.full((2, 1), 1000.0))])
    other = map.chunk(8) if is_lazy else map
    one = other + 1.0
    assert og.allclose(one, other, rtol=0.002, atol=0.0)
    assert not og.allclose(one, other, rtol=0.0, atol=0.002)


@pytest.mark.parametrize("form", FORMS)
def test_nan_differs_from_nan(form: str) -> None:
    map = operand(0)
    map.block(0).values[0] = np.nan
    lazy = FORMS[form](map)
    assert not og.equal(lazy, lazy)
    assert not og.allclose(lazy, lazy)
    assert og.allclose(lazy, lazy, equal_nan=True)


def test_keys_may_be_in_any_order() -> None:
    map = operand(0)
    turned = TensorMap(Labels(KEYS.names, KEYS.values[::-1]), map.blocks()[::-1])
    for second in (turned, turned.chunk(1)):
        assert og.equal(map, second)
        assert og.equal_metadata(map, second)
        assert og.allclose(map.chunk(1), second)
    swapped = TensorMap(KEYS, [map.block(0), map.block(0), map.block(2)])
    shapes = tuple(map.block(number).shape for number in (1, 0))
    with pytest.raises(
        NotEqualError, match=re.escape(f"values shapes are different, {shapes[0]} and {shapes[1]}")
    ):
        og.equal_raise(map, swapped)
    with pytest.raises(
        NotEqualError, match=f"^{KEY}inputs to 'equal_metadata' should have the same samples, but"
    ):
        og.equal_metadata_raise(map, swapped)


def test_keys_must_be_the_same() -> None:
    map = operand(0)
    fewer = TensorMap(Labels(KEYS.names, KEYS.values[:2]), map.blocks()[:2])
    assert not og.equal(map, fewer)
    start = "^the tensor maps have different keys: inputs to"
    with pytest.raises(
        NotEqualError, match=f"{start} 'equal' should have the same number of blocks, got 3 and 2"
    ):
        og.equal_raise(map, fewer)
    with pytest.raises(
        NotEqualError, match=f"{start} 'equal_metadata' should have the same number of blocks"
    ):
        og.equal_metadata_raise(map, fewer)


def test_info_and_dtype_are_not_compared() -> None:
    map = operand(0)
    other = map.to(dtype="complex128")
    other.set_info("source", "elsewhere")
    assert og.equal(map, other)


def plain(samples: Labels, components: list[Labels], properties: Labels) -> TensorBlock:
    shape = (len(samples), *map(len, components), len(properties))
    return TensorBlock(np.ones(shape), samples, components, properties)


S, C, P = Labels.range("s", 2), [Labels.range("m", 2)], Labels.range("n", 2)
BLOCK = plain(S, C, P)
OTHERS = {
    "samples": plain(Labels("s", [[1], [0]]), C, P),
    "components": plain(S, [Labels("m", [[0], [4]])], P),
    "properties": plain(S, C, Labels("other", [[0], [1]])),
}


@pytest.mark.parametrize("axis", OTHERS)
def test_one_axis_can_be_compared(axis: str) -> None:
    other = OTHERS[axis]
    assert not og.equal_metadata(BLOCK, other)
    assert not og.equal_metadata(BLOCK, other, check=[axis])
    assert not og.equal_metadata(BLOCK, other, check=axis)
    assert og.equal_metadata(BLOCK, other, check=[name for name in OTHERS if name != axis])
    with pytest.raises(
        NotEqualError, match=f"^inputs to 'equal_metadata' should have the same {axis}, but they"
    ):
        og.equal_metadata_raise(BLOCK, other)
    assert not og.equal(BLOCK, other)


@pytest.mark.parametrize("check", ["keys", ["samples", "gradients"]])
def test_axes_to_compare_must_exist(check: Any) -> None:
    match = r"equal_metadata: check must be 'all' or some of \['samples', 'components', 'properties'\], got"
    with pytest.raises(ValueError, match=match):
        og.equal_metadata(BLOCK, BLOCK, check=check)


def test_gradients_are_part_of_the_metadata() -> None:
    map = operand(0, parameters=CLOSED, sparsity=1.0)
    fewer = og.remove_gradients(map, "cell")
    assert og.equal_metadata(map, fewer, check_gradients=False)
    with pytest.raises(
        NotEqualError, match=r"same gradient parameters; they have \['cell', 'positions'\] and \['positions'"
    ):
        og.equal_metadata_raise(map, fewer)
    flat = operand(0, parameters={name: type(p)(p.shape) for name, p in CLOSED.items()}, sparsity=1.0)
    with pytest.raises(
        NotEqualError, match=r"same gradient parameters; gradient 'cell' have \['positions'\] and \["
    ):
        og.equal_metadata_raise(map, flat)
    sparse = operand(0, parameters=CLOSED, sparsity=0.0)
    with pytest.raises(
        NotEqualError,
        match="same gradients: gradient 'cell' samples are not the same or not in the same order",
    ):
        og.equal_metadata_raise(map, sparse)
    assert og.equal_metadata(map, sparse, check_gradients=False)


def test_a_map_is_no_block() -> None:
    map = operand(0)
    assert not og.equal(map, map.block(0))
    with pytest.raises(
        NotEqualError, match="inputs to 'equal' should be two maps or two blocks; found a map and a block"
    ):
        og.equal_raise(map, map.block(0))
    with pytest.raises(TypeError, match="equal: tensor_1 must be a TensorMap or a TensorBlock, got int"):
        og.equal(1, map)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="allclose: tensor_2 must be a TensorMap or a TensorBlock, got int"):
        og.allclose(map, 1)  # type: ignore[type-var]


@given(tensor_maps(nested=True, dtype=None))
def test_a_copy_is_equal(map: TensorMap) -> None:
    assert map == map.copy()
    assert og.allclose(map, map.copy(deep=False))
