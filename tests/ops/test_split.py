"""Splitting: what slices give, in one pass; views, tasks, parity with metatensor, errors."""

from __future__ import annotations

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
from outgrad.run.arguments import StepOperation
from outgrad.testing import Parameter, assert_identical, random_block
from outgrad.testing.strategies import labels, tensor_maps
from tests.support import EXAMPLES
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, EMPTY_CHUNKS, ONE_ROW, operand

UNSORTED = pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")
ORDERS = ("sorted", "samples", "any")


@st.composite
def selections(draw: st.DrawFn) -> Any:
    names = draw(st.sampled_from([["system"], ["atom"], ["system", "atom"], ["atom", "system"]]))
    return draw(labels(names, max_size=8))


# ---- laws ----
@UNSORTED
@given(data=st.data(), order=st.sampled_from(ORDERS))
def test_a_split_is_many_slices(data: Any, order: Any) -> None:
    map = data.draw(tensor_maps(nested=True, order=order))
    chosen = data.draw(st.lists(selections(), max_size=4))
    expected = [og.slice(map, "samples", selection) for selection in chosen]
    lazy = map.chunk(target_bytes=data.draw(st.sampled_from([1, 300, 10**6])))
    for given_ in (map, lazy):
        found = og.split(given_, "samples", chosen)
        assert len(found) == len(expected)
        for part, other in zip(found, expected, strict=True):
            assert_identical(part, other)


@UNSORTED
@given(data=st.data(), order=st.sampled_from(ORDERS))
def test_split_by_is_a_slice_for_each_value(data: Any, order: Any) -> None:
    map = data.draw(tensor_maps(nested=True, order=order))
    names = data.draw(st.sampled_from(["system", "atom", ["atom"], ["atom", "system"]]))
    lazy = map.chunk(target_bytes=data.draw(st.sampled_from([1, 300, 10**6])))
    for given_ in (map, lazy):
        found = og.split_by(given_, names)
        assert list(found) == sorted(found)
        for value, part in found.items():
            own = Labels(names, np.reshape(value, (1, -1)))
            assert_identical(part, og.slice(map, "samples", own))
    rows = {tuple(row) for block in map for row in block.samples.values.tolist()}
    wanted = [names] if isinstance(names, str) else names
    values = {tuple(row[["system", "atom"].index(name)] for name in wanted) for row in rows}
    assert set(found) == ({value[0] for value in values} if isinstance(names, str) else values)


@given(map=tensor_maps(nested=True))
def test_the_parts_joined_are_the_whole(map: TensorMap) -> None:
    parts = list(og.split_by(map, "system").values())
    if parts:
        assert og.sort(og.join(parts, "samples"), "samples") == og.sort(map, "samples")


def test_every_kind_of_selection() -> None:
    block = operand(0).block(0)
    count = len(block)
    entry = Labels("system", [[1]])[0]
    chosen = [[0, -1], np.arange(count)[::-1], np.arange(count) % 2 == 0, [], entry, Labels("atom", [[0]])]
    for given_ in (block, cut_at(block, [ONE_ROW[0]])):
        found = og.split_block(given_, "samples", chosen)
        for part, selection in zip(found, chosen, strict=True):
            assert_identical(part, og.slice_block(block, "samples", selection))
        assert_identical(found[4], og.slice(given_, "samples", entry))
    assert og.split(block, "samples", []) == []


@pytest.mark.parametrize("cut", [ONE_ROW, ACROSS_SYSTEMS, EMPTY_CHUNKS])
def test_gradients_of_gradients_in_chunks(cut: Any) -> None:
    map = operand(0, parameters=CLOSED, order="samples")
    for system, part in og.split_by(cut_at(map, cut), "system").items():
        assert_identical(part, og.split_by(map, "system")[system])
        assert_identical(part * part, og.split_by(map * map, "system")[system])


def test_maps_without_blocks() -> None:
    empty = TensorMap(Labels.empty("key"), [])
    assert [len(part) for part in og.split(empty, "samples", [[0], [1]])] == [0, 0]
    assert og.split_by(empty, "system") == {}
    assert len(og.slice(empty, "samples", [0])) == 0
    assert len(og.slice(empty, "properties", [0])) == 0


def test_blocks_without_a_sample_stay_as_empty_blocks() -> None:
    map = operand(0)
    part = og.split_by(map, "system")[2]
    assert part.keys == map.keys
    assert [len(block) for block in part] == [0, 2, 0]
    assert part.block(0).gradient("positions").shape == (0, 3, 3, 4)
    assert part.info() == map.info()


def test_several_dimensions_give_tuples() -> None:
    block = operand(0).block(0)
    found = og.split_by_block(block, ["atom", "system"])
    assert list(found)[:3] == [(0, 0), (0, 1), (0, 3)]
    assert found[0, 3].samples.values.tolist() == [[3, 0]]
    assert list(og.split_by(block, ["system"])) == [(0,), (1,), (3,)]
    assert list(og.split_by(block, "n", "properties")) == [0, 1, 2]
    assert all(type(value) is int for value in og.split_by(block, "system"))


# ---- in memory: views ----
def test_neighbouring_samples_are_views() -> None:
    block = operand(0).block(0)
    for part in [*og.split_by(block, "system").values(), *og.split(block, "samples", [[2, 3], [1, 2]])]:
        assert np.shares_memory(part.values, block.values)
        assert np.shares_memory(part.gradient("cell").values, block.gradient("cell").values)
    (apart,) = og.split(block, "samples", [[3, 2]])
    assert not np.shares_memory(apart.values, block.values)


def test_labels_of_parts_are_labels() -> None:
    """Those of gradients count samples from the start of the part, and cannot be written to."""
    part = og.split_by(operand(0, sparsity=1.0), "system")[1].block(0)
    rows = part.gradient("cell").samples
    assert rows["sample"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert rows.position(rows[4]) == 4
    assert not rows.values.flags.writeable
    assert not part.samples.values.flags.writeable
    assert rows == Labels(rows.names, rows.values.copy())
    assert rows.digest == Labels(rows.names, rows.values.copy()).digest


# ---- lazy: tasks ----
SYSTEMS, ATOMS = 12, 3


def many_systems(interleaved: bool = False) -> TensorMap:
    rng = np.random.default_rng(0)
    table = np.array([[s, a] for s in range(SYSTEMS) for a in range(ATOMS)])
    if interleaved:
        table = table[np.argsort(table[:, 1], kind="stable")]
    n = Labels.range("n", 2)
    whole = random_block(rng, Labels(["system", "atom"], table), [], n, {"x": Parameter()}, sparsity=1)
    some = og.slice(whole, "samples", Labels("system", [[0], [5], [6]]))
    return TensorMap(Labels.range("key", 2), [whole, some])


def added_tasks(parts: Any, lazy: Any) -> set[Any]:
    return {key for part in parts for key in part.__dask_graph__()} - set(lazy.__dask_graph__())


@pytest.mark.parametrize("chunks", [1, 4, SYSTEMS])
def test_there_is_a_task_for_each_system_and_chunk_that_exist(chunks: int) -> None:
    map = many_systems()
    edges = np.linspace(0, SYSTEMS * ATOMS, chunks + 1).astype(int).tolist()
    lazy = cut_at(map, [edges, [0, 3, 6, 9]])
    with nothing_computed():
        found = og.split_by(lazy, "system")
    assert len({id(part.__dask_graph__()) for part in found.values()}) == 1
    assert len(added_tasks(found.values(), lazy)) <= SYSTEMS + 3
    for number, part in found.items():
        part.__dask_graph__().validate()
        assert len(part.__dask_keys__()) <= 2
        assert_identical(part, og.slice(map, "samples", Labels("system", [[number]])))


def test_a_part_needs_only_its_own_chunks() -> None:
    lazy = cut_at(many_systems(), [list(range(0, 37, 3)), [0, 3, 6, 9]])
    part = og.split_by(lazy, "system")[3]
    needed = part.__dask_optimize__(part.__dask_graph__(), part.__dask_keys__())
    read = [key for key in needed if key in lazy.__dask_graph__()]
    assert len(read) <= 1  # the other block has no such system, and is not read


def test_a_system_in_two_chunks_has_two() -> None:
    map = many_systems()
    lazy = cut_at(map, [[0, 4, 20, 36], [0, 9]])
    part = og.split_by(lazy, "system")[1]
    assert part.block(0).chunks == (1, 2)
    assert_identical(part, og.split_by(map, "system")[1])


def test_small_blocks_of_a_part_share_a_task() -> None:
    part = og.split_by(many_systems().chunk(), "system")[5]
    assert len(part.__dask_keys__()) == 1


def test_samples_of_a_system_in_all_chunks_are_brought_together_first() -> None:
    map = many_systems(interleaved=True)
    lazy = cut_at(map, [[0, 12, 24, 36], [0, 9]])
    with nothing_computed():
        found = og.split_by(lazy, "system")
    for number, part in found.items():
        assert_identical(part, og.slice(map, "samples", Labels("system", [[number]])))
    assert len(added_tasks(found.values(), lazy)) <= SYSTEMS + 3 + 3 + 9 + 1


def test_parts_have_names_of_their_own() -> None:
    lazy = cut_at(many_systems(), [list(range(0, 37, 3)), [0, 3, 6, 9]])
    sums = [og.sum_over_samples(part, "atom") for part in og.split_by(lazy, "system").values()]
    keys = [key for map in sums for key in map.__dask_keys__()]
    assert len(set(keys)) == len(keys)
    expected = og.split_by(og.sum_over_samples(many_systems(), "atom"), "system").values()
    for found, other in zip(dask.compute(*sums), expected, strict=True):
        assert_identical(found, other)
    others = og.split_by(lazy, "atom").values()
    assert not set(keys) & {key for part in others for key in part.__dask_keys__()}


def test_parts_can_be_written(tmp_path: Path) -> None:
    map = many_systems()
    lazy = cut_at(map, [list(range(0, 37, 3)), [0, 3, 6, 9]])
    for number, part in list(og.split_by(lazy, "system").items())[4:6]:
        og.save(tmp_path / f"{number}.zarr", part)
        assert og.equal(og.load(tmp_path / f"{number}.zarr"), og.split_by(map, "system")[number])


# ---- parity ----
def check_parity(map: TensorMap, axis: str, names: list[str]) -> None:
    upstream = pytest.importorskip("metatensor")
    interop = pytest.importorskip("outgrad.interop.metatensor")
    theirs = interop.to_metatensor(map)
    values = sorted({tuple(v) for b in map for v in _columns(getattr(b, axis), names).tolist()})
    chosen = [upstream.Labels(names, np.array([value], np.int32)) for value in values]
    found = upstream.split(theirs, axis, [*chosen, [0]])
    ours = og.split(map, axis, [*(Labels(names, [value]) for value in values), [0]])
    by = og.split_by(map, names, axis)
    assert list(by) == values
    for mine, other in zip([*ours, *by.values()], [*found, *found[:-1]], strict=True):
        og.equal_metadata_raise(mine, interop.from_metatensor(other))
        og.equal_raise(mine, interop.from_metatensor(other))


def _columns(labels_: Labels, names: list[str]) -> Any:
    return labels_.values[:, [labels_.names.index(name) for name in names]]


@pytest.mark.parametrize(("axis", "names"), [("samples", ["system"]), ("properties", ["l"])])
def test_random_maps_are_split_as_upstream(axis: str, names: list[str]) -> None:
    map = operand(0)
    check_parity(TensorMap(Labels(map.keys.names, map.keys.values[:2]), map.blocks()[:2]), axis, names)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_real_maps_are_split_as_upstream(file: Path) -> None:
    map = og.load(file)
    check_parity(og.drop_empty_blocks(map), "samples", map.sample_names[-1:])


# ---- errors ----
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "split: tensor must be a TensorMap or", lambda b: og.split(1, "samples", [])),  # type: ignore[type-var]
        (ValidationError, "split: axis must be either 'samples' or 'properties', got 'keys'", "keys"),
        (TypeError, "split: selections must be a list, got tuple", ([0], [1])),
        (TypeError, "split: selection must be Labels, a list or an array, got int", [0, 1]),
        (ValidationError, "split: position 9 is out of range, the samples have 7 entries", [[0], [9]]),
        (ValidationError, "split: a position is repeated, but samples must be unique", [[0, 0]]),
        (ValidationError, "split: the mask has 1 entries, but the samples have 7", [np.array([True])]),
        (ValidationError, "select: ['n'] are not among the names of the labels", [Labels("n", [[0]])]),
        (
            ValidationError,
            "split_by: ['n'] not found in the samples, whose dimensions are ['system', 'atom']",
            lambda b: og.split_by(b, ["atom", "n"]),
        ),
        (
            ValidationError,
            "split_by: dimension is empty; give at least one of ['system', 'atom']",
            lambda b: og.split_by(b, []),
        ),
        (TypeError, "split_by: dimension must be a str or a list of str, got 2", lambda b: og.split_by(b, 2)),
        (
            ValidationError,
            "split_by: axis must be either 'samples' or 'properties', got 'components'",
            lambda b: og.split_by(b, "m", "components"),
        ),
        (TypeError, "split_by: tensor must be a", lambda b: og.split_by(None, "m")),  # type: ignore[type-var]
    ],
)
def test_errors(error: type[Exception], match: str, call: Any, chunked: bool) -> None:
    block: Any = operand(0).block(0)
    if chunked:
        block = cut_at(block, [ONE_ROW[0]])
    if call == "keys":
        arguments: Any = ("keys", [])
    else:
        arguments = ("samples", call)
    run = call if callable(call) else lambda given_: og.split(given_, *arguments)
    with pytest.raises(error, match=re.escape(match)):
        run(block)


def test_a_job_cannot_use_several_maps() -> None:
    assert not StepOperation("split", og.split).gives_map
    assert not StepOperation("split_by", og.split_by).gives_map
    assert StepOperation("sort", og.sort).gives_map


def test_the_twin_takes_blocks() -> None:
    block = operand(0).block(0)
    assert [part.shape[0] for part in og.split_block(block=block, axis="samples", selections=[[0], []])] == [
        1,
        0,
    ]
    with pytest.raises(TypeError, match="split_by_block: block must be a TensorBlock, got TensorMap"):
        og.split_by_block(operand(0), "system")
    assert isinstance(og.split_by_block(block, "system")[0], TensorBlock)
