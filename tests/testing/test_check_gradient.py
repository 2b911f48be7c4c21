"""check_gradient finds wrong gradients, and passes right ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.errors import GradientError, OutgradError
from outgrad.testing import Parameter, assert_identical, check_gradient, random_block
from outgrad.testing.strategies import blocks, tensor_maps
from tests.support.operands import CLOSED, FLAT, KEYS, operand


def spoiled(
    path: tuple[str, ...], change: Callable[[Any], Any], block: int = 0
) -> Callable[[Any], TensorMap]:
    """A square whose gradient ``path`` of one block is changed."""

    def function(map: Any) -> TensorMap:
        square = (map * map).compute()
        array = square._blocks().chunks[block].at(path).values
        array[...] = change(array)
        return square  # type: ignore[no-any-return]

    return function


WRONG: dict[str, Callable[[Any], Any]] = {
    "sign": lambda array: -array,
    "factor": lambda array: 1.001 * array,
    "row": lambda array: array[::-1],
    "zero": lambda array: 0 * array,
    "not a number": lambda array: array * np.nan,
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "path", [("cell",), ("positions",), ("positions", "cell"), ("positions", "positions")]
)
def test_wrong_gradients_are_found(path: tuple[str, ...], wrong: str) -> None:
    map = operand(0, parameters=CLOSED, sparsity=1.0)
    name = "/".join(path)  # or what is below it: the derivative of a wrong gradient is wrong too
    with pytest.raises(GradientError, match=rf"gradient '{name}[a-z/]*' of block \(center_type=1\) deviates"):
        check_gradient(spoiled(path, WRONG[wrong], block=1), map)


def test_one_component_of_one_row_is_found() -> None:
    def change(array: Any) -> Any:
        changed = array.copy()
        changed[3, 2, 1] += 1e-3
        return changed

    map = operand(0, sparsity=1.0)
    with pytest.raises(
        GradientError, match=r"along a random direction it is .*, the difference is .* apart, at sa"
    ):
        check_gradient(spoiled(("strain",), change), map)


def test_a_row_that_should_be_there_is_missed() -> None:
    map = operand(0, sparsity=1.0)

    def sparse(map: Any) -> TensorMap:
        made = []
        for block in map * 1:
            new = TensorBlock(block.values, block.samples, block.components, block.properties)
            for name, gradient in block.gradients():
                new.add_gradient(name, og.slice(gradient, "samples", list(range(1, len(gradient)))))
            made.append(new)
        return TensorMap(map.keys, made)

    with pytest.raises(GradientError, match="deviates from the finite difference"):
        check_gradient(sparse, map)


def test_a_row_of_a_target_that_nothing_depends_on() -> None:
    """The values do not move with it, so its gradient must be zero."""
    labels = Labels.range("s", 1), Labels.range("n", 1)

    def block(atom: int) -> TensorBlock:
        made = TensorBlock(np.ones((1, 1)), labels[0], [], labels[1])
        rows = Labels(["sample", "atom"], [[0, atom]])
        made.add_gradient("x", TensorBlock(np.ones((1, 1)), rows, [], labels[1]))
        return made

    with pytest.raises(
        GradientError, match=r"gradient 'x' of the block deviates.*at sample \(s=0\), index \(0, 0\)"
    ):
        check_gradient(lambda given: given + block(7), block(3))


def test_targets_are_found_by_their_labels() -> None:
    """Samples are reversed and merged; rows carry other numbers but the same targets."""
    map = operand(0, sparsity=0.6)
    check_gradient(
        lambda map: TensorMap(KEYS, [og.slice_block(b, "samples", range_back(b)) for b in map]), map
    )


def range_back(block: TensorBlock) -> list[int]:
    return list(range(len(block)))[::-1]


def test_gradients_without_targets() -> None:
    """The only sample dimension is ``sample``, as for strain."""
    properties = Labels.range("n", 2)
    block = random_block(
        np.random.default_rng(0),
        Labels.range("system", 3),
        [],
        properties,
        {"strain": Parameter((3, 3))},
        targets=Labels("unused", [[0]]),
        sparsity=0.7,
    )
    bare = TensorBlock(block.values, block.samples, [], properties)
    strain = block.gradient("strain")
    rows = Labels("sample", strain.samples.values[:, :1])
    bare.add_gradient("strain", TensorBlock(strain.values, rows, strain.components, properties))
    check_gradient(lambda block: block * block, bare)
    with pytest.raises(GradientError):
        check_gradient(lambda given: given * given + bare, bare)


def test_values_that_the_function_forgets_to_move() -> None:
    map = operand(0)
    with pytest.raises(GradientError):
        check_gradient(lambda given: given * map, map)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_blocks_and_lazy_data(dtype: str) -> None:
    map = operand(0, dtype=dtype, parameters=CLOSED)
    for given_ in (map, map.chunk(200), map.block(0), map.chunk(200).block(0)):
        check_gradient(lambda tensor: tensor * tensor / 2 + 1, given_, directions=1)


def test_the_function_of_a_block_may_make_a_map() -> None:
    block = operand(0).block(0)
    check_gradient(lambda block: TensorMap(Labels.single(), [1 / block]), block)
    with pytest.raises(GradientError, match=r"of block \(_=0\) deviates"):
        check_gradient(lambda block: TensorMap(Labels.single(), [1 / block + block.copy() - BLOCK]), block)


BLOCK = operand(0).block(0)


def test_lost_gradients_are_errors() -> None:
    map = operand(0)
    with pytest.raises(GradientError, match=r"no gradient 'cell', which the map has.*remove_gradients"):
        check_gradient(lambda map: og.remove_gradients(map, "cell"), map)
    nested = operand(0, parameters=CLOSED)

    def flat(map: Any) -> TensorMap:
        made = []
        for block in map:
            new = TensorBlock(block.values, block.samples, block.components, block.properties)
            for name, gradient in block.gradients():
                new.add_gradient(name, og.remove_gradients(gradient))
            made.append(new)
        return TensorMap(map.keys, made)

    with pytest.raises(GradientError, match="no gradient 'cell/positions'"):
        check_gradient(flat, nested)


def test_errors_are_assertion_errors_and_of_this_library() -> None:
    assert issubclass(GradientError, AssertionError)
    assert issubclass(GradientError, OutgradError)


def test_without_gradients_nothing_can_be_checked() -> None:
    with pytest.raises(ValueError, match="the map has no gradients, so there is nothing to check"):
        check_gradient(lambda map: map, operand(0, parameters={}))


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_narrow_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(
        ValueError, match=f"map has dtype {dtype}, but finite differences need float64 or compl"
    ):
        check_gradient(lambda map: map, operand(0, dtype=dtype))
    with pytest.raises(ValueError, match="the result of function has dtype float32"):
        check_gradient(lambda map: map.to(dtype="float32"), operand(0))


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="check_gradient: map must be a TensorMap or a TensorBlock, got int"):
        check_gradient(lambda map: map, 1)  # type: ignore[type-var]
    with pytest.raises(
        TypeError, match="the result of function must be a TensorMap or a TensorBlock, got NoneTy"
    ):
        check_gradient(lambda map: None, operand(0))  # type: ignore[arg-type,return-value]


def test_labels_that_depend_on_values_are_refused() -> None:
    map = operand(0, sparsity=1.0)
    start = map.block(0).values.copy()

    def positive(map: Any) -> TensorMap:
        moved = bool((map.block(0).values != start).any())
        return TensorMap(KEYS, [og.slice_block(b, "samples", range_back(b) if moved else []) for b in map])

    with pytest.raises(ValueError, match="the labels of block 0 of the result change when the values move"):
        check_gradient(positive, map)


def test_targets_must_keep_their_dimensions() -> None:
    map = operand(0, sparsity=1.0)

    def renamed(map: Any) -> TensorMap:
        made = []
        for block in map:
            new = TensorBlock(block.values, block.samples, block.components, block.properties)
            for name, gradient in block.gradients():
                values = np.repeat(gradient.values, 1, axis=0)
                samples = gradient.samples.append("extra", np.zeros(len(gradient), int))
                new.add_gradient(name, TensorBlock(values, samples, gradient.components, gradient.properties))
            made.append(new)
        return TensorMap(map.keys, made)

    with pytest.raises(
        ValueError, match=r"gradients 'cell' of map and result have different numbers of sample dim"
    ):
        check_gradient(renamed, map)


def test_directions_are_reproducible() -> None:
    map = operand(0, sparsity=1.0)
    messages = []
    for seed in (0, 0, 1):
        with pytest.raises(GradientError) as caught:
            check_gradient(spoiled(("cell",), WRONG["factor"]), map, seed=seed)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] != messages[2]


def test_tolerances_can_be_set() -> None:
    map = operand(0, sparsity=1.0)
    check_gradient(spoiled(("cell",), WRONG["factor"]), map, rtol=1e-2)
    check_gradient(spoiled(("cell",), WRONG["factor"]), map, atol=1.0)
    with pytest.raises(GradientError):
        check_gradient(lambda map: og.pow(map, 3), map, step=0.1)


def test_the_map_stays_as_it_was() -> None:
    map = operand(0, parameters=CLOSED)
    check_gradient(lambda map: map * map, map)
    assert_identical(map, operand(0, parameters=CLOSED))


@given(tensor_maps(nested=True))
def test_any_map(map: TensorMap) -> None:
    if map.blocks()[0].gradients_list():
        check_gradient(lambda map: map * map, map, directions=1)


@given(blocks(parameters=FLAT, order="any"))
def test_any_block(block: TensorBlock) -> None:
    check_gradient(
        lambda block: og.sum_over_samples(block / (block * block + 1), "atom"), block, directions=1
    )
