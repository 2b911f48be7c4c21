"""New values for old labels: zeros, ones, random numbers; nothing of the old data is read."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorMap, ValidationError
from outgrad.testing import assert_identical
from tests.support.lazy import check_layout, cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, CUTS, ONE_ROW, arrays, operand
from tests.support.stored import Source, stored

NAMES = ["zeros_like", "ones_like", "empty_like", "random_uniform_like"]
MAP = operand(0, parameters=CLOSED)
CUT = cut_at(MAP, ACROSS_SYSTEMS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    np.random.seed(0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("name", NAMES)
def test_labels_and_dtypes_are_kept(name: str, dtype: str) -> None:
    map = operand(0, parameters=CLOSED, dtype=dtype)
    call = getattr(og, name)
    for given in (map, map.chunk(target_bytes=300)):
        made = call(given).compute()
        assert og.equal_metadata(made, map)
        assert made.info() == map.info()
        assert {array.dtype for array in arrays(made)} == {np.dtype(dtype)}
        for old, new in zip(arrays(map), arrays(made), strict=True):
            assert not np.shares_memory(old, new)


@pytest.mark.parametrize(("name", "number"), [("zeros_like", 0), ("ones_like", 1)])
def test_gradients_are_filled_at_every_depth(name: str, number: int) -> None:
    for made in (getattr(og, name)(MAP), getattr(og, name)(CUT).compute()):
        for array in arrays(made):
            assert (array == number).all()


@pytest.mark.parametrize("name", NAMES)
def test_tasks_do_not_use_the_old_data(name: str) -> None:
    source = CUT + 1
    with nothing_computed():
        made = getattr(og, name)(source)
    assert set(made.__dask_graph__()).isdisjoint(source.__dask_graph__())
    assert len(made.__dask_graph__()) == len(source.__dask_keys__())
    assert made._blocks().to_compute.parts == source._blocks().to_compute.parts
    assert [block.chunks for block in made] == [block.chunks for block in source]
    check_layout(made)


def test_names_of_tasks_depend_on_gradient_rows() -> None:
    """The tasks of two blocks of the same shape differ where their gradients belong to other targets."""
    made = []
    for target in (4, 5):
        block = og.block_from_array(np.ones((1, 2)))
        rows = Labels(["sample", "atom"], [[0, target]])
        block.add_gradient("x", og.TensorBlock(np.ones((1, 2)), rows, [], block.properties))
        made.append(og.zeros_like(block.chunk()))
    assert set(made[0].__dask_keys__()).isdisjoint(made[1].__dask_keys__())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", CUTS)
def test_any_chunking_gives_the_same_map(name: str, cut: str) -> None:
    map = operand(0, parameters=CLOSED, order="samples")
    whole = getattr(og, name)(map)
    np.random.seed(0)
    made = getattr(og, name)(cut_at(map, CUTS[cut]))
    check_layout(made)
    if name == "empty_like":
        assert og.equal_metadata(made, whole)
    else:
        assert_identical(made, whole)


@pytest.mark.parametrize("name", NAMES)
def test_chosen_gradients(name: str) -> None:
    call = getattr(og, name)
    for map in (MAP, CUT):
        for given, names in (
            (None, ["cell", "positions"]),
            ("positions", ["positions"]),
            (["positions", "cell"], ["positions", "cell"]),
            (("cell",), ["cell"]),
            ([], []),
        ):
            made = call(map, gradients=given)
            assert all(block.gradients_list() == names for block in made)
            assert og.equal_metadata(made, og.remove_gradients(MAP, {"cell", "positions"} - set(names)))
            if map is CUT:
                check_layout(made)
        nested = call(map, "positions").block(0).gradient("positions")
        assert nested.gradients_list() == ["cell", "positions"]
        block = getattr(og, f"{name}_block")(map.block(0), "cell")
        assert block.gradients_list() == ["cell"]
        assert dask.is_dask_collection(block) == (map is CUT)


# ---- random numbers ----
def test_the_global_generator_gives_the_seed() -> None:
    first, second = og.random_uniform_like(MAP), og.random_uniform_like(MAP)
    assert not og.equal(first, second)
    np.random.seed(0)
    assert_identical(og.random_uniform_like(CUT), first)
    assert_identical(og.random_uniform_like(CUT), second)
    np.random.seed(1)
    assert not og.equal(og.random_uniform_like(MAP), first)


def test_lazy_numbers_do_not_change() -> None:
    made = og.random_uniform_like(CUT)
    assert_identical(made.compute(), made.compute())


def test_no_number_occurs_twice() -> None:
    numbers = np.concatenate([array.ravel() for array in arrays(og.random_uniform_like(MAP))])
    assert len(np.unique(numbers)) == len(numbers) > 500
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 5 * np.sqrt(1 / 12 / len(numbers))


def test_numbers_are_converted_as_upstream_does() -> None:
    wide = og.random_uniform_like(MAP)
    for dtype in (np.float32, np.complex128, np.int64, np.bool_):
        np.random.seed(0)
        narrow = og.random_uniform_like(MAP.to(dtype=dtype))
        for a, b in zip(arrays(wide), arrays(narrow), strict=True):
            assert np.array_equal(a.astype(dtype), b)


def test_narrow_numbers_stay_below_one() -> None:
    """Of 2¹⁶ numbers, some would be rounded to 1 in float16."""
    block = og.block_from_array(np.zeros((2**8, 2**8), np.float16))
    assert og.random_uniform_like(block).values.max() < 1
    assert og.random_uniform_like(block.to(dtype="float64")).values.astype(np.float16).max() == 1


# ---- stored labels ----
@pytest.mark.parametrize("name", NAMES)
def test_tasks_read_the_rows_of_their_chunk(name: str) -> None:
    map = stored(cut_at(operand(0), ONE_ROW))
    with nothing_computed():
        made = getattr(og, name)(map)
    assert Source.reads == []
    computed = made.compute()
    samples = {block.samples.digest for block in map}
    assert {digest for digest, _, _ in Source.reads}.isdisjoint(samples)
    assert og.equal_metadata(computed, operand(0))


# ---- errors ----
@pytest.mark.parametrize("name", [*NAMES, *(f"{name}_block" for name in NAMES)])
def test_errors(name: str) -> None:
    call: Any = getattr(og, name)
    given: Any = MAP.block(0) if name.endswith("_block") else MAP
    match = (
        rf"{name}: requested gradient 'x' is not defined in this tensor, which has \['cell', 'positions'\]"
    )
    for wrong in ("x", ["cell", "x"]):
        with pytest.raises(ValidationError, match=match):
            call(given, wrong)
    with pytest.raises(TypeError, match=f"{name}: gradients must be a str or a list of str, got 3"):
        call(given, 3)
    with pytest.raises(TypeError, match=rf"{name}: \w+ must be a Tensor\w+.*, got int"):
        call(1)
    with pytest.warns(
        UserWarning,
        match=f"{name.removesuffix('_block')}: `requires_grad=True` does nothing for numpy arrays",
    ) as found:
        call(given, requires_grad=True)
    assert len(found) == 1


def test_maps_without_blocks() -> None:
    empty = TensorMap(Labels.empty("key"), [])
    for name in NAMES:
        assert len(getattr(og, name)(empty)) == 0
