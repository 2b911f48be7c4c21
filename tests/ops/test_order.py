"""Sorting: laws, parity with metatensor, what it costs, and errors."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.testing import assert_identical, random_block
from outgrad.testing.strategies import tensor_maps
from tests.support import EXAMPLES
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, ONE_ROW, operand

AXES = ["all", "keys", "samples", "components", "properties", ["samples", "properties"], []]
UNSORTED = pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")


def backwards(map: TensorMap) -> TensorMap:
    """All samples and properties the other way round."""
    for axis in ("samples", "properties"):
        blocks = [
            og.slice(block, axis, np.arange(len(getattr(block, axis)))[::-1].copy()) for block in map.blocks()
        ]
        map = TensorMap(map.keys, blocks)
    return map


# ---- laws ----
@given(data=st.data(), descending=st.booleans())
def test_what_is_sorted_stays(data: Any, descending: bool) -> None:
    map = data.draw(tensor_maps(nested=True, order="any"))
    axes = data.draw(st.sampled_from(AXES))
    once = og.sort(map, axes, descending)
    assert_identical(og.sort(once, axes, descending), once)


@given(data=st.data(), descending=st.booleans())
def test_the_order_before_does_not_matter(data: Any, descending: bool) -> None:
    map = data.draw(tensor_maps(nested=True, order="any"))
    shuffled = backwards(map)
    order = data.draw(st.permutations(range(len(map))))
    keys = Labels(map.keys.names, map.keys.values[order])
    shuffled = TensorMap(keys, [shuffled.block(n) for n in order])
    assert_identical(og.sort(shuffled, descending=descending), og.sort(map, descending=descending))


@given(map=tensor_maps(nested=True, order="any"))
def test_labels_are_in_lexicographic_order(map: TensorMap) -> None:
    for descending in (False, True):
        result = og.sort(map, descending=descending)
        for _, metadata in ((p, m) for own in result._blocks().metadata for p, m in own.walk()):
            for labels in (*metadata.components, metadata.properties):
                rows = labels.values.tolist()
                assert rows == sorted(rows, reverse=descending)
        for labels in (result.keys, *(block.samples for block in result)):
            rows = labels.values.tolist()
            assert rows == sorted(rows, reverse=descending)
        for block in result:
            for _, gradient in block.gradients():
                rows = gradient.samples.values.tolist()
                key = (lambda row: [row[0], *(-x for x in row[1:])]) if descending else None
                assert rows == sorted(rows, key=key)


@UNSORTED
@given(data=st.data(), descending=st.booleans())
def test_chunks_are_sorted_like_the_whole(data: Any, descending: bool) -> None:
    map = data.draw(tensor_maps(nested=True, order="any"))
    size = data.draw(st.sampled_from([100, 10**6]))
    with dask.config.set({"outgrad.chunk-bytes": size}):
        result = og.sort(map.chunk(), descending=descending)
        assert_identical(result, og.sort(map, descending=descending))


# ---- components of gradients ----
def with_components(own: list[int], shared: list[int]) -> TensorBlock:
    """A block whose gradient has a component of its own before that of the values."""
    n, m = Labels.range("n", 1), Labels("m", np.array(shared)[:, None])
    block = TensorBlock(np.arange(2.0)[None, :, None], Labels.range("s", 1), [m], n)
    rows, xyz = Labels("sample", [[0]]), Labels("xyz", np.array(own)[:, None])
    block.add_gradient("r", TensorBlock(np.arange(6.0).reshape(1, 3, 2, 1), rows, [xyz, m], n))
    return block


@pytest.mark.parametrize("chunked", [False, True])
def test_components_that_only_gradients_have_are_sorted(chunked: bool) -> None:
    given_: Any = with_components([2, 0, 1], [5, 4])
    block = og.sort(given_.chunk() if chunked else given_, "components").compute()
    gradient = block.gradient("r")
    assert [c.values[:, 0].tolist() for c in gradient.components] == [[0, 1, 2], [4, 5]]
    assert block.values[0, :, 0].tolist() == [1, 0]
    assert gradient.values[0, :, :, 0].tolist() == [[3, 2], [5, 4], [1, 0]]


# ---- edge cases ----
def test_gradients_without_rows_blocks_without_samples_and_maps_without_blocks() -> None:
    map = operand(0, sparsity=0.0)
    result = og.sort(map)
    assert [block.gradient("positions").shape[0] for block in result] == [0, 0, 0]
    assert og.sort(map.chunk()).compute() == result
    empty = TensorMap(Labels.empty("key"), [])
    assert len(og.sort(empty)) == 0
    n = Labels("n", [[1], [0]])
    nothing = TensorBlock(np.zeros((0, 2)), Labels.empty("s"), [], n)
    assert og.sort(nothing).properties["n"].tolist() == [0, 1]


def test_the_list_of_axes_is_left_alone() -> None:
    axes = ["keys", "samples"]
    og.sort(operand(0), axes)
    assert axes == ["keys", "samples"]


def test_gradients_of_gradients_follow() -> None:
    map = operand(0, parameters=CLOSED, sparsity=1.0, order="any")
    result = og.sort(map, "samples", descending=True)
    for block in result:
        rows = block.gradient("positions").gradient("cell").samples.values
        assert (np.diff(rows[:, 0]) >= 0).all()
    assert_identical(og.sort(result, "samples"), og.sort(map, "samples"))


# ---- what it costs ----
def test_sorted_blocks_are_shared() -> None:
    map = og.sort(operand(0))
    again = og.sort(map)
    for block, other in zip(map, again, strict=True):
        assert other.values is block.values
        assert other.gradient("cell").values is block.gradient("cell").values
    lazy = cut_at(map, [[0, 2, 4], [0, 3, 7], [0, 0]])
    result = og.sort(lazy)
    assert result.__dask_keys__() == lazy.__dask_keys__()


def test_sorted_blocks_cost_no_task() -> None:
    """Of three blocks only the one in the middle is not sorted."""
    map = operand(0)
    lazy = cut_at(map, ONE_ROW)
    result = og.sort(lazy, "samples")
    kept = set(result.__dask_keys__()) & set(lazy.__dask_keys__())
    blocks = lazy._blocks().to_compute
    assert kept == {key for key, part in zip(blocks.keys, blocks.parts, strict=True) if part[0].block != 1}
    assert len(set(result.__dask_graph__()) - set(lazy.__dask_graph__())) == 1
    check_everything(result, og.sort(map, "samples"))


@pytest.mark.parametrize("axes", ["samples", "properties", "components", "all"])
def test_blocks_that_share_a_task_with_others(axes: str) -> None:
    """All blocks are in one part: those that are sorted are taken out of it."""
    map = operand(0)
    map = TensorMap(map.keys, [backwards(map).block(0), *map.blocks()[1:]])
    lazy = map.chunk()
    assert len(lazy.__dask_keys__()) == 1
    check_everything(og.sort(lazy, axes), og.sort(map, axes))


def check_everything(result: Any, expected: TensorMap) -> None:
    """The parts of such a map come from several layers: what builds on them has to know."""
    result.__dask_graph__().validate()
    assert_identical(result, expected)
    double = result * 2
    double.__dask_graph__().validate()
    assert_identical(double, expected * 2)
    assert_identical(og.sum_over_samples(result, "atom"), og.sum_over_samples(expected, "atom"))
    assert_identical(pickle.loads(pickle.dumps(result)), expected)
    assert_identical(result.block(1), expected.block(1))


def test_maps_that_share_some_parts_have_other_names() -> None:
    """The first part is that of the operand, others are not: names of what follows must differ."""
    map = operand(0)
    lazy = cut_at(map, ONE_ROW)
    result = og.sort(lazy, "samples")
    assert result.__dask_keys__()[0] == lazy.__dask_keys__()[0]
    both = [og.sum_over_properties(each, "n") for each in (lazy, result)]
    assert not set(both[0].__dask_keys__()) & set(both[1].__dask_keys__())
    sums = [og.sum_over_properties(each, "n") for each in (map, og.sort(map, "samples"))]
    for found, expected in zip(dask.compute(*both), sums, strict=True):
        assert_identical(found, expected)


def test_gradient_rows_alone_may_be_in_the_wrong_order() -> None:
    n = Labels.range("n", 1)
    block = TensorBlock(np.zeros((1, 1)), Labels.range("s", 1), [], n)
    rows = Labels(["sample", "atom"], [[0, 1], [0, 5], [0, -(2**31)]])
    block.add_gradient("x", TensorBlock(np.arange(3.0)[:, None], rows, [], n))
    for given_ in (block, block.chunk()):
        up, down = (og.sort(given_, "samples", descending).compute() for descending in (False, True))
        assert up.gradient("x").samples["atom"].tolist() == [-(2**31), 1, 5]
        assert up.gradient("x").values[:, 0].tolist() == [2, 0, 1]
        assert down.gradient("x").samples["atom"].tolist() == [5, 1, -(2**31)]
        assert_identical(og.sort(up, descending=True), down)


@UNSORTED
@pytest.mark.parametrize("sorted_samples", [True, False])
def test_blocks_of_one_chunk_get_chunks(sorted_samples: bool) -> None:
    """Gradient rows in any order keep a block in one chunk; sorting them lets it be cut again."""
    rng = np.random.default_rng(0)
    table = np.array([[s, a] for s in range(10) for a in range(4)])
    samples = Labels(["system", "atom"], table if sorted_samples else rng.permutation(table))
    parameters = {"x": og.testing.Parameter((3,))}
    block = random_block(rng, samples, [], Labels.range("n", 4), parameters, order="any", sparsity=0.9)
    with dask.config.set({"outgrad.chunk-bytes": 2000}):
        lazy = block.chunk()
        assert lazy.chunks == (40,)
        with nothing_computed():
            result = og.sort(lazy, "samples")
        assert len(result.chunks) > 4
        assert all(rows % 4 == 0 for rows in result.chunks)  # whole systems
    assert_identical(result.compute(), og.sort(block, "samples"))


# ---- parity ----
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axes", [axes for axes in AXES if axes != []])
@pytest.mark.parametrize("order", ["sorted", "any"])
def test_random_maps_are_sorted_as_upstream(axes: Any, descending: bool, order: Any) -> None:
    map = operand(0, order=order, sparsity=0.9)
    map = TensorMap(Labels(map.keys.names, map.keys.values[:2]), map.blocks()[:2])
    check_parity(map, axes, descending)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_real_maps_are_sorted_as_upstream(file: Path, descending: bool) -> None:
    check_parity(og.load(file), "all", descending)


def check_parity(map: TensorMap, axes: Any, descending: bool) -> None:
    """Descending gradient rows are in another order there: both are sorted upwards."""
    upstream = pytest.importorskip("metatensor")
    interop = pytest.importorskip("outgrad.interop.metatensor")
    given_ = list(axes) if isinstance(axes, list) else axes
    theirs = interop.from_metatensor(upstream.sort(interop.to_metatensor(map), given_, descending))
    ours = og.sort(map, axes, descending)
    if descending and (axes == "all" or "samples" in axes):
        for map_ in (ours, theirs):
            assert og.equal(og.sort(map_), og.sort(map))
        blocks = zip(ours, theirs, strict=True)
        assert all(og.equal(*map_metadata(a, b)) for a, b in blocks)
        return
    og.equal_metadata_raise(ours, theirs)
    og.equal_raise(ours, theirs)


def map_metadata(a: TensorBlock, b: TensorBlock) -> tuple[TensorBlock, TensorBlock]:
    return og.remove_gradients(a), og.remove_gradients(b)


# ---- errors ----
@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "sort: tensor must be a TensorMap or a TensorBlock, got int", lambda m: og.sort(1)),  # type: ignore[type-var]
        (
            ValidationError,
            "sort: axes must be 'all' or some of ['keys', 'samples', 'components', 'properties'], not 'rows'",
            lambda m: og.sort(m, "rows"),
        ),
        (
            ValidationError,
            "sort_block: axes must be 'all' or some of ['samples', 'components', 'properties'], not 'keys'",
            lambda m: og.sort_block(m.block(0), ["samples", "keys"]),
        ),
        (ValidationError, "not 'all'", lambda m: og.sort(m, ["all"])),
        (TypeError, "sort: axes must be a str or a list of str, got 3", lambda m: og.sort(m, 3)),
        (TypeError, "sort_block: block must be a TensorBlock, got TensorMap", lambda m: og.sort_block(m)),
    ],
)
def test_errors(error: type[Exception], match: str, call: Any) -> None:
    with pytest.raises(error, match=re.escape(match)):
        call(operand(0))


def test_blocks_are_sorted_alone() -> None:
    map = operand(0)
    assert og.sort_block(block=map.block(1)) == og.sort(map, ["samples", "components", "properties"]).block(1)
    lazy = cut_at(map, ACROSS_SYSTEMS)
    assert og.sort_block(lazy.block(1)).compute() == og.sort_block(map.block(1))
