"""Dimensions of labels, and components as axes: labels, data, errors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.testing import Parameter, assert_identical, check_gradient, random_block
from tests.support.lazy import check_layout, cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, ONE_ROW, at_every_depth, operand

MAP = operand(0, parameters=CLOSED)
BLOCK = MAP.block(0)
CHANGES: dict[str, Callable[[Any], Any]] = {
    "append": lambda A: og.append_dimension(A, "samples", "x", 3),
    "insert": lambda A: og.insert_dimension(A, "properties", 0, "x", 3),
    "permute": lambda A: og.permute_dimensions(A, "properties", [1, 0]),
    "remove": lambda A: og.remove_dimension(og.append_dimension(A, "properties", "x", 1), "properties", "x"),
    "rename samples": lambda A: og.rename_dimension(A, "samples", "system", "structure"),
    "rename components": lambda A: og.rename_dimension(A, "components", "m", "mu"),
    "rename components of gradients": lambda A: og.rename_dimension(A, "components", "positions_1", "xyz"),
    "rename properties": lambda A: og.rename_dimension(A, "properties", "n", "k"),
}
KEY_CHANGES: dict[str, Callable[[Any], Any]] = {
    "append": lambda A: og.append_dimension(A, "keys", "x", 3),
    "insert": lambda A: og.insert_dimension(A, "keys", 0, "x", [1, 2, 3]),
    "permute": lambda A: og.permute_dimensions(og.append_dimension(A, "keys", "x", 3), "keys", [1, 0]),
    "remove": lambda A: og.remove_dimension(
        og.append_dimension(A, "keys", "x", np.arange(len(A))), "keys", "center_type"
    ),
    "rename": lambda A: og.rename_dimension(A, "keys", "center_type", "type"),
}


# ---- data ----
@pytest.mark.parametrize("name", CHANGES)
def test_arrays_are_shared_at_every_depth(name: str) -> None:
    for block, changed in zip(MAP, CHANGES[name](MAP), strict=True):
        for own, new in zip(at_every_depth(block), at_every_depth(changed), strict=True):
            assert new.values is own.values


@pytest.mark.parametrize("name", CHANGES)
def test_lazy_data_get_no_tasks(name: str) -> None:
    cut = cut_at(MAP, ACROSS_SYSTEMS)
    with nothing_computed():
        changed = CHANGES[name](cut)
    assert dict(changed.__dask_graph__()).keys() == dict(cut.__dask_graph__()).keys()
    check_layout(changed)


@pytest.mark.parametrize("name", CHANGES)
def test_blocks_alone_are_changed_like_those_of_maps(name: str) -> None:
    assert_identical(CHANGES[name](BLOCK), CHANGES[name](MAP).block(0))


@pytest.mark.parametrize("name", KEY_CHANGES)
def test_changes_of_keys_leave_blocks_and_info(name: str) -> None:
    changed = KEY_CHANGES[name](operand(0))
    assert changed.info() == {"source": "seed 0"}
    for block, own in zip(changed, operand(0), strict=True):
        assert_identical(block, own)


@pytest.mark.parametrize("name", [*CHANGES, *KEY_CHANGES])
def test_maps_without_blocks(name: str) -> None:
    empty = TensorMap(Labels.empty("center_type"), [])
    if name in CHANGES:
        assert len(CHANGES[name](empty)) == 0
    if name in KEY_CHANGES and name != "insert":
        assert len(KEY_CHANGES[name](empty)) == 0


# ---- labels ----
def test_an_integer_is_the_value_of_all_entries() -> None:
    for given in (4, np.int64(4), np.uint8(4), np.array(4)):
        changed = og.append_dimension(MAP, "samples", "x", given)
        assert changed.sample_names == ["system", "atom", "x"]
        for own, new in zip(MAP, changed, strict=True):
            assert np.array_equal(new.samples.values, np.insert(own.samples.values, 2, 4, axis=1))


def test_values_of_each_block() -> None:
    values = [np.arange(len(block)) * 2 for block in MAP]
    for given in (values, tuple(values), [own.tolist() for own in values[:2]] + [np.zeros(0, int)]):
        changed = og.insert_dimension(MAP, "samples", 1, "x", given)
        assert changed.sample_names == ["system", "x", "atom"]
        assert [block.samples["x"].tolist() for block in changed] == [own.tolist() for own in values]


@pytest.mark.parametrize(("index", "names"), [(0, "xnl"), (1, "nxl"), (2, "nlx"), (-1, "nxl"), (-2, "xnl")])
def test_positions_of_new_dimensions(index: int, names: str) -> None:
    changed = og.insert_dimension(BLOCK, "properties", index, "x", [7, 8, 9, 10])
    assert changed.properties.names == list(names)
    assert changed.properties["x"].tolist() == [7, 8, 9, 10]
    assert all(own.properties == changed.properties for own in at_every_depth(changed))


def test_gradients_keep_their_samples() -> None:
    for change in ("append", "permute", "remove"):
        for own, new in zip(
            at_every_depth(BLOCK)[1:], at_every_depth(CHANGES[change](BLOCK))[1:], strict=True
        ):
            assert new.samples == own.samples


def test_permuted_dimensions() -> None:
    map = og.append_dimension(MAP, "samples", "x", 9)
    changed = og.permute_dimensions(map, "samples", [2, -3, 1])
    for own, new in zip(map, changed, strict=True):
        assert new.samples.names == ["x", "system", "atom"]
        assert np.array_equal(new.samples.values, own.samples.values[:, [2, 0, 1]])


def test_renamed_samples_are_renamed_in_gradients() -> None:
    for block in at_every_depth(og.rename_dimension(BLOCK, "samples", "system", "structure")):
        assert block.samples.names in (["structure", "atom"], ["sample", "structure", "atom"])
    own = og.rename_dimension(BLOCK, "components", "positions_1", "xyz")
    assert [c.names[0] for c in own.components] == ["m"]
    assert [c.names[0] for c in own.gradient("positions").components] == ["xyz", "m"]
    assert [c.names[0] for c in own.gradient("cell").gradient("positions").components] == ["xyz", "m"]


def test_the_dimension_sample_of_gradients_keeps_its_name() -> None:
    """It is no dimension of the samples, but the position of one of them."""
    block = og.block_from_array(np.ones((2, 3)))
    rows = Labels(["sample", "atom"], [[0, 4], [1, 4]])
    block.add_gradient("x", TensorBlock(np.ones((2, 3)), rows, [], block.properties))
    changed = og.rename_dimension(block, "samples", "sample", "system")
    assert changed.samples.names == ["system"]
    assert changed.gradient("x").samples.names == ["sample", "atom"]


def test_operations_go_on_with_the_new_labels() -> None:
    map = cut_at(MAP, ONE_ROW)
    changed = og.append_dimension(map, "samples", "parity", [block.samples["atom"] % 2 for block in map])
    total = og.sum_over_samples(changed, "atom")
    assert total.sample_names == ["system", "parity"]
    whole = og.append_dimension(MAP, "samples", "parity", [block.samples["atom"] % 2 for block in MAP])
    assert_identical(total, og.sum_over_samples(whole, "atom"))
    doubled = changed + og.append_dimension(MAP, "samples", "parity", [b.samples["atom"] % 2 for b in MAP])
    assert_identical(doubled, og.multiply(whole, 2))


# ---- components ----
PARAMETERS = {"strain": Parameter((3, 3), {"cell": Parameter((2,))}), "cell": Parameter((2,))}


def with_components(dtype: str = "float64", parameters: Any = PARAMETERS) -> TensorMap:
    """Two blocks with three components of different lengths."""
    rng = np.random.default_rng(3)
    blocks = []
    for lengths in ((2, 3, 4), (5, 1, 2)):
        components = [Labels.range(name, size) for name, size in zip("abc", lengths, strict=True)]
        samples, properties = Labels.range("system", 5), Labels.range("n", 3)
        blocks.append(random_block(rng, samples, components, properties, parameters, dtype=dtype))
    return TensorMap(Labels.range("key", 2), blocks)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_components_are_permuted(order: Any) -> None:
    map = with_components()
    changed = og.permute_dimensions(map, "components", list(order))
    assert changed.component_names == ["abc"[place] for place in order]
    for own, new in zip(map, changed, strict=True):
        assert new.components == [own.components[place] for place in order]
        expected = np.einsum(f"sabcp->s{''.join('abc'[place] for place in order)}p", own.values)
        assert np.array_equal(new.values, expected)
        gradient, below = (block.gradient("strain").gradient("cell") for block in (own, new))
        assert below.components == [*gradient.components[:3], *new.components]
        axes = [0, 1, 2, 3, *(4 + place for place in order), 7]
        assert np.array_equal(below.values, gradient.values.transpose(axes))
        assert below.values.flags.c_contiguous
    names = {name: place for place, name in enumerate(changed.component_names)}
    assert_identical(og.permute_dimensions(changed, "components", [names[name] for name in "abc"]), map)


COMPONENT_CALLS: dict[str, Callable[[Any], Any]] = {
    "permute": lambda A: og.permute_dimensions(A, "components", [2, 0, 1]),
    "sum a": lambda A: og.sum_over_components(A, "a"),
    "sum c": lambda A: og.sum_over_components(A, ["c"]),
    "sum c, a": lambda A: og.sum_over_components(A, ["c", "a"]),
    "sum all": lambda A: og.sum_over_components(A, ("a", "b", "c")),
    "sum none": lambda A: og.sum_over_components(A, []),
}
SUMMED = {"sum a": (1,), "sum c": (3,), "sum c, a": (1, 3), "sum all": (1, 2, 3), "sum none": ()}


@pytest.mark.parametrize("name", SUMMED)
def test_components_are_summed(name: str) -> None:
    axes = SUMMED[name]
    map = with_components()
    for own, new in zip(map, COMPONENT_CALLS[name](map), strict=True):
        assert new.components == [c for place, c in enumerate(own.components) if place + 1 not in axes]
        np.testing.assert_array_equal(new.values, own.values.sum(axis=axes))
        before, after = own.gradient("strain"), new.gradient("strain")
        np.testing.assert_array_equal(after.values, before.values.sum(axis=tuple(axis + 2 for axis in axes)))
        assert after.samples == before.samples
        assert after.components == [*before.components[:2], *new.components]


@pytest.mark.parametrize("name", COMPONENT_CALLS)
def test_gradients_of_components_are_finite_differences(name: str) -> None:
    for parameters in (PARAMETERS, {"positions": Parameter((3,), {"positions": Parameter((3,))})}):
        check_gradient(COMPONENT_CALLS[name], with_components(parameters=parameters), directions=2)


@pytest.mark.parametrize("edges", [[0, 5], [0, 1, 2, 3, 4, 5], [0, 0, 2, 2, 5]])
@pytest.mark.parametrize("name", COMPONENT_CALLS)
def test_components_in_any_chunks(name: str, edges: list[int]) -> None:
    map = with_components()
    for block in map:  # numbers whose sums are rounded
        for own in at_every_depth(block):
            own.values[:] = own.values * 0.1 + 1e-3
    cut = cut_at(map, [edges, edges])
    with nothing_computed():
        result = COMPONENT_CALLS[name](cut)
    check_layout(result)
    assert_identical(result, COMPONENT_CALLS[name](map))
    assert_identical(
        og.sum_over_components_block(map.block(1), "b"), og.sum_over_components(map, "b").block(1)
    )


def test_components_are_added_in_float64() -> None:
    block = og.block_from_array(np.array([1e8, 1, 1, 1, -1e8], np.float32)[None, :, None])
    total = og.sum_over_components(block, "component_1")
    assert total.dtype == np.float32
    assert total.values.item() == 3


def test_components_in_the_same_order_need_no_tasks() -> None:
    cut = cut_at(with_components(), [[0, 2, 5], [0, 2, 5]])
    assert og.permute_dimensions(cut, "components", [0, 1, 2]).__dask_keys__() == cut.__dask_keys__()


# ---- errors ----
@pytest.mark.parametrize("name", ["append_dimension", "insert_dimension"])
def test_errors_of_new_dimensions(name: str) -> None:
    place = (0,) if name == "insert_dimension" else ()

    def call(axis: Any, values: Any, label: str = "x", tensor: Any = MAP) -> Any:
        return getattr(og, name)(tensor, axis, *place, label, values)

    for match, arguments in {
        rf"{name}: 'components' is not a valid axis. Choose from 'keys', 'samples', 'p": ("components", 0),
        rf"{name}: 'blocks' is not a valid axis": ("blocks", 0),
        rf"{name}: the samples of block 1 have 4 entries, but the values of 'x' have shape \(7,\); gi": (
            "samples",
            np.zeros(7, int),
        ),
        rf"{name}: the keys have 3 entries, but the values of 'x' have shape \(2,\)": ("keys", [0, 1]),
        rf"{name}: values is a list of 2 arrays for the samples of 3 block\(s\); give an int, an arr": (
            "samples",
            [np.zeros(7, int), np.zeros(4, int)],
        ),
        rf"{name}: values is a list of 3 arrays for the keys": ("keys", [[1], [2], [3]]),
        rf"{name}: Labels: names must differ, found 'n' twice": ("properties", 0, "n"),
        rf"{name}: Labels: the name '2n' is not valid": ("properties", 0, "2n"),
        rf"{name}: Labels: values must fit into 32-bit integers": ("samples", 2**40),
    }.items():
        with pytest.raises(ValidationError, match=match):
            call(*arguments)
    for wrong in (1.5, None, "text"):
        with pytest.raises(TypeError, match=f"{name}: values must be integers, got {type(wrong).__name__}"):
            call("samples", wrong)
    with pytest.raises(TypeError, match="must be integers, found dtype float64"):
        call("keys", np.full(3, 0.5))
    with pytest.raises(TypeError, match=f"{name}: tensor must be a TensorMap or a TensorBlock, got int"):
        call("samples", 0, tensor=3)
    with pytest.raises(ValidationError, match=f"{name}: axis is 'keys', but a block has no keys; choose"):
        call("keys", 0, tensor=BLOCK)


def test_positions_that_do_not_exist() -> None:
    for index in (3, -3):
        with pytest.raises(IndexError, match=f"insert: position {index} is out of range for 2 dimensions"):
            og.insert_dimension(MAP, "samples", index, "x", 0)


@pytest.mark.parametrize("order", [[0], [0, 0], [0, 2], [0, 1, 2], [-3, 0], []])
@pytest.mark.parametrize("axis", ["samples", "properties"])
def test_errors_of_permutations(axis: str, order: list[int]) -> None:
    match = rf"permute_dimensions: dimensions_indexes is \[.*\], but the {axis} have dimensions \["
    with pytest.raises(ValidationError, match=match):
        og.permute_dimensions(MAP, axis, order)
    with pytest.raises(ValidationError, match=r"the components have dimensions \['a', 'b', 'c'\]; give"):
        og.permute_dimensions(with_components(), "components", [*order, 2])
    with pytest.raises(ValidationError, match=r"Choose from 'keys', 'samples', 'properties', 'components'"):
        og.permute_dimensions(MAP, "block", order)


def test_errors_of_removed_dimensions() -> None:
    for tensor, axis, name, match in (
        (MAP, "samples", "x", r"remove_dimension: 'x' not found in the samples, whose dimensions are \['sys"),
        (
            MAP,
            "keys",
            "center_type",
            "remove_dimension: 'center_type' is the only dimension of the keys; one",
        ),
        (MAP, "components", "m", "remove_dimension: 'components' is not a valid axis"),
        (
            MAP,
            "samples",
            "atom",
            r"without 'atom' the samples of block 0 are not unique: .*\(system=0\) in ro",
        ),
        (
            MAP,
            "properties",
            "l",
            r"without 'l' the properties of block 0 are not unique: .*\(n=0\) in rows 0 a",
        ),
    ):
        with pytest.raises(ValidationError, match=match):
            og.remove_dimension(tensor, axis, name)
    twice = og.append_dimension(TensorMap(Labels.range("a", 2), [BLOCK, BLOCK]), "keys", "b", 1)
    with pytest.raises(
        ValidationError, match=r"without 'a' the keys are not unique: .*\(b=1\) in rows 0 and 1"
    ):
        og.remove_dimension(twice, "keys", "a")


def test_errors_of_new_names() -> None:
    for axis, old, new, match in (
        ("samples", "x", "y", "rename_dimension: 'x' not found in the samples, whose"),
        ("keys", "x", "y", "rename_dimension: 'x' not found in the keys"),
        ("properties", "n", "l", "rename_dimension: 'n' cannot become 'l': Labels: names must differ"),
        (
            "properties",
            "n",
            "1",
            "rename_dimension: 'n' cannot become '1': Labels: the name '1' is not valid",
        ),
        ("samples", "system", "sample", "'system' cannot become 'sample': Labels: names must differ"),
        (
            "components",
            "x",
            "y",
            r"'x' not found in the components, whose dimensions are \['m', 'positions_1'",
        ),
        (
            "components",
            "m",
            "positions_1",
            "'m' cannot become 'positions_1', already a component; use another",
        ),
        (
            "block",
            "m",
            "mu",
            "'block' is not a valid axis. Choose from 'keys', 'samples', 'properties', 'comp",
        ),
    ):
        with pytest.raises(ValidationError, match=match):
            og.rename_dimension(MAP, axis, old, new)
    with pytest.raises(TypeError, match="rename_dimension: tensor must be a TensorMap"):
        og.rename_dimension(None, "components", "m", "mu")  # type: ignore[type-var]


def test_errors_of_sums_over_components() -> None:
    with pytest.raises(
        ValidationError, match=r"\['x'\] not found in the components of the values, which are \['a"
    ):
        og.sum_over_components(with_components(), ["a", "x"])
    with pytest.raises(ValidationError, match=r"\['positions_1'\] not found in the components of the values"):
        og.sum_over_components(MAP, "positions_1")
    with pytest.raises(TypeError, match="component_names must be a str or a list of str, got 3"):
        og.sum_over_components(MAP, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sum_over_components: tensor must be a TensorMap"):
        og.sum_over_components(1, "m")  # type: ignore[type-var]
