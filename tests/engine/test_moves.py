"""Which chunk gives which rows to which chunk, and the graphs that move them."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad.engine.shuffle import two_steps as halfway
from outgrad.engine.shuffle.plan import inherited_edges, is_increasing, plan_patches
from outgrad.graph.trees import DIRECT_CHUNKS
from outgrad.testing import Parameter, assert_identical, random_block
from tests.support.lazy import cut_at, nothing_computed


@st.composite
def edges(draw: st.DrawFn, count: int) -> Any:
    inner = draw(st.lists(st.integers(0, count), max_size=4))
    return np.array(sorted([0, *inner, count]), np.int64)


@given(data=st.data())
def test_pairs_are_the_move(data: Any) -> None:
    count = data.draw(st.integers(0, 8))
    kept = data.draw(st.permutations(range(count)))[: data.draw(st.integers(0, count))]
    rows = np.full(count, -1)
    rows[list(kept)] = np.arange(len(kept))
    source, target = data.draw(edges(count)), data.draw(edges(len(kept)))
    found = plan_patches(5, rows, source, target)
    moved = np.full(count, -1)
    for pair in found:
        assert pair.origin == 5
        assert len(pair.taken) == len(pair.placed) > 0
        assert (pair.taken >= 0).all()
        assert (pair.taken < np.diff(source)[pair.source]).all()
        assert (pair.placed < np.diff(target)[pair.target]).all()
        assert (np.diff(pair.taken) > 0).all()  # in the order of the source: gradient rows keep theirs
        moved[source[pair.source] + pair.taken] = target[pair.target] + pair.placed
    assert np.array_equal(moved, rows)
    assert len({(pair.source, pair.target) for pair in found}) == len(found)
    assert [pair.target for pair in found] == sorted(pair.target for pair in found)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([None], True),
        ([None, None], False),
        ([[0, -1, 1]], True),
        ([[1, 0]], False),
        ([[0, 1], [2, 3]], True),
        ([[2, 3], [0, 1]], False),
        ([[0, 2], [1, 3]], False),
        ([[-1, -1], [0]], True),
        ([[]], True),
    ],
)
def test_rows_that_keep_their_order(rows: list[Any], expected: bool) -> None:
    assert is_increasing([None if own is None else np.array(own, int) for own in rows]) is expected


@pytest.mark.parametrize(
    ("rows", "cuts", "expected"),
    [
        ([None], [[0, 2, 5]], [0, 2, 5]),
        ([None, None], [[0, 2, 5], [0, 5]], [0, 2, 5]),  # the same rows side by side
        ([[0, -1, 1, -1]], [[0, 1, 2, 4]], [0, 1, 2]),  # nothing is left of the second chunk
        ([[-1, -1]], [[0, 1, 2]], [0, 0]),
        ([[0, 1], [2, 3, 4]], [[0, 2], [0, 1, 3]], [0, 2, 3, 5]),
        ([[1, 0]], [[0, 1, 2]], None),
        ([[0, 2], [1]], [[0, 2], [0, 1]], None),
        ([[0, 1], None], [[0, 2], [0, 1]], None),
    ],
)
def test_edges_that_are_inherited(rows: list[Any], cuts: list[Any], expected: Any) -> None:
    own = [None if each is None else np.array(each) for each in rows]
    found = inherited_edges(own, [np.array(cut) for cut in cuts])
    assert (None if found is None else found.tolist()) == expected


@given(data=st.data())
def test_a_chunk_with_inherited_edges_comes_from_one_chunk(data: Any) -> None:
    kept = np.array(data.draw(st.lists(st.booleans(), max_size=8)), bool)
    rows = np.where(kept, np.cumsum(kept) - 1, -1)
    cut = data.draw(edges(len(kept)))
    found = plan_patches(0, rows, cut, inherited_edges([rows], [cut]))
    targets = [pair.target for pair in found]
    assert len(set(targets)) == len(targets)


# ---- graphs ----
def shuffled(samples: int, order: str = "sorted") -> og.TensorBlock:
    rng = np.random.default_rng(0)
    table = rng.permutation(np.array([[s // 4, s % 4] for s in range(samples)]))
    parameters = {"x": Parameter((3,), {"x": Parameter((3,))})}
    labels = og.Labels(["system", "atom"], table)
    return random_block(rng, labels, [], og.Labels.range("n", 5), parameters, order=order)


def chunked(block: og.TensorBlock, chunks: int) -> Any:
    return cut_at(block, [np.linspace(0, len(block), chunks + 1).astype(int).tolist()])


@pytest.mark.parametrize("chunks", [1, 3, 12])
@pytest.mark.parametrize("target", [500, 20_000, 10**7])
def test_rows_of_all_chunks_go_to_all_chunks(chunks: int, target: int) -> None:
    block = shuffled(96)
    lazy = chunked(block, chunks)
    with dask.config.set({"outgrad.chunk-bytes": target}), nothing_computed():
        result = og.sort(lazy)
    assert_identical(result.compute(), og.sort(block))


def test_no_task_is_given_a_whole_block() -> None:
    """Where a new chunk needs rows of many, other tasks cut them out first: one for each pair of chunks."""
    lazy = chunked(shuffled(96), 12)
    target = max(lazy._blocks().to_compute.part_bytes)
    with dask.config.set({"outgrad.chunk-bytes": target}):
        result = og.sort(lazy)
    graph, held = dict(result.__dask_graph__()), dict(sizes(lazy))
    new = len(result.__dask_keys__())
    added = {key: task for key, task in graph.items() if key not in lazy.__dask_graph__()}
    rows = [key for key in added if str(key[0]).startswith("rows-")]
    assert len(added) == new + len(rows) <= new + 12 * new
    for key, task in added.items():
        known = [held[other] for other in task.dependencies if other in held]
        assert sum(known) <= DIRECT_CHUNKS * target
        assert len(known) == 1 or key not in rows
    assert len(rows) > 3 * new


def test_a_few_chunks_are_given_as_they_are() -> None:
    lazy = chunked(shuffled(96), DIRECT_CHUNKS)
    with dask.config.set({"outgrad.chunk-bytes": max(lazy._blocks().to_compute.part_bytes)}):
        result = og.sort(lazy)
    added = set(result.__dask_graph__()) - set(lazy.__dask_graph__())
    assert added == set(result.__dask_keys__())


def sizes(lazy: Any) -> Any:
    blocks = lazy._blocks().to_compute
    return zip(blocks.keys, blocks.part_bytes, strict=True)


def test_only_the_chunks_that_give_rows_are_needed() -> None:
    block = shuffled(96)
    lazy = chunked(block, 12)
    found = og.slice(lazy, "samples", [95, 0])
    needed = found.__dask_optimize__(found.__dask_graph__(), found.__dask_keys__())
    assert len(needed) <= 3
    assert_identical(found.compute(), og.slice(block, "samples", [95, 0]))


def test_names_of_moves_depend_on_what_goes_where() -> None:
    lazy = chunked(shuffled(24), 3)
    names = {
        og.slice(lazy, "samples", selection).__dask_keys__()[0]
        for selection in ([0, 1], [1, 0], [0, 2], [0, 1, 2], list(range(24)))
    }
    assert len(names) == 5
    again = og.slice(lazy, "samples", [1, 0]).__dask_keys__()
    assert again == og.slice(chunked(shuffled(24), 3), "samples", [1, 0]).__dask_keys__()


@pytest.mark.parametrize("target", [500, 10**7])
@given(data=st.data())
def test_a_stop_on_the_way_changes_nothing(target: int, data: Any) -> None:
    block = shuffled(48, order=data.draw(st.sampled_from(["sorted", "samples"])))
    kept = np.array(data.draw(st.permutations(range(48))))[: data.draw(st.integers(20, 48))]
    lazy = chunked(block, data.draw(st.integers(2, 9)))
    with pytest.MonkeyPatch.context() as patch, dask.config.set({"outgrad.chunk-bytes": target}):
        patch.setattr(halfway, "PATCHES_PER_CHUNK", 0)
        sliced, ordered = og.slice(lazy, "samples", kept), og.sort(lazy)
    assert any("halfway" in str(key[0]) for key in sliced.__dask_graph__())
    assert_identical(sliced, og.slice(block, "samples", kept))
    assert_identical(ordered, og.sort(block))


def test_many_chunks_exchange_rows_by_fewer_tasks_than_pairs() -> None:
    lazy = chunked(shuffled(4096), 64)
    with (
        dask.config.set({"outgrad.chunk-bytes": max(lazy._blocks().to_compute.part_bytes)}),
        nothing_computed(),
    ):
        result = og.sort(lazy)
    added = set(result.__dask_graph__()) - set(lazy.__dask_graph__())
    assert len(result.__dask_keys__()) >= 50
    assert len(added) < 64 * 64 / 2
    assert_identical(result, og.sort(lazy.compute()))
