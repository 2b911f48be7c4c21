"""Joins: labels, gradient rows, chunks, laws, and parity with metatensor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.testing import Parameter, assert_identical, random_block
from outgrad.testing.strategies import tensor_maps
from tests.ops.cases_combine import (
    later_atoms_first,
    later_systems,
    other_keys,
    other_properties,
    renamed_properties,
    two_of_three,
    with_properties,
)
from tests.support import EXAMPLES
from tests.support.lazy import check_layout, chunks_of, cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, EMPTY_CHUNKS, KEYS, ONE_ROW, SAMPLES, operand
from tests.support.stored import Source, stored

A, B = operand(0), operand(1)
BLOCK = A.block(0)


# ---- labels of the result ----
def test_samples_stand_behind_each_other() -> None:
    joined = og.join([A, later_systems(B)], "samples").block(0)
    assert joined.samples.names == ["system", "atom"]
    count = len(SAMPLES[0])
    assert np.array_equal(joined.samples.values[:count], SAMPLES[0].values)
    assert np.array_equal(joined.samples.values[count:], SAMPLES[0].values + np.int32([10, 0]))
    for name, gradient in joined.gradients():
        own = [map.block(0).gradient(name).samples.values for map in (A, B)]
        expected = np.concatenate([own[0], own[1] + np.int32([count] + [0] * (own[1].shape[1] - 1))])
        assert np.array_equal(gradient.samples.values, expected)


def test_a_new_dimension_holds_the_number_of_the_map() -> None:
    joined = og.join([A, B, A], "samples", add_dimension="part").block(0)
    assert joined.samples.names == ["system", "atom", "part"]
    assert joined.samples["part"].tolist() == [0] * 7 + [1] * 7 + [2] * 7
    joined = og.join([A, B], "properties", add_dimension="part").block(0)
    assert joined.properties.names == ["n", "l", "part"]
    assert joined.properties["part"].tolist() == [0] * 4 + [1] * 4
    keys = og.join([A, B], "keys", add_dimension="part").keys
    assert keys.names == ["center_type", "part"]
    assert keys.values.tolist() == [[6, 0], [1, 0], [8, 0], [6, 1], [1, 1], [8, 1]]


def test_dimensions_of_samples_follow_the_first_map() -> None:
    joined = og.join([A, later_atoms_first(B)], "samples")
    assert_identical(joined, og.join([A, later_systems(B)], "samples"))
    joined = og.join([later_atoms_first(B), A], "samples")
    assert joined.block(0).samples.names == ["atom", "system"]
    assert joined.block(0).samples["system"].tolist() == [10, 10, 11, 11, 11, 13, 13, 0, 0, 1, 1, 1, 3, 3]


def test_properties_of_other_names_are_numbered() -> None:
    joined = og.join([A, renamed_properties(B)], "properties")
    assert joined.property_names == ["joined_index", "property"]
    assert joined.block(1).properties.values.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    swapped = with_properties(B, lambda labels: labels.permute([1, 0]))
    assert og.join([A, swapped], "properties").property_names == ["joined_index", "property"]
    union = og.join([A, two_of_three(renamed_properties(B))], "properties", different_keys="union")
    assert union.property_names == ["joined_index", "property"]
    assert union.block(3).properties.values.tolist() == [[1, 0], [1, 1]]
    assert union.block(1).properties.values.tolist() == [[0, 0], [0, 1]]


def test_gradient_rows_are_united_along_properties() -> None:
    """Where maps agree rows keep their order; a row that one map lacks is zero there."""
    joined = og.join([A, other_properties(B)], "properties").block(0)
    for name, gradient in joined.gradients():
        parts = [map.block(0).gradient(name) for map in (A, B)]
        rows = [{*map(tuple, part.samples.values.tolist())} for part in parts]
        found = gradient.samples.values.tolist()
        assert {*map(tuple, found)} == rows[0] | rows[1]
        for number, part in enumerate(parts):
            values = gradient.values[..., 4 * number : 4 * number + 4]
            there = np.array([tuple(row) in rows[number] for row in found])
            assert not values[~there].any()
            at = [part.samples.position(row) for row, is_there in zip(found, there, strict=True) if is_there]
            assert np.array_equal(values[there], part.values[at])


def rows_in_order(rows: list[list[int]], shift: int = 0) -> TensorBlock:
    rng = np.random.default_rng(len(rows))
    samples, properties = Labels.range("system", 3), Labels("n", [[shift], [shift + 1]])
    block = TensorBlock(rng.random((3, 2)), samples, [], properties)
    gradient = TensorBlock(rng.random((len(rows), 2)), Labels(["sample", "atom"], rows), [], properties)
    block.add_gradient("x", gradient)
    return block


@pytest.mark.parametrize("target_bytes", [1, 10**6])
@pytest.mark.parametrize("cuts", [([0, 3], [0, 3]), ([0, 1, 3], [0, 2, 3]), ([0, 0, 1, 2, 3], [0, 3])])
def test_rows_of_a_sample_on_which_all_agree_keep_their_order(cuts: Any, target_bytes: int) -> None:
    """Also where chunks of one block meet several chunks of another."""
    a = rows_in_order([[0, 5], [0, 4], [1, 2], [1, 1], [2, 9], [2, 3]])
    b = rows_in_order([[0, 5], [0, 4], [1, 1], [1, 3], [2, 9], [2, 3]], shift=7)
    whole = og.join_blocks([a, b], "properties")
    expected = [[0, 5], [0, 4], [1, 1], [1, 2], [1, 3], [2, 9], [2, 3]]
    assert whole.gradient("x").samples.values.tolist() == expected
    with dask.config.set({"outgrad.chunk-bytes": target_bytes}):
        lazy = og.join_blocks([cut_at(a, [cuts[0]]), cut_at(b, [cuts[1]])], "properties")
        assert_identical(lazy, whole)


def test_keys_of_some_maps() -> None:
    maps = [A, two_of_three(later_systems(B))]
    union = og.join(maps, "samples", different_keys="union")
    assert union.keys["center_type"].tolist() == [6, 1, 8, 5]
    assert_identical(union.block(1), A.block(1))
    assert union.block(3).samples == maps[1].block(2).samples
    assert og.join(maps, "samples", different_keys="intersection").keys["center_type"].tolist() == [6, 8]
    one = TensorMap(Labels("center_type", [[8]]), [maps[1].block(0)])
    assert og.join([A, one], "samples", different_keys="intersection").keys["center_type"].tolist() == [8]
    none = other_keys(later_systems(B))
    for form in (A, cut_at(A, ONE_ROW)):
        nothing = og.join([form, none], "samples", different_keys="intersection")
        assert len(nothing) == 0
        assert nothing.keys.names == ["center_type"]
        assert dask.is_dask_collection(nothing) == dask.is_dask_collection(form)


def test_keys_may_come_in_any_order() -> None:
    other = later_systems(B)
    turned = TensorMap(Labels(KEYS.names, KEYS.values[::-1]), other.blocks()[::-1])
    assert_identical(og.join([A, turned], "samples"), og.join([A, other], "samples"))


def test_info_on_which_all_agree() -> None:
    maps = [operand(0) for _ in range(3)]
    maps[0].set_info("unit", "eV")
    maps[1].set_info("unit", "eV")
    maps[2].set_info("note", "third")
    maps[2].set_info("source", "other")
    for axis in ("samples", "properties", "keys"):
        info = og.join(maps, axis, add_dimension="part").info()
        assert info == {"unit": "eV", "note": "third"}


def test_one_map() -> None:
    for axis in ("samples", "properties", "keys"):
        assert_identical(og.join([A], axis), A)
        assert og.join([A], axis) is not A
    assert og.join([A], "keys", add_dimension="part").keys["part"].tolist() == [0, 0, 0]
    assert og.join([A], "samples", add_dimension="part").block(0).samples["part"].tolist() == [0] * 7
    assert_identical(og.join_blocks([BLOCK], "samples"), BLOCK)


def test_dtypes_are_promoted() -> None:
    narrow = A.to(dtype="float32")
    for axis in ("samples", "properties", "keys"):
        joined = og.join([narrow, B], axis, add_dimension="part")
        assert {block.dtype for block in joined} == {np.dtype("float64")}
        lazy = og.join([cut_at(narrow, ONE_ROW), B], axis, add_dimension="part")
        assert lazy.dtype == np.float64
        assert_identical(lazy, joined)
    joined = og.join([narrow, two_of_three(B)], "samples", "union", add_dimension="part")
    assert {block.dtype for block in joined} == {np.dtype("float64")}


def test_maps_without_blocks() -> None:
    empty = TensorMap(Labels.empty("center_type"), [])
    assert_identical(og.join([empty, A], "samples", "union").block(0), BLOCK)
    assert_identical(og.join([A, empty], "keys"), A)
    for axis in ("samples", "properties", "keys"):
        assert len(og.join([empty, empty], axis)) == 0


def test_gradients_of_gradients() -> None:
    a, b = operand(0, parameters=CLOSED), later_systems(operand(1, parameters=CLOSED))
    joined = og.join([a, b], "samples").block(0).gradient("positions").gradient("cell")
    own = [map.block(0).gradient("positions") for map in (a, b)]
    tables = [gradient.gradient("cell").samples.values for gradient in own]
    shifted = tables[1] + np.int32([len(own[0])] + [0] * (tables[1].shape[1] - 1))
    assert np.array_equal(joined.samples.values, np.concatenate([tables[0], shifted]))


def test_blocks() -> None:
    other = later_systems(B)
    for number in range(3):
        pair = [A.block(number), other.block(number)]
        assert_identical(og.join_blocks(pair, "samples"), og.join([A, other], "samples").block(number))
        pair = [A.block(number), other_properties(B).block(number)]
        expected = og.join([A, other_properties(B)], "properties").block(number)
        assert_identical(og.join_blocks(tuple(pair), "properties"), expected)
    gradient = BLOCK.gradient("cell")
    twice = og.join_blocks([gradient, gradient], "samples", add_dimension="part")
    assert twice.shape[0] == 2 * len(gradient)


# ---- lazily ----
def test_chunks_of_samples_stay() -> None:
    """Chunks are put behind each other, and small ones together."""
    a, b = cut_at(A, ONE_ROW), cut_at(later_systems(B), EMPTY_CHUNKS)
    with dask.config.set({"outgrad.chunk-bytes": 1}):
        joined = og.join([a, b], "samples")
    assert joined.block(0).chunks == (1, 1, 1, 1, 1, 1, 1, 2, 3, 2)
    assert og.join([a, b], "samples").block(0).chunks == (14,)
    check_layout(joined)


def test_wide_rows_are_cut_anew() -> None:
    """Ten maps side by side would make chunks of ten times the size."""
    samples = Labels.range("system", 40)
    rng = np.random.default_rng(0)
    block = random_block(rng, samples, [], Labels.range("n", 4), {"cell": Parameter()}, sparsity=1)
    map = TensorMap(Labels.single(), [block])
    with dask.config.set({"outgrad.chunk-bytes": 2000}):
        lazy = og.join([map.chunk(2000)] * 10, "properties", add_dimension="part")
        outline = lazy._blocks().to_compute.outlines[0]  # type: ignore[union-attr]
        assert outline.chunk_bytes.max() <= 2000
    assert_identical(lazy, og.join([map] * 10, "properties", add_dimension="part"))
    sizes = [chunk.nbytes for chunk in chunks_of(lazy)[0]]
    assert max(sizes) < 3000


def test_equal_rows_side_by_side_are_not_read() -> None:
    map = stored(cut_at(A, ACROSS_SYSTEMS))
    with nothing_computed():
        joined = og.join([map, 2 * map, map / 3], "properties", add_dimension="part")
    rows = {labels.samples.digest for m in A._blocks().metadata for _, labels in m.walk()}
    assert not rows & {digest for digest, _, _ in Source.reads}
    assert_identical(joined, og.join([A, 2 * A, A / 3], "properties", add_dimension="part"))


def test_keys_read_nothing() -> None:
    map = stored(cut_at(A, ACROSS_SYSTEMS))
    joined = og.join([map, 2 * map], "keys", add_dimension="part")
    assert Source.reads == []
    assert_identical(joined, og.join([A, 2 * A], "keys", add_dimension="part"))


@pytest.mark.parametrize("axis", ["samples", "properties", "keys"])
def test_tasks_grow_with_the_number_of_maps(axis: str) -> None:
    """Twice the maps, twice the tasks, not four times."""
    counts = []
    for number in (20, 40):
        maps = [cut_at(A, ACROSS_SYSTEMS)] + [cut_at(k * A, ACROSS_SYSTEMS) for k in range(2, number + 1)]
        before = {key for map in maps for key in map.__dask_graph__()}
        joined = og.join(maps, axis, add_dimension="part")
        counts.append(
            sum(len(t.dependencies) for k, t in dict(joined.__dask_graph__()).items() if k not in before)
        )
    assert counts[1] <= 2.1 * counts[0]


def calls_of_joining(axis: str, number: int) -> int:
    """How many functions are called to join so many maps."""
    maps = [k * A for k in range(1, number + 1)]
    count = 0

    def counted(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        og.join(maps, axis, add_dimension="part")
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("axis", ["samples", "properties", "keys"])
def test_work_grows_with_the_number_of_maps(axis: str) -> None:
    assert calls_of_joining(axis, 80) <= 2.2 * calls_of_joining(axis, 40)


# ---- laws ----
@given(tensor_maps(nested=True, max_blocks=2), st.data())
def test_a_join_of_the_parts_is_the_whole(map: TensorMap, data: Any) -> None:
    names = {"samples": 0, "properties": -1}
    axis = data.draw(st.sampled_from(sorted(names)))
    at = [data.draw(st.integers(0, block.shape[names[axis]])) for block in map]
    parts = [
        TensorMap(
            map.keys,
            [
                og.slice_block(block, axis, list(range(*span(n, block.shape[names[axis]]))))
                for n, block in zip(at, map, strict=True)
            ],
        )
        for span in (lambda n, count: (0, n), lambda n, count: (n, count))
    ]
    joined = og.join(parts, axis)
    if axis == "samples":
        assert_identical(joined, map)
    else:
        og.allclose_raise(joined, map, rtol=0, atol=0)
    lazy = [part.chunk(target_bytes=data.draw(st.sampled_from([1, 100, 10**4]))) for part in parts]
    assert_identical(og.join(lazy, axis), joined)


@given(tensor_maps(max_blocks=2), tensor_maps(max_blocks=3))
def test_joins_of_joins(a: TensorMap, b: TensorMap) -> None:
    """Joining in two steps is joining in one."""
    if a.block(0).gradients_list() != b.block(0).gradients_list() or a.component_names != b.component_names:
        return
    keys = [map_.keys.append("map", np.full(len(map_), n)) for n, map_ in enumerate((a, b, a))]
    maps = [TensorMap(key, map_.blocks()) for key, map_ in zip(keys, (a, b, a), strict=True)]
    once = og.join(maps, "keys")
    assert_identical(og.join([og.join(maps[:2], "keys"), maps[2]], "keys"), once)


# ---- parity with metatensor ----
upstream = pytest.importorskip("metatensor")
pytest.importorskip("metatensor.operations")
interop = pytest.importorskip("outgrad.interop.metatensor")


def agree(ours: TensorMap, theirs: Any, rows: bool = True) -> None:
    """Compare with upstream's result; along properties it appends rows that are new, which we sort."""
    found = interop.from_metatensor(theirs)
    if not rows:
        found, ours = (sorted_rows(map) for map in (found, ours))
    og.equal_raise(ours, found)


def sorted_rows(map: TensorMap) -> TensorMap:
    """The same with sorted gradient rows."""

    def of(block: TensorBlock) -> TensorBlock:
        made = TensorBlock(np.asarray(block.values), block.samples, block.components, block.properties)
        for name, gradient in block.gradients():
            order = np.lexsort(gradient.samples.values.T[::-1])
            rows = Labels(gradient.samples.names, gradient.samples.values[order])
            made.add_gradient(
                name,
                TensorBlock(gradient.values[order], rows, gradient.components, gradient.properties),
            )
        return made

    return TensorMap(map.keys, [of(block) for block in map.compute()])


@pytest.mark.parametrize("different_keys", ["error", "intersection", "union"])
@pytest.mark.parametrize("axis", ["samples", "properties"])
@pytest.mark.parametrize("add_dimension", [None, "part"])
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 1.0])
def test_random_maps(axis: str, different_keys: str, add_dimension: str | None, sparsity: float) -> None:
    a, b, c = (operand(seed, sparsity=sparsity) for seed in range(3))
    change = later_systems if axis == "samples" else other_properties
    maps = [a, change(b), change(change(c))]
    if different_keys != "error":
        maps[1] = two_of_three(maps[1])
    theirs = [interop.to_metatensor(map) for map in maps]
    settings = {"different_keys": different_keys, "add_dimension": add_dimension}
    expected = upstream.join(theirs, axis, **settings)
    agree(og.join(maps, axis, **settings), expected, rows=axis == "samples")
    lazy = [cut_at(map, ACROSS_SYSTEMS) if len(map.block(0)) == 7 else map for map in maps]
    agree(og.join(lazy, axis, **settings), expected, rows=axis == "samples")


def test_other_property_names_of_upstream() -> None:
    maps = [A, renamed_properties(B)]
    expected = upstream.join([interop.to_metatensor(map) for map in maps], "properties")
    agree(og.join(maps, "properties"), expected, rows=False)


@pytest.mark.parametrize("axis", ["samples", "properties"])
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_real_maps(axis: str, file: Path) -> None:
    given_ = upstream.load(str(file))
    ours = interop.from_metatensor(given_)
    settings = {"add_dimension": "part"}
    expected = upstream.join([given_, upstream.multiply(given_, 2)], axis, **settings)
    agree(og.join([ours, 2 * ours], axis, **settings), expected)
    chunked = ours.chunk(target_bytes=20_000)
    agree(og.join([chunked, 2 * chunked], axis, **settings), expected)
