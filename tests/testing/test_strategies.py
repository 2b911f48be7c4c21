"""The strategies draw what they say: valid data of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings

from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import Parameter
from outgrad.testing.strategies import DTYPES, FLAT, blocks, labels, tensor_maps

QUICK = settings(phases=[Phase.generate], max_examples=500, database=None)


@given(labels(["a", "b"], min_size=1, max_size=3, low=0, high=2))
def test_labels_keep_to_their_limits(drawn: Labels) -> None:
    assert drawn.names == ["a", "b"]
    assert 1 <= len(drawn) <= 3
    assert drawn.values.min() >= 0
    assert drawn.values.max() <= 2
    assert len(np.unique(drawn.values, axis=0)) == len(drawn)


@given(blocks(sample_names=["s"], component_names=["k"], dtype="float32", max_samples=2, parameters=FLAT))
def test_blocks_keep_to_their_settings(drawn: TensorBlock) -> None:
    assert drawn.samples.names == ["s"]
    assert [component.names for component in drawn.components] == [["k"]]
    assert drawn.dtype == np.float32
    assert len(drawn) <= 2
    shapes = [drawn.gradient(name).shape[1 : -len(drawn.shape) + 1] for name in FLAT]
    assert shapes == [(), (3,), (3, 3)]


@given(tensor_maps(parameters={"x": Parameter((2,))}, order="sorted"))
def test_gradient_rows_are_sorted_on_request(drawn: TensorMap) -> None:
    for block in drawn:
        rows = block.gradient("x").samples.values.tolist()
        assert rows == sorted(rows)


def any_block(condition: Callable[[TensorBlock], Any]) -> Callable[[TensorMap], bool]:
    return lambda map: any(condition(block) for block in map)


WANTED: dict[str, Callable[[TensorMap], Any]] = {
    "several blocks": lambda map: len(map) > 2,
    "no samples": any_block(lambda block: len(block) == 0),
    "no properties": any_block(lambda block: block.shape[-1] == 0),
    "two components": any_block(lambda block: len(block.components) == 2),
    "no gradient": any_block(lambda block: not block.gradients_list()),
    "three gradients": any_block(lambda block: len(block.gradients_list()) == 3),
    "a gradient without rows": any_block(lambda b: len(b) and any(not len(g) for _, g in b.gradients())),
    "all gradient rows": any_block(lambda b: any(len(g) == 3 * len(b) > 0 for _, g in b.gradients())),
    "gradients of gradients": any_block(lambda b: any(g.gradients_list() for _, g in b.gradients())),
    "rows in another order": any_block(
        lambda b: any(
            (g.samples.values.tolist() != sorted(g.samples.values.tolist())) for _, g in b.gradients()
        )
    ),
    **{dtype: (lambda map, dtype=dtype: map.dtype == dtype) for dtype in DTYPES},
}


@pytest.mark.parametrize("wanted", WANTED)
def test_maps_of_every_kind_are_drawn(wanted: str) -> None:
    find(tensor_maps(nested=True, dtype=None), WANTED[wanted], settings=QUICK)
