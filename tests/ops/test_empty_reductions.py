"""Reductions of blocks that have no samples or no properties, against metatensor."""

from __future__ import annotations

from typing import Any

import metatensor
import numpy as np
import pytest

import outgrad as og
from outgrad.interop.metatensor import to_metatensor

REDUCTIONS = ["sum", "mean", "std", "var"]


def block(samples: int, properties: int) -> og.TensorBlock:
    def labels(count: int, *names: str) -> og.Labels:
        return og.Labels(names, np.stack([np.arange(count)] * len(names), axis=1))

    columns = labels(properties, "p", "q")
    made = og.TensorBlock(np.ones((samples, properties)), labels(samples, "a", "b"), [], columns)
    rows = og.Labels(["sample", "x"], np.zeros((samples and 1, 2), np.int32))
    made.add_gradient("g", og.TensorBlock(np.ones((len(rows), properties)), rows, [], columns))
    return made


def names_of(result: Any, axis: str) -> tuple[list[str], tuple[int, ...], tuple[int, ...]]:
    return (
        list(getattr(result, axis).names),
        tuple(result.values.shape),
        tuple(result.gradient("g").values.shape) if result.gradients_list() else (),
    )


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("names", [["a", "b"], ["a"]])
@pytest.mark.parametrize("lazy", [False, True])
def test_without_samples(kind: str, names: list[str], lazy: bool) -> None:
    own = block(0, 3)
    theirs = getattr(metatensor, f"{kind}_over_samples_block")(to_metatensor(own), names)
    result = getattr(og, f"{kind}_over_samples")(own.chunk() if lazy else own, names)
    assert names_of(result.compute(), "samples") == names_of(theirs, "samples")


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("names", [["p", "q"], ["p"]])
@pytest.mark.parametrize("lazy", [False, True])
def test_without_properties(kind: str, names: list[str], lazy: bool) -> None:
    """metatensor fails where there are gradients too; theirs have the same properties here."""
    own = block(2, 0)
    bare = to_metatensor(og.remove_gradients_block(own))
    theirs = getattr(metatensor, f"{kind}_over_properties_block")(bare, names)
    result = getattr(og, f"{kind}_over_properties")(own.chunk() if lazy else own, names)
    assert names_of(result.compute(), "properties")[:2] == names_of(theirs, "properties")[:2]
    assert result.gradient("g").properties == result.properties


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("counts", [(0, 0), (0, 2), (2, 0), (2, 2)])
def test_blocks_of_a_map_keep_the_same_names(kind: str, lazy: bool, counts: tuple[int, ...]) -> None:
    """One that is empty has the dimension of the others, so that they still are a map."""
    made = og.TensorMap(og.Labels.range("key", 2), [block(count, 3) for count in counts])
    result = getattr(og, f"{kind}_over_samples")(made.chunk() if lazy else made, ["a", "b"]).compute()
    expected = ["_"] if any(counts) else []
    assert [each.samples.names for each in result.blocks()] == [expected] * 2
    assert [len(each.samples) for each in result.blocks()] == [min(count, 1) for count in counts]


def test_a_dimension_called_like_the_placeholder_is_kept() -> None:
    block = og.TensorBlock(np.zeros((0, 1)), og.Labels.empty(["_", "atom"]), [], og.Labels.range("n", 1))
    assert og.sum_over_samples(block, "atom").samples.names == ["_"]
