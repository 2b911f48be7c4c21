"""Choosing blocks: which, in which order, shared or copied, also none at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorMap, ValidationError
from outgrad.testing import assert_identical
from tests.support.lazy import check_layout, cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, operand

MAP = operand(0, parameters=CLOSED, uniform=True)  # keys (6, 1), (1, 8), (6, 8); the last block is empty
FULL = ["center_type", "neighbor_type"]
Call = Callable[[Any], Any]
CHOICES: dict[str, tuple[Call, list[int]]] = {
    "filter, full names": (lambda A: og.filter_blocks(A, Labels(FULL, [[6, 8], [2, 2], [6, 1]])), [2, 0]),
    "filter, some names": (lambda A: og.filter_blocks(A, Labels("neighbor_type", [[8], [7]])), [1, 2]),
    "filter, other order": (
        lambda A: og.filter_blocks(A, Labels(FULL[::-1], [[8, 6], [1, 6]])),
        [0, 2],
    ),
    "filter none": (lambda A: og.filter_blocks(A, Labels("center_type", [[7]])), []),
    "filter all": (lambda A: og.filter_blocks(A, A.keys), [0, 1, 2]),
    "drop, full names": (lambda A: og.drop_blocks(A, Labels(FULL, [[6, 8], [2, 2]])), [0, 1]),
    "drop, some names": (lambda A: og.drop_blocks(A, Labels("center_type", [[6]])), [1]),
    "drop none": (lambda A: og.drop_blocks(A, Labels.empty("center_type")), [0, 1, 2]),
    "drop all": (lambda A: og.drop_blocks(A, Labels("center_type", [[1], [6]])), []),
    "drop empty": (og.drop_empty_blocks, [0, 1]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_chosen_blocks(name: str) -> None:
    call, numbers = CHOICES[name]
    chosen = call(MAP)
    assert chosen.keys == Labels(FULL, MAP.keys.values[numbers])
    assert chosen.info() == {"source": "seed 0"}
    for number, block in zip(numbers, chosen, strict=True):
        assert_identical(block, MAP[number])
        assert block.values is MAP[number].values


@pytest.mark.parametrize("name", CHOICES)
def test_lazy_blocks(name: str) -> None:
    call, numbers = CHOICES[name]
    with nothing_computed():
        chosen = call(cut_at(MAP, ACROSS_SYSTEMS))
    assert dask.is_dask_collection(chosen)
    check_layout(chosen)
    assert [block.chunks for block in chosen] == [cut_at(MAP, ACROSS_SYSTEMS)[n].chunks for n in numbers]
    assert_identical(chosen, call(MAP))


def test_blocks_that_are_left_out_are_not_computed() -> None:
    cut = cut_at(MAP, ACROSS_SYSTEMS)
    chosen = og.filter_blocks(cut, Labels(FULL, [[1, 8]]))
    needed = chosen.__dask_optimize__(chosen.__dask_graph__(), chosen.__dask_keys__())
    assert len(needed) < len(cut.__dask_keys__())


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("name", ["filter_blocks", "drop_blocks", "drop_empty_blocks"])
def test_copies_are_deep(name: str, copy: bool) -> None:
    keys = {"filter_blocks": (MAP.keys,), "drop_blocks": (Labels.empty("center_type"),)}.get(name, ())
    chosen = getattr(og, name)(MAP, *keys, copy=copy)
    for own, new in ((MAP[0], chosen[0]), (MAP[0].gradient("cell"), chosen[0].gradient("cell"))):
        assert np.shares_memory(own.values, new.values) != copy
    below = [map[0].gradient("positions").gradient("cell").values for map in (MAP, chosen)]
    assert np.shares_memory(*below) != copy
    assert_identical(getattr(og, name)(MAP, *keys, copy), chosen)


@pytest.mark.parametrize("lazy", [False, True])
def test_maps_without_blocks_go_on(lazy: bool) -> None:
    empty = og.drop_blocks(MAP.chunk() if lazy else MAP, MAP.keys)
    assert empty.keys.shape == (0, 2)
    assert len(empty.compute()) == 0
    for again in (
        og.drop_empty_blocks(empty),
        og.filter_blocks(empty, MAP.keys),
        og.zeros_like(empty),
        og.make_contiguous(empty),
        og.append_dimension(empty, "keys", "x", 1),
        og.sum_over_components(empty, "m"),
        empty * 2,
    ):
        assert len(again.compute()) == 0
    assert og.equal(empty, empty)


def test_blocks_are_empty_without_samples_or_properties() -> None:
    shapes = [(2, 3), (0, 3), (2, 0), (0, 0), (1, 1)]
    blocks = [og.block_from_array(np.ones(shape)) for shape in shapes]
    map = TensorMap(Labels.range("key", len(shapes)), blocks)
    assert og.drop_empty_blocks(map).keys["key"].tolist() == [0, 4]
    assert og.drop_empty_blocks(map.chunk()).keys["key"].tolist() == [0, 4]


@pytest.mark.parametrize("name", ["filter_blocks", "drop_blocks"])
def test_errors(name: str) -> None:
    call: Any = getattr(og, name)
    with pytest.raises(ValidationError, match=r"select: \['x'\] are not among the names of the labels"):
        call(MAP, Labels("x", [[1]]))
    with pytest.raises(TypeError, match=f"{name}: tensor must be a TensorMap, got TensorBlock"):
        call(MAP[0], MAP.keys)
    for wrong in ([0], MAP.keys[0], None):
        with pytest.raises(TypeError, match=f"{name}: keys must be a Labels, got {type(wrong).__name__}"):
            call(MAP, wrong)
    with pytest.raises(TypeError, match=f"{name}: copy must be a bool, got str"):
        call(MAP, MAP.keys, "no")


def test_errors_of_drop_empty_blocks() -> None:
    drop: Any = og.drop_empty_blocks
    with pytest.raises(TypeError, match="drop_empty_blocks: tensor must be a TensorMap, got int"):
        drop(1)
    with pytest.raises(TypeError, match="drop_empty_blocks: copy must be a bool, got int"):
        drop(MAP, 1)
