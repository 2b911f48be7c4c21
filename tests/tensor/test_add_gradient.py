"""add_gradient: its rules, and that nothing is used up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.testing import Parameter, assert_identical, random_block
from tests.support.lazy import nothing_computed

S, M, N = Labels(["system"], [[0], [1], [4]]), Labels("m", [[-1], [0]]), Labels.range("n", 4)
ROWS = Labels(["sample", "atom"], [[0, 0], [0, 5], [2, 1]])
XYZ = Labels.range("xyz", 3)


def values_block(dtype: str = "float64") -> TensorBlock:
    return TensorBlock(np.ones((3, 2, 4), dtype), S, [M], N)


def gradient_block(
    samples: Labels = ROWS, components: Any = (XYZ, M), properties: Labels = N, dtype: str = "float64"
) -> TensorBlock:
    shape = (len(samples), *(len(component) for component in components), len(properties))
    return TensorBlock(np.ones(shape, dtype), samples, components, properties)


WRONG: dict[str, tuple[str, Callable[[], TensorBlock]]] = {
    "first dimension": (
        r"first dimension of the gradient's samples must be 'sample', the row of the values; found \['atom'",
        lambda: gradient_block(Labels(["atom", "sample"], [[0, 0]])),
    ),
    "no dimension": (
        r"must be 'sample', .* found \[\]",
        lambda: gradient_block(Labels([], np.zeros((0, 0), int))),
    ),
    "above": (
        "row 1 of the gradient's samples has sample=3, but the values have 3 samples, numbered from 0",
        lambda: gradient_block(Labels(["sample", "atom"], [[0, 0], [3, 0]])),
    ),
    "below": (
        "row 0 of the gradient's samples has sample=-1, but the values have 3 samples",
        lambda: gradient_block(Labels(["sample", "atom"], [[-1, 0], [3, 0]])),
    ),
    "too few components": (
        r"must be those of the values; found \[\], but the values have \['m'\]",
        lambda: gradient_block(components=[]),
    ),
    "order of components": (
        r"last components of the gradient must be those of the values; found \['m', 'xyz'\]",
        lambda: gradient_block(components=[M, XYZ]),
    ),
    "values of components": (
        "last components of the gradient must be those of the values",
        lambda: gradient_block(components=[XYZ, Labels("m", [[0], [1]])]),
    ),
    "properties": (
        r"properties of the gradient must be those of the values; found \['n'\] with 3 entries, .* with 4",
        lambda: gradient_block(properties=Labels.range("n", 3)),
    ),
    "names of properties": (
        r"properties of the gradient must be .* found \['k'\] with 4 entries, but the values have \['n'\]",
        lambda: gradient_block(properties=Labels.range("k", 4)),
    ),
    "dtype": (
        "the gradient has dtype float32, but the values have float64; convert one of them with .to",
        lambda: gradient_block(dtype="float32"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_gradients_must_fit(name: str) -> None:
    match, make = WRONG[name]
    block = values_block()
    with pytest.raises(ValidationError, match=rf"add_gradient\('x'\): .*{match}"):
        block.add_gradient("x", make())
    assert block.gradients_list() == []


def test_names_are_free_but_unique() -> None:
    block = values_block()
    for name in ("x", "", "a/b", "ångström"):
        block.add_gradient(name, gradient_block())
    with pytest.raises(
        ValidationError, match=r"add_gradient\('x'\): the block already has this gradient; use ano"
    ):
        block.add_gradient("x", gradient_block())
    with pytest.raises(TypeError, match="add_gradient: the parameter must be a str, got int"):
        block.add_gradient(1, gradient_block())  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"add_gradient\('y'\): the gradient must be a TensorBlock, got ndarray"
    ):
        block.add_gradient("y", np.ones(3))  # type: ignore[arg-type]
    assert block.gradients_list() == ["x", "", "a/b", "ångström"]


def test_a_block_without_samples_has_no_gradient_rows() -> None:
    block = TensorBlock(np.ones((0, 2, 4)), Labels.empty("system"), [M], N)
    with pytest.raises(ValidationError, match=r"row 0 .* has sample=0, but the values have 0 samples"):
        block.add_gradient("x", gradient_block(Labels(["sample"], [[0]])))
    block.add_gradient("x", gradient_block(Labels.empty(["sample", "atom"])))
    assert block.gradient("x").shape == (0, 3, 2, 4)


def test_rows_may_be_in_any_order_and_missing() -> None:
    block = values_block()
    rows = Labels(["sample", "atom"], [[2, 1], [0, 5], [0, 0]])
    block.add_gradient("x", gradient_block(rows))
    assert block.gradient("x").samples == rows


def test_a_gradient_can_be_used_again() -> None:
    gradient, first, second = gradient_block(), values_block(), values_block()
    first.add_gradient("x", gradient)
    second.add_gradient("x", gradient)
    first.add_gradient("y", first.gradient("x"))
    assert first.gradient("x").values is second.gradient("x").values is gradient.values
    assert gradient.shape == (3, 3, 2, 4)
    assert not gradient.is_view


def test_a_map_keeps_the_blocks_it_was_made_of() -> None:
    """A block that was read out is a block of its own: adding to it leaves the map, and other copies."""
    block = values_block()
    map = TensorMap(Labels.single(), [block])
    block.add_gradient("x", gradient_block())
    assert map.block().gradients_list() == []
    read = map.block()
    read.add_gradient("x", gradient_block())
    assert read.gradients_list() == ["x"]
    assert map.block().gradients_list() == []
    again = TensorMap(Labels.single(), [read])
    assert again.block().gradients_list() == ["x"]
    assert again.block().values is block.values


def test_a_gradient_that_was_read_out_gets_gradients_of_its_own() -> None:
    block = values_block()
    block.add_gradient("x", gradient_block())
    gradient = block.gradient("x")
    below = gradient_block(Labels(["sample", "cell"], [[0, 0], [2, 1]]), components=(XYZ, M))
    gradient.add_gradient("cell", below)
    assert gradient.gradients_list() == ["cell"]
    assert block.gradient("x").gradients_list() == []
    whole = values_block()
    whole.add_gradient("x", gradient)
    assert whole.gradient("x").gradient("cell").values is below.values


def test_gradients_of_gradients_follow_the_same_rules() -> None:
    gradient = gradient_block()
    with pytest.raises(ValidationError, match=r"row 0 of .* has sample=3, but the values have 3 samples"):
        gradient.add_gradient("cell", gradient_block(Labels(["sample"], [[3]])))
    with pytest.raises(
        ValidationError, match=r"must be those of the values; found \['m'\], but the values have \['xyz'"
    ):
        gradient.add_gradient("cell", gradient_block(components=[M]))


# ---- NumPy and Dask together ----
def lazy(block: TensorBlock, chunks: Any) -> TensorBlock:
    """The same with Dask arrays; gradients, if any, are left out."""
    trailing = (-1,) * (len(block.shape) - 1)
    values = da.from_array(block.values, chunks=(chunks, *trailing))
    return TensorBlock(values, block.samples, block.components, block.properties)


FORMS: dict[str, Callable[[TensorBlock], TensorBlock]] = {
    "numpy": lambda block: block,
    "rows": lambda block: lazy(block, 1),
    "irregular": lambda block: lazy(block, (len(block) - 1, 1)),
    "whole": lambda block: lazy(block, -1),
}


@pytest.mark.parametrize("below", ["numpy", "irregular"])
@pytest.mark.parametrize("middle", FORMS)
@pytest.mark.parametrize("top", FORMS)
def test_numpy_and_dask_mix_at_every_depth(top: str, middle: str, below: str) -> None:
    parameters = {"x": Parameter((3,), {"cell": Parameter()})}
    expected = random_block(np.random.default_rng(0), S, [M], N, parameters, sparsity=0.8)
    gradient = expected.gradient("x")
    with nothing_computed():
        inner = FORMS[middle](TensorBlock(gradient.values, gradient.samples, gradient.components, N))
        inner.add_gradient("cell", FORMS[below](og.remove_gradients(gradient.gradient("cell"))))
        made = FORMS[top](TensorBlock(expected.values, S, [M], N))
        made.add_gradient("x", inner)
    assert_identical(made, expected)
    assert_identical(made + made, 2 * expected)
    if made.chunks is not None:
        assert len(made.gradient("x").values.chunks[0]) == len(made.chunks)


def test_chunks_of_the_values_decide() -> None:
    made = lazy(values_block(), (2, 1))
    made.add_gradient("x", lazy(gradient_block(), 1))
    assert made.values.chunks[0] == (2, 1)
    assert made.gradient("x").values.chunks[0] == (2, 1)  # rows of samples 0 and 1, rows of sample 2


def test_values_in_memory_are_cut_at_the_samples_of_gradient_chunks() -> None:
    made = values_block()
    made.add_gradient("x", lazy(gradient_block(), 1))
    assert made.chunks == (2, 1)
    assert made.gradient("x").values.chunks[0] == (2, 1)
