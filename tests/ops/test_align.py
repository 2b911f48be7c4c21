"""Operands whose keys and samples differ, or come in another order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, NotEqualError, TensorBlock, TensorMap, ValidationError
from outgrad.testing import Parameter, assert_identical, random_block
from outgrad.testing.strategies import labels
from tests.ops.cases_combine import (
    INNER_KEYS,
    OUTER_KEYS,
    backwards,
    by_sample,
    last_key_first,
    overlapping,
    relabelled,
    two_of_three,
    with_properties,
)
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, ONE_ROW, operand
from tests.support.stored import Source, stored

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")

A, B = operand(0), operand(1)
NAMES = ["add", "subtract", "multiply", "divide", "pow"]
FUNCTIONS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "pow": np.power,
}


def positive(map: TensorMap) -> TensorMap:
    return og.add(og.abs(map), 1)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("align", ["inner", "outer"])
@pytest.mark.parametrize("name", NAMES)
def test_values_of_every_operation(name: str, align: Any, chunked: bool) -> None:
    """What is missing is zero: dividing by it gives what NumPy gives."""
    a, b = positive(A), positive(B)
    keys = INNER_KEYS if align == "inner" else OUTER_KEYS
    expected = by_sample(FUNCTIONS[name], align, keys)(a, b)
    other = two_of_three(overlapping(b))
    if chunked:
        a = cut_at(a, ACROSS_SYSTEMS)
    result = getattr(og, name)(a, other, align=align)
    assert result.keys["center_type"].tolist() == ([6, 8] if align == "inner" else [6, 1, 8, 5])
    for block, values in zip(result.compute(), expected, strict=True):
        np.testing.assert_allclose(block.values, values, rtol=1e-14)


def test_order_of_samples() -> None:
    other = overlapping(B)
    inner, outer = og.add(A, other, align="inner"), og.add(A, other, align="outer")
    assert inner.block(0).samples.values.tolist() == [[1, 0], [3, 0]]
    assert inner.block(1).samples == A.block(1).samples
    rows = outer.block(0).samples.values.tolist()
    assert rows == sorted(rows)
    assert {*map(tuple, rows)} == {
        *map(tuple, A.block(0).samples.values.tolist()),
        *map(tuple, other.block(0).samples.values.tolist()),
    }
    assert outer.block(1).samples.values.tolist() == sorted(A.block(1).samples.values.tolist())


def test_samples_that_agree_keep_their_order() -> None:
    """Those of block 1 are not sorted."""
    for align in ("inner", "outer"):
        assert_identical(og.add(A, B, align=align), A + B)  # type: ignore[arg-type]


def test_the_order_of_the_second_makes_no_difference() -> None:
    turned = backwards(B)
    again = TensorMap(
        B.keys, [og.slice_block(block, "samples", list(range(len(block)))[::-1]) for block in turned]
    )
    assert_identical(og.multiply(A, turned), og.multiply(A, again))
    assert_identical(A * last_key_first(turned), A * turned)
    assert [block.samples for block in A * turned] == [block.samples for block in A]


def test_blocks_alone() -> None:
    for number in range(3):
        a, b = A.block(number), overlapping(B).block(number)
        for align in ("inner", "outer"):
            whole = og.add(A, overlapping(B), align=align)  # type: ignore[arg-type]
            assert_identical(og.add(a, b, align=align), whole.block(number))  # type: ignore[arg-type]
    assert_identical(A.block(1) + backwards(B).block(1), (A + backwards(B)).block(1))


def test_info_and_keys_are_those_of_the_first() -> None:
    result = og.add(A, two_of_three(B), align="inner")
    assert result.info() == {"source": "seed 0"}
    assert result.keys.values.tolist() == [[6], [8]]


def test_numbers_need_no_alignment() -> None:
    assert_identical(og.add(A, 2, align="outer"), A + 2)


# ---- maps without blocks, keys without partner ----
NO_BLOCKS = TensorMap(Labels.empty("center_type"), [])


def test_maps_without_blocks() -> None:
    for empty in (NO_BLOCKS, og.add(A, NO_BLOCKS, align="inner")):
        assert len(empty) == 0
        zero = 0 * A
        assert_identical(og.add(A, empty, align="outer"), A + og.remove_gradients(zero, []))
        assert_identical(relabelled(og.add(empty, A, align="outer")), relabelled(A))
        assert_identical(og.add(cut_at(A, ACROSS_SYSTEMS), empty, align="outer"), A)
        assert len(og.add(empty, A, align="inner")) == 0
    assert len(og.add(NO_BLOCKS, NO_BLOCKS, align="outer")) == 0


def test_blocks_that_one_map_lacks_have_no_gradient_rows_of_it() -> None:
    result = og.add(A, two_of_three(B), align="outer")
    assert_identical(result.block(1), A.block(1))
    assert_identical(result.block(3), B.block(1))
    product = og.multiply(A, two_of_three(B), align="outer")
    assert product.block(3).gradient("cell").samples == B.block(1).gradient("cell").samples
    assert not product.block(3).values.any()
    assert not product.block(3).gradient("cell").values.any()


def test_dtypes_are_promoted_in_every_block() -> None:
    result = og.add(A.to(dtype="float32"), two_of_three(B), align="outer")
    assert {block.dtype for block in result} == {np.dtype("float64")}
    assert {g.dtype for block in result for _, g in block.gradients()} == {np.dtype("float64")}
    narrow = two_of_three(B).to(dtype="float32")
    for align in ("inner", "outer"):
        wide = og.add(A, narrow.to(dtype="float64"), align=align)  # type: ignore[arg-type]
        assert_identical(og.add(A, narrow, align=align), wide)  # type: ignore[arg-type]
    lazy = og.add(cut_at(A.to(dtype="float32"), ACROSS_SYSTEMS), two_of_three(B), align="outer")
    assert lazy.dtype == np.float64
    assert_identical(lazy, result)


# ---- laziness ----
def graph_added(result: TensorMap, *maps: TensorMap) -> set[Any]:
    return set(result.__dask_graph__()) - {key for map in maps for key in map.__dask_graph__()}


def test_equal_digests_need_no_read_and_no_task() -> None:
    a, b = stored(cut_at(A, ACROSS_SYSTEMS)), cut_at(B, ACROSS_SYSTEMS)
    b = TensorMap._of(b.keys, replace(b._blocks(), metadata=a._blocks().metadata), {})
    for align in (None, "inner", "outer"):
        with nothing_computed():
            result = og.subtract(a, b, align=align)  # type: ignore[arg-type]
        assert len(graph_added(result, a, b)) == len(a.__dask_keys__())
    assert Source.reads == []


def test_blocks_that_agree_are_not_read() -> None:
    """Only the block whose samples differ is looked at."""
    turned = backwards(A)._blocks().metadata[1]
    same = A._blocks().metadata
    other = TensorMap._of(A.keys, replace(A._blocks(), metadata=(same[0], turned, same[2])), {})
    expected = A + other
    a, b = (cut_at(map, ACROSS_SYSTEMS) for map in (A, other))
    below = [own for metadata in same[::2] for _, own in metadata.walk()]
    known = {own.samples.digest for own in below}
    result = stored(a) + stored(b)
    assert not known & {digest for digest, _, _ in Source.reads}
    assert turned.samples.digest in {digest for digest, _, _ in Source.reads}
    assert_identical(result, expected)


def test_reordering_takes_only_what_is_needed() -> None:
    """Each task is given the rows of its own samples; no task holds a whole block."""
    count = 60
    table = np.column_stack([np.arange(count), np.zeros(count, np.int32)])
    rng = np.random.default_rng(0)
    labels = Labels(["system", "atom"], table)
    turned = Labels(["system", "atom"], table[rng.permutation(count)])
    properties = Labels.range("n", 4)
    edges = [list(range(0, count + 1, 2))]
    a, b = (
        cut_at(TensorMap(Labels.single(), [TensorBlock(rng.random((count, 4)), own, [], properties)]), edges)
        for own in (labels, turned)
    )
    with dask.config.set({"outgrad.chunk-bytes": 64}):
        result = a + b
    tasks = dict(result.__dask_graph__())
    most = max(len(task.dependencies) for task in tasks.values() if hasattr(task, "dependencies"))
    assert most <= 4
    at = {tuple(row): n for n, row in enumerate(turned.values.tolist())}
    order = [at[tuple(row)] for row in table.tolist()]
    assert np.array_equal(
        result.compute().block().values, a.compute().block().values + b.compute().block().values[order]
    )


def test_samples_that_only_the_second_has_follow_those_of_the_first() -> None:
    """The first gives the first rows of the union, in its own order, and none after them."""
    properties = Labels.range("n", 2)
    first, second = (
        TensorBlock(np.full((4, 2), value), Labels("system", [[s + n] for n in range(4)]), [], properties)
        for s, value in ((0, 1.0), (4, 2.0))
    )
    lazy = [block.chunk(target_bytes=16) for block in (first, second)]
    result = og.add(*lazy, align="outer")
    assert result.compute().values[:, 0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert_identical(result, og.add(first, second, align="outer"))
    assert_identical(og.add(lazy[0], second, align="outer"), og.add(first, second, align="outer"))


# ---- laws ----
@st.composite
def alignable(draw: st.DrawFn) -> TensorMap:
    """Maps with a few keys and samples in any order, such that several have some in common."""
    keys = draw(labels("key", max_size=3, low=0, high=3))
    blocks = [
        random_block(
            np.random.default_rng(draw(st.integers(0, 1000))),
            draw(labels(["system", "atom"], max_size=5, low=0, high=2)),
            [],
            Labels.range("n", 2),
            {"cell": Parameter(), "positions": Parameter((3,))},
            sparsity=0.5,
            order=draw(st.sampled_from(["sorted", "samples"])),
        )
        for _ in keys
    ]
    return TensorMap(keys, blocks)


@given(alignable(), alignable(), st.sampled_from([1, 100, 10_000]))
def test_laws(a: TensorMap, b: TensorMap, target_bytes: int) -> None:
    inner, outer = og.add(a, b, align="inner"), og.add(a, b, align="outer")
    assert {*outer.keys} == {*a.keys} | {*b.keys}
    assert {*inner.keys} == {*a.keys} & {*b.keys}
    for key, block in inner.items():
        found = og.slice_block(outer.block(key), "samples", block.samples)
        assert {*block.samples} == {*a.block(key).samples} & {*b.block(key).samples}
        assert np.array_equal(found.values, block.values)
        for name, gradient in block.gradients():
            assert {*found.gradient(name).samples} == {*gradient.samples}
    other = og.add(b, a, align="outer")
    for key, block in outer.items():
        assert_identical(other.block(key), block)  # commutative up to the order of keys
        own = [map.block(key) for map in (a, b) if key in map.keys]
        assert {*block.samples} == set().union(*(block.samples for block in own))
        for get in (lambda block: block, lambda block: block.gradient("positions")):
            parts = [get(block).values.sum(axis=0) for block in own]
            np.testing.assert_allclose(get(block).values.sum(axis=0), sum(parts), atol=1e-12)
    lazy = [map.chunk(target_bytes=target_bytes) for map in (a, b)]
    assert_identical(og.add(*lazy, align="outer"), outer)
    assert_identical(og.add(*lazy, align="inner"), inner)


# ---- errors ----
@pytest.mark.parametrize("name", NAMES)
def test_other_words(name: str) -> None:
    match = f"{name}: align must be None, 'inner' or 'outer', got 'left'"
    for other in (A, 2):
        with pytest.raises(ValidationError, match=match):
            getattr(og, name)(A, other, align="left")


@pytest.mark.parametrize("name", NAMES)
def test_samples_must_be_the_same_set(name: str) -> None:
    call = getattr(og, name)
    match = (
        rf"inputs to '{name}' should have the same samples; in block 0 \(system=0, atom=0\) is only in the "
        "first; use align='inner' to keep common samples, or align='outer' to keep all"
    )
    with pytest.raises(NotEqualError, match=match):
        call(A, overlapping(B))
    with pytest.raises(NotEqualError, match=r"in the blocks .* is only in the first"):
        call(A.block(0), overlapping(B).block(0))
    fewer = og.slice_block(B.block(0), "samples", [0, 1])
    match = "in the blocks found .* with 7 entries, and .* with 2 entries; use align="
    with pytest.raises(NotEqualError, match=match):
        call(A.block(0), fewer)


@pytest.mark.parametrize("align", [None, "inner", "outer"])
def test_names_must_be_the_same(align: Any) -> None:
    swapped = relabelled(B, lambda m: replace(m, samples=m.samples.permute([1, 0])))
    with pytest.raises(NotEqualError, match="should have the same sample"):
        og.add(A, swapped, align=align)
    renamed = TensorMap(B.keys.rename("center_type", "type"), B.blocks())
    with pytest.raises(NotEqualError, match="inputs to 'add' should have the same key"):
        og.add(A, renamed, align=align)
    other = with_properties(B, lambda labels: labels.rename("n", "k"))
    with pytest.raises(NotEqualError, match="inputs to 'add' should have the same propert"):
        og.add(A, other, align=align)
    with pytest.raises(NotEqualError, match="should have the same gradient"):
        og.add(A, og.remove_gradients(B, "cell"), align=align)


def test_maps_without_common_keys_need_the_same_names_to_be_united() -> None:
    apart = TensorMap(Labels("center_type", [[100]]), [og.block_from_array(np.ones((2, 2)))])
    match = r"inputs to 'add' should have the same sample names; found \['system', 'atom'\] and \['sample'\]"
    with pytest.raises(NotEqualError, match=match):
        og.add(A, apart, align="outer")
    assert len(og.add(A, apart, align="inner")) == 0
    less = TensorMap(Labels("center_type", [[100]]), [og.remove_gradients_block(A.block(0), "cell")])
    with pytest.raises(
        NotEqualError, match=r"same gradients; found \['cell', .* and \['positions', 'strain'\]"
    ):
        og.add(A, less, align="outer")


def test_one_row_chunks() -> None:
    for align in ("inner", "outer"):
        eager = og.multiply(A, overlapping(B), align=align)  # type: ignore[arg-type]
        lazy = og.multiply(cut_at(A, ONE_ROW), cut_at(overlapping(B), ONE_ROW), align=align)  # type: ignore[arg-type]
        assert_identical(lazy, eager)
