"""Every error of the operations: what was called, what was found, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, NotEqualError, TensorBlock, TensorMap, ValidationError
from outgrad.testing import Parameter, random_block
from tests.support.lazy import cut_at
from tests.support.operands import FLAT, KEYS, ONE_ROW, operand

MAP = operand(0)
BLOCK = MAP.block(0)
OTHER = operand(1)


def relabelled(
    samples: Labels | None = None,
    components: list[Labels] | None = None,
    properties: Labels | None = None,
    parameters: Any = FLAT,
    **settings: Any,
) -> TensorBlock:
    """A block like BLOCK but for some labels."""
    return random_block(
        np.random.default_rng(0),
        samples or BLOCK.samples,
        BLOCK.components if components is None else components,
        properties or BLOCK.properties,
        parameters,
        **settings,
    )


def turned(labels: Labels) -> Labels:
    return Labels(labels.names, labels.values[::-1])


TWO = ["add", "subtract", "multiply", "divide", "pow"]


def fails(error: type[Exception], match: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=match):
        call()


# ---- types ----
@pytest.mark.parametrize("name", TWO)
def test_the_first_argument_is_a_map_or_block(name: str) -> None:
    fails(
        TypeError, f"{name}: A must be a TensorMap or a TensorBlock, got int", lambda: getattr(og, name)(1, 2)
    )


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("wrong", ["text", None, np.ones(3), da.ones(()), [1], 2 * np.eye(2)])
def test_the_second_argument_is_a_map_a_block_or_a_number(name: str, wrong: Any) -> None:
    kind = type(wrong).__name__
    match = f"{name}: B must be a TensorMap, a TensorBlock or a number, got {kind}"
    fails(TypeError, match, lambda: getattr(og, name)(MAP, wrong))


@pytest.mark.parametrize("name", TWO)
def test_maps_and_blocks_do_not_mix(name: str) -> None:
    call = getattr(og, name)
    fails(TypeError, f"{name}: A is a TensorMap, but B is a TensorBlock", lambda: call(MAP, BLOCK))
    fails(TypeError, f"{name}: A is a TensorBlock, but B is a TensorMap", lambda: call(BLOCK, MAP))


def test_arguments_of_other_operations() -> None:
    fails(TypeError, "abs: A must be a TensorMap or a TensorBlock, got float", lambda: og.abs(1.0))  # type: ignore[type-var]
    fails(TypeError, "dot: tensor_1 must be a TensorMap or", lambda: og.dot(1, 2))  # type: ignore[type-var]
    for name in ("sum_over_samples", "sum_over_properties"):
        fails(
            TypeError, f"{name}: tensor must be a TensorMap or", lambda name=name: getattr(og, name)(1, "n")
        )
    fails(TypeError, "slice: tensor must be", lambda: og.slice(None, "samples", [0]))  # type: ignore[type-var]
    fails(TypeError, "remove_gradients: tensor must be", lambda: og.remove_gradients("x"))  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("subtract", lambda: "2" - MAP),
        ("divide", lambda: None / MAP),
        ("pow", lambda: [2] ** MAP),
    ],
)
def test_reflected_operators_need_numbers(name: str, call: Callable[[], Any]) -> None:
    fails(TypeError, f"{name}: the other operand must be a number, got (str|NoneType|list)", call)


@pytest.mark.parametrize(
    "name", ["sum_over_samples", "sum_over_properties", "slice", "remove_gradients", "equal", "allclose"]
)
def test_block_twins_take_blocks(name: str) -> None:
    arguments = (
        [MAP] if name == "remove_gradients" else [MAP, "n"] if name != "slice" else [MAP, "samples", [0]]
    )
    argument = "block_1" if name in ("equal", "allclose") else "block"
    match = f"{name}_block: {argument} must be a TensorBlock, got TensorMap"
    twin = getattr(og, f"{name}_block")
    fails(TypeError, match, lambda: twin(*arguments))


def test_block_twins_name_their_argument_as_upstream() -> None:
    assert og.sum_over_samples_block(block=BLOCK, sample_names="atom") == og.sum_over_samples(BLOCK, "atom")
    assert og.equal_block(block_1=BLOCK, block_2=BLOCK)
    fails(
        TypeError,
        "missing a required argument: 'block'",
        lambda: og.sum_over_samples_block(tensor=BLOCK, sample_names="a"),
    )
    fails(TypeError, "equal_block: block_2 must be a TensorBlock, got int", lambda: og.equal_block(BLOCK, 1))
    assert not og.equal_block(BLOCK, MAP)
    assert og.equal_block_raise.__name__ == "equal_block_raise"
    assert og.equal_block_raise.__doc__.startswith("Apply :func:`equal_raise` to one block; see there")


@pytest.mark.parametrize("wrong", [[1], [["atom"]], [None], 1, 2.5])
def test_names_are_strings(wrong: Any) -> None:
    match = rf"sample_names must be a str or a list of str, got {re.escape(repr(wrong))}"
    fails(TypeError, f"sum_over_samples: {match}", lambda: og.sum_over_samples(MAP, wrong))
    match = r"remove must be a str or a list of str, got "
    fails(TypeError, f"remove_gradients: {match}", lambda: og.remove_gradients(MAP, wrong))


# ---- keys ----
@pytest.mark.parametrize("name", [*TWO, "dot"])
def test_keys_must_be_the_same(name: str) -> None:
    call = getattr(og, name)
    blocks = MAP.blocks()
    fewer = TensorMap(Labels(["center_type"], [[6], [1]]), blocks[:2])
    match = f"inputs to '{name}' should have the same number of blocks, got 3 and 2"
    fails(NotEqualError, match, lambda: call(MAP, fewer))
    renamed = TensorMap(KEYS.rename("center_type", "type"), blocks)
    fails(NotEqualError, r"same keys names, got \['center_type'\] and \['type'\]", lambda: call(MAP, renamed))
    others = TensorMap(Labels(["center_type"], [[6], [7], [8]]), blocks)
    fails(NotEqualError, r"same keys; \(center_type=1\) is only in the first", lambda: call(MAP, others))


# ---- labels ----
LABELS = {
    "properties": {"properties": turned(BLOCK.properties)},
    "components": {"components": [Labels("m", [[2], [1], [0]])]},
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("axis", LABELS)
@pytest.mark.parametrize("name", TWO)
def test_labels_must_be_the_same(name: str, axis: str, chunked: bool) -> None:
    other = relabelled(**LABELS[axis])
    block = cut_at(BLOCK, [ONE_ROW[0]]) if chunked else BLOCK
    match = f"inputs to '{name}' should have the same {axis}, but .* in the same order; in the blocks found"
    fails(NotEqualError, match, lambda: getattr(og, name)(block, other))


def test_the_block_is_named() -> None:
    blocks = [MAP.block(0), relabelled(parameters={}), MAP.block(2)]
    other = TensorMap(KEYS, [og.remove_gradients(block) for block in blocks])
    match = "same samples.* in block 1 found"
    fails(NotEqualError, match, lambda: og.add(og.remove_gradients(MAP), other))


def test_gradients_must_be_the_same() -> None:
    other = relabelled(parameters={"cell": Parameter()})
    match = r"same gradient parameters; in the blocks found \['cell', 'positions', 'strain'\] and"
    fails(NotEqualError, match, lambda: og.add(BLOCK, other))


def test_gradient_names_must_be_the_same() -> None:
    one = relabelled(parameters={"cell": Parameter()})
    renamed = relabelled(parameters={"cell": Parameter()}, targets=Labels("target", [[0], [1]]))
    match = "same gradients: sample names or components of gradient 'cell' of the blocks are not the same"
    fails(NotEqualError, match, lambda: og.multiply(one, renamed))
    wider = relabelled(parameters={"cell": Parameter((2,))})
    fails(NotEqualError, match, lambda: og.multiply(one, wider))


def test_gradients_of_gradients_must_be_the_same() -> None:
    nested = relabelled(parameters={"cell": Parameter((), {"cell": Parameter()})})
    flat = relabelled(parameters={"cell": Parameter()})
    match = r"same gradient parameters; in gradient 'cell' of the blocks found \['cell'\] and \[\]"
    fails(NotEqualError, match, lambda: og.add(nested, flat))
    renamed = relabelled(
        parameters={"cell": Parameter((), {"cell": Parameter()})}, targets=Labels("target", [[0]])
    )
    fails(NotEqualError, "sample names or components of gradient 'cell' of", lambda: og.add(nested, renamed))


def test_dot_needs_the_same_properties() -> None:
    other = random_block(np.random.default_rng(0), Labels.range("q", 2), [], turned(BLOCK.properties))
    match = (
        r"'dot' should have the same properties, in the same order; found \['n', 'l'\] with 4 entries, and"
    )
    fails(NotEqualError, match, lambda: og.dot(BLOCK, other))


# ---- reductions ----
def test_names_to_sum_over_must_exist() -> None:
    match = r"sum_over_samples: \['n'\] not found in the samples, whose dimensions are \['system', 'atom'\]"
    fails(ValidationError, match, lambda: og.sum_over_samples(MAP, ["atom", "n"]))
    match = r"sum_over_properties: \['atom'\] not found in the properties, whose dimensions are \['n', 'l'\]"
    fails(ValidationError, match, lambda: og.sum_over_properties(BLOCK, "atom"))


# ---- slice ----
@pytest.mark.parametrize(
    ("error", "match", "axis", "selection"),
    [
        (
            ValidationError,
            "slice: axis must be either 'samples' or 'properties', got 'components'",
            "components",
            [0],
        ),
        (TypeError, "slice: selection must be Labels, a list or an array, got tuple", "samples", (0, 1)),
        (TypeError, "slice: selection must be Labels, a list or an array, got int", "samples", 0),
        (ValidationError, "positions must be 1-D integers or booleans, got 2-D int64", "samples", [[0], [1]]),
        (ValidationError, "positions must be 1-D integers or booleans, got 1-D float64", "samples", [0.0]),
        (ValidationError, "the mask has 2 entries, but the samples have 7", "samples", [True, False]),
        (
            ValidationError,
            "the mask has 3 entries, but the properties have 4",
            "properties",
            np.ones(3, bool),
        ),
        (ValidationError, "position 7 is out of range, the samples have 7 entries", "samples", [0, 7]),
        (ValidationError, "position -5 is out of range, the properties have 4 entries", "properties", [-5]),
        (
            ValidationError,
            "a position is repeated, but samples must be unique; remove it",
            "samples",
            [1, -6],
        ),
        (ValidationError, "a position is repeated, but properties must be unique", "properties", [1, 1]),
        (ValueError, "center_type", "samples", Labels("center_type", [[1]])),
    ],
)
def test_selections_of_slice(error: type[Exception], match: str, axis: str, selection: Any) -> None:
    fails(error, match, lambda: og.slice(BLOCK, axis, selection))
    fails(error, match, lambda: og.slice(cut_at(BLOCK, [ONE_ROW[0]]), axis, selection))


# ---- create ----
@pytest.mark.parametrize(
    ("shape", "names"),
    [((2,), {}), ((2, 2), {"component_names": ["m"]}), ((2, 2, 2), {"sample_names": ["a", "b", "c"]})],
)
def test_axes_of_a_block_from_an_array(shape: tuple[int, ...], names: dict[str, Any]) -> None:
    match = rf"block_from_array: the array has {len(shape)} axes, but \[.*name \d; give one name per axis"
    fails(ValidationError, match, lambda: og.block_from_array(np.ones(shape), **names))


def test_an_array_is_needed() -> None:
    fails(TypeError, "values must be a NumPy or Dask array, got list", lambda: og.block_from_array([[1.0]]))
