"""A number added to one dimension of the samples: what is shifted, what stays, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.testing import assert_identical
from tests.support.lazy import chunks_of, cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, ONE_ROW, at_every_depth, operand

MAP = operand(0, parameters=CLOSED)


def by_hand(block: TensorBlock, name: str, number: int, is_gradient: bool = False) -> TensorBlock:
    """The same with loops, on arrays in memory."""
    names, table = block.samples.names, block.samples.values.copy()
    for column, own in enumerate(names):
        if own == name and not (is_gradient and column == 0):
            table[:, column] += number
    made = TensorBlock(block.values, Labels(names, table), block.components, block.properties)
    for parameter, gradient in block.gradients():
        made.add_gradient(parameter, by_hand(gradient, name, number, True))
    return made


@pytest.mark.parametrize("name", ["system", "atom"])
@pytest.mark.parametrize("number", [0, 1, -3, 2_000_000_000])
@pytest.mark.parametrize("cut", [None, ACROSS_SYSTEMS, ONE_ROW])
def test_samples_and_rows_of_gradients_of_any_depth(name: str, number: int, cut: Any) -> None:
    given = MAP if cut is None else cut_at(MAP, cut)
    with nothing_computed():
        found = og.shift_dimension(given, name, number)
    expected = TensorMap(MAP.keys, [by_hand(block, name, number) for block in MAP])
    expected.set_info("source", MAP.get_info("source"))
    assert_identical(found, expected)
    assert_identical(og.shift_dimension(given.block(0), name, number), expected.block(0))
    for block in found.compute():
        assert all(
            below.samples.names == ["sample", *below.samples.names[1:]] or below is block
            for below in at_every_depth(block)
        )


def test_rows_that_chunks_carry_are_those_of_the_labels() -> None:
    """What follows in the graph reads the rows of the chunks."""
    cut = cut_at(MAP, ACROSS_SYSTEMS)
    shifted = og.shift_dimension(cut, "system", 10)
    both = og.join([cut, shifted], "samples")
    assert_identical(both, og.join([MAP, og.shift_dimension(MAP, "system", 10)], "samples"))
    rows = np.concatenate([chunk.gradients["positions"].table for chunk in chunks_of(shifted.block(0))[0]])
    assert rows[:, 1].min() >= 10
    assert_identical(shifted + 2 * shifted, 3 * og.shift_dimension(MAP, "system", 10))


def test_data_in_memory_are_shared() -> None:
    for block, moved in zip(MAP, og.shift_dimension(MAP, "system", 5), strict=True):
        for own, new in zip(at_every_depth(block), at_every_depth(moved), strict=True):
            assert new.values is own.values


def test_no_tasks_where_rows_stay() -> None:
    cut = cut_at(og.remove_gradients(MAP), ACROSS_SYSTEMS)
    assert og.shift_dimension(cut, "system", 5).__dask_keys__() == cut.__dask_keys__()
    cut = cut_at(MAP, ACROSS_SYSTEMS)
    assert og.shift_dimension(cut, "system", 0).__dask_keys__() == cut.__dask_keys__()
    names = {
        str(og.shift_dimension(cut, name, n).__dask_keys__()) for name in ("system", "atom") for n in (1, 2)
    }
    assert len(names) == 4


def test_sample_of_gradients_is_a_row_and_not_a_name() -> None:
    block = og.block_from_array(np.ones((2, 1)))
    rows = Labels(["sample", "atom"], [[0, 0], [1, 0]])
    block.add_gradient("x", TensorBlock(np.ones((2, 1)), rows, [], block.properties))
    shifted = og.shift_dimension(block, "sample", 5)
    assert shifted.samples["sample"].tolist() == [5, 6]
    assert shifted.gradient("x").samples == rows
    assert og.shift_dimension(block, "atom", 5).samples == block.samples
    assert og.shift_dimension(block, "atom", 5).gradient("x").samples["atom"].tolist() == [5, 5]


def test_stored_labels_stay_in_their_archive(tmp_path: Path) -> None:
    og.save(tmp_path / "a.zarr", MAP)
    with nothing_computed():
        shifted = og.shift_dimension(og.open(tmp_path / "a.zarr"), "system", 5)
    for block in shifted:
        for below in at_every_depth(block):
            assert (below.samples.is_stored, below.samples.is_loaded) == (True, False)
    assert_identical(shifted, og.shift_dimension(MAP, "system", 5))
    og.save(tmp_path / "b.zarr", shifted)
    assert_identical(og.load(tmp_path / "b.zarr"), og.shift_dimension(MAP, "system", 5))
    assert og.verify(tmp_path / "b.zarr") == []


def test_an_empty_map() -> None:
    empty = TensorMap(Labels.empty("key"), [])
    assert_identical(og.shift_dimension(empty, "system", 5), empty)


BIG = 2**31 - 1


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (
            ValidationError,
            r"shift_dimension: 'x' is not a dimension of the samples, \['system', 'atom'\]",
            lambda: og.shift_dimension(MAP, "x", 1),
        ),
        (
            ValidationError,
            "'center_type' is not a dimension of the samples",
            lambda: og.shift_dimension(MAP, "center_type", 1),
        ),
        (
            ValidationError,
            r"block 0: \d of 'system' and 2147483647 do not fit into 32-bit integers together; labels stay",
            lambda: og.shift_dimension(MAP, "system", BIG),
        ),
        (
            ValidationError,
            "and -2147483649 do not fit into 32-bit integers",
            lambda: og.shift_dimension(MAP, "system", -BIG - 2),
        ),
        (
            ValidationError,
            "do not fit into 32-bit integers",
            lambda: og.shift_dimension(MAP, "system", 2**70),
        ),
        (TypeError, "must be a str, got int", lambda: og.shift_dimension(MAP, 3, 1)),
        (TypeError, "to 'system' must be an int, got float", lambda: og.shift_dimension(MAP, "system", 1.5)),
        (TypeError, "tensor must be a TensorMap or a", lambda: og.shift_dimension(3, "system", 1)),
    ],
)
def test_errors(error: type[Exception], text: str, call: Any) -> None:
    with pytest.raises(error, match=text):
        call()
