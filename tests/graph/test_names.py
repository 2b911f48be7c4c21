"""Tasks of equal names do the same: over all operations, parameters, labels, gradients and chunks."""

from __future__ import annotations

import functools
import gc
import math
import sys
import threading
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import DataNode, TaskRef
from dask.typing import Key
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap
from outgrad.graph.draft import Draft, Notes, digest
from outgrad.graph.fuse import optimize
from outgrad.testing import Parameter
from tests.ops.case import Case, operands
from tests.ops.cases import ALL
from tests.support.elsewhere import printed_with_hash_seeds
from tests.support.lazy import cut_at, nothing_computed
from tests.support.operands import ACROSS_SYSTEMS, CLOSED, EMPTY_CHUNKS, ONE_ROW
from tests.support.variants import CALLS, CHUNK_BYTES, tensor

RENAMED = {"strain": Parameter(), "forces": Parameter((3,)), "cell": Parameter((3, 3))}

Known = dict[Key, tuple[Any, str]]


def same(a: Any, b: Any) -> bool:
    """Whether two things are the same, by another way than the names: they are compared, not hashed."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float | complex | np.generic):
        return np.asarray(a).tobytes() == np.asarray(b).tobytes()
    if isinstance(a, TaskRef):
        return a.key == b.key
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if is_dataclass(a):
        return all(same(getattr(a, own.name), getattr(b, own.name)) for own in fields(a))
    if isinstance(a, types.FunctionType):
        return _functions_agree(a, b)
    return bool(a == b)


def _functions_agree(a: types.FunctionType, b: types.FunctionType) -> bool:
    cells = ([cell.cell_contents for cell in own.__closure__ or ()] for own in (a, b))
    return a.__code__ == b.__code__ and same(a.__defaults__, b.__defaults__) and same(*cells)


def tasks_agree(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, DataNode):
        return same(a.value, b.value)
    return a.func is b.func and same(a.args, b.args) and same(a.kwargs, b.kwargs)


def collisions(known: Known, graph: Mapping[Key, Any], origin: str) -> list[str]:
    """Add the tasks of a graph to those that are known; tell which have the name of a task that differs."""
    found = []
    for key, task in graph.items():
        other, first = known.setdefault(key, (task, origin))
        if other is not task and not tasks_agree(other, task):
            found.append(f"{key} of {first!r} and {origin!r}")
    return found


def all_tasks(result: TensorMap) -> dict[Key, Any]:
    """Tasks of a result, those that run as one, and those of an array of each block."""
    graph, keys = result.__dask_graph__(), result.__dask_keys__()
    arrays = [array for block in result for array in (block.values, *_gradients(block))]
    tasks = dict(graph)
    for array in arrays:
        tasks.update(array.__dask_graph__())
    return {**optimize(graph, keys).graph, **tasks}


def _gradients(block: TensorBlock) -> list[Any]:
    return [gradient.values for _, gradient in block.gradients()]


# ---- the table of operations ----
SETTINGS: dict[str, Mapping[str, Any]] = {
    "flat": {},
    "another seed": {"first_seed": 1},
    "other gradients": {"parameters": RENAMED},
    "nested": {"parameters": CLOSED},
    "no gradients": {"parameters": {}},
    "dense": {"sparsity": 1},
    "narrow": {"dtype": "float32"},
}
CUTS = {"one row": ONE_ROW, "across systems": ACROSS_SYSTEMS, "empty chunks": EMPTY_CHUNKS}

KNOWN: Known = {}
"""Of all rows of the table that ran in this process: each is compared with those before it."""


def _skipped(case: Case, setting: str) -> bool:
    return setting == "nested" and not case.differentiable


@pytest.mark.parametrize("case", ALL)
def test_rows_of_the_table_have_names_of_their_own(case: Case) -> None:
    for setting, changed in SETTINGS.items():
        if _skipped(case, setting):
            continue
        maps = operands(case, **changed)
        for cut, edges in CUTS.items() if setting == "flat" else [("one row", ONE_ROW)]:
            result = case.call(*(cut_at(map, edges) for map in maps))
            assert not collisions(KNOWN, all_tasks(result), f"{case.name}, {setting}, {cut}")


def test_calls_that_differ_in_one_parameter_have_names_of_their_own() -> None:
    known: Known = {}
    others = {"": tensor(), "other values": tensor(1), "other gradients": tensor(positions="p", cell="c")}
    others["turned gradients"] = tensor(positions="cell", cell="positions")
    for other, map in others.items():
        for target in (CHUNK_BYTES, CHUNK_BYTES // 4) if not other else (CHUNK_BYTES,):
            lazy = map.chunk(target_bytes=target)
            for call, function in CALLS.items():
                assert not collisions(known, all_tasks(function(lazy)), f"{call} {other} {target}")
    assert len(known) > 10_000


def test_a_result_that_is_stored_is_never_taken_for_another(tmp_path: Path) -> None:
    known: Known = {}
    lazy = tensor().chunk(target_bytes=CHUNK_BYTES)
    for name in ("first", "second"):
        og.save(tmp_path / f"{name}.zarr", lazy * (1 if name == "first" else 2))
        opened = og.open(tmp_path / f"{name}.zarr")
        assert not collisions(known, all_tasks(og.mean_over_samples(opened, by="a")), name)
        og.save(tmp_path / f"{name}.zarr", lazy * 3, overwrite=True)
        opened = og.open(tmp_path / f"{name}.zarr")
        assert not collisions(known, all_tasks(og.mean_over_samples(opened, by="a")), f"{name} again")


def test_writing_is_never_taken_as_done(tmp_path: Path) -> None:
    lazy = tensor().chunk(target_bytes=CHUNK_BYTES)
    plans = [og.storage.plan_save(tmp_path / "same.zarr", lazy) for _ in range(2)]
    assert not set(plans[0].keys) & set(plans[1].keys)


# ---- gradients with other names, arrays in another order ----
def _with_gradient(values: np.ndarray[Any, Any], name: str) -> TensorBlock:
    properties = Labels.range("n", values.shape[1])
    block = TensorBlock(values, Labels.range("system", len(values)), [], properties)
    samples = Labels("sample", np.arange(len(values))[:, None])
    block.add_gradient(name, TensorBlock(values, samples, [], properties))
    return block


def test_the_name_of_a_gradient_is_part_of_the_name_of_arrays_in_memory(tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(6, 2)
    blocks = {name: _with_gradient(values, name) for name in ("cell", "strain")}
    og.save_all({tmp_path / f"{name}.zarr": block for name, block in blocks.items()})
    for name, block in blocks.items():
        assert og.load(tmp_path / f"{name}.zarr") == block


def test_a_square_array_is_not_named_as_its_transpose() -> None:
    values = np.random.default_rng(0).normal(size=(30, 30))
    blocks = [og.block_from_array(own).chunk(10**6) for own in (values, values.T)]
    first, second = dask.compute(*blocks)
    assert np.array_equal(first.values, values)
    assert np.array_equal(second.values, values.T)
    assert dask.base.tokenize(first) != dask.base.tokenize(second)


def test_what_only_info_tells_apart_has_names_of_its_own() -> None:
    maps = [tensor().chunk(target_bytes=CHUNK_BYTES) for _ in range(2)]
    maps[1].set_info("author", "another")
    infos = dask.compute(*(dask.delayed(lambda map: map.info())(map) for map in maps))
    assert infos == ({}, {"author": "another"})


def test_the_name_of_tasks_that_run_as_one_is_never_cut_off() -> None:
    """A chain of twenty operations, twice with another number in the middle."""

    def chain(number: float) -> TensorMap:
        x = tensor().chunk(target_bytes=CHUNK_BYTES)
        for n in range(20):
            x = og.tanh(og.apply(og.exp(og.abs(x * (number if n == 9 else 1))), np.sin, np.cos) / 7)
        return x

    graphs = [optimize(x.__dask_graph__(), x.__dask_keys__()).graph for x in (chain(2), chain(3))]
    assert not graphs[0].keys() & graphs[1].keys()


# ---- content ----
class Point:
    """An object of a class that we know nothing of."""

    def __init__(self, x: float) -> None:
        self.x = x

    def __call__(self, values: Any) -> Any:
        return values * self.x


class Locked(Point):
    """An object that cannot be pickled."""

    def __init__(self, x: float) -> None:
        super().__init__(x)
        self.lock = threading.Lock()


def power(values: Any, exponent: int = 2) -> Any:
    return values**exponent


def _closing_over(value: Any) -> Callable[[], Any]:
    return lambda: value


def _distinct() -> list[Any]:
    square = np.arange(400.0).reshape(20, 20)
    big = np.arange(10_000)
    changed = big.copy()
    changed[5_000] += 1
    return [
        0, False, 0.0, -0.0, 0j, "0", b"0", None, (), [], {}, math.nan, np.float64(0), np.float32(0),
        np.int64(0), np.zeros(1), np.zeros((1, 1)), np.zeros(1, np.int64), np.zeros(1, ">f8"), (0,), [0],
        square, square.T, square.T.copy(), np.asfortranarray(square), big, changed, big.astype(np.int32),
        big.reshape(100, 100), np.arange(3), (0, 1, 2), [0, 1, 2], np.dtype("f8"), np.dtype("f4"), "f8",
        {"a": 1, "b": 2}, {"b": 2, "a": 1}, (("a", 1), ("b", 2)), ((1,), 2), (1, (2,)), (1, 2), ("1", "2"),
        Labels("a", [[0]]), Labels("b", [[0]]), Labels("a", [[1]]), Labels("a", [[0], [1]]),
        np.sin, np.cos, len, power, functools.partial(power, exponent=3), functools.partial(power),
        functools.partial(Point(1.0)), Point(1.0), Point(2.0), Locked(1.0), Locked(1.0), Point, Locked,
        _closing_over(1), _closing_over(2), _closing_over(1.0), _closing_over(big), _closing_over(changed),
        _closing_over(Point(1.0)), _closing_over(np.ma.array([1, 2], mask=[0, 1])),
        np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), np.array([1, "a"], object),
        functools.partial(power, np.ma.array([1], mask=[0])),
        functools.partial(power, np.ma.array([1], mask=[1])),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), np.array([(1, 2.0)], [("a", "i4"), ("c", "f8")]),
    ]  # fmt: skip


def test_content_that_differs_has_another_name() -> None:
    found = [digest(content) for content in _distinct()]
    names = dict.fromkeys(found)
    assert len(names) == len(found), [n for n, name in enumerate(found) if found.index(name) != n]


def test_equal_content_has_one_name() -> None:
    differing = [
        n
        for n, (a, b) in enumerate(zip(_distinct(), _distinct(), strict=True))
        if digest(a) != digest(b) and not isinstance(a, Locked)
    ]
    assert not differing
    one = ("positions", 1.5)
    assert digest([one, one]) == digest([("".join(["pos", "itions"]), 1.5), ("positions", 3 / 2)])


def test_an_object_that_cannot_be_written_has_a_name_of_its_own() -> None:
    locked = Locked(1.0)
    assert digest(locked) != digest(locked)
    lazy = tensor().chunk(target_bytes=CHUNK_BYTES)
    results = [og.apply(lazy, Locked(by), lambda values, by=by: np.full_like(values, by)) for by in (2, 3)]
    first, second = dask.compute(*results)
    assert og.allclose(first, tensor() * 2)
    assert og.allclose(second, tensor() * 3)


def test_a_function_that_was_edited_has_another_name() -> None:
    """A module that is loaded again has functions of the same names."""
    module = types.ModuleType("outside")
    sys.modules["outside"] = module
    try:
        names = []
        for text in ("SCALE = 2\ndef f(x): return SCALE * x", "SCALE = 3\ndef f(x): return SCALE * x"):
            exec(text, module.__dict__)
            names += [digest(module.f), digest(module.f)]
    finally:
        del sys.modules["outside"]
    assert names[0] == names[1] != names[2] == names[3]


content = st.recursive(
    st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.booleans(), st.none())
    | st.integers(0, 5).map(np.arange)
    | st.integers(0, 5).map(np.zeros)
    | st.sampled_from([np.float64(1), np.float32(1), np.dtype("f8"), Labels.range("a", 2), np.sin]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(content, content)
def test_names_are_equal_where_content_is(a: Any, b: Any) -> None:
    assert (digest(a) == digest(b)) == same(a, b)


@given(st.lists(st.tuples(content, st.integers(0, 2)), min_size=1, max_size=4), st.randoms())
def test_every_task_of_a_layer_is_part_of_its_name(plan: list[tuple[Any, int]], random: Any) -> None:
    def named(own: Iterable[tuple[Any, int]]) -> str:
        draft = Draft()
        for constant, needs in own:
            draft.add(power, (constant,), [("other-1", n) for n in range(needs)])
        return draft.place("label", (), lambda: Notes({})).name

    changed = list(plan)
    random.shuffle(changed)
    assert (named(plan) == named(changed)) == same(plan, changed)
    assert named(plan) != named([*plan, plan[0]])
    assert named(plan) != named([(plan[0][0], plan[0][1] + 1), *plan[1:]])


# ---- what names may cost ----
def test_no_label_table_is_read_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    og.save(tmp_path / "x.zarr", tensor())
    opened = og.open(tmp_path / "x.zarr").chunk(target_bytes=CHUNK_BYTES)

    def refuse(*_: Any) -> Any:
        raise AssertionError("a table was read")

    monkeypatch.setattr("outgrad.storage.zarr.reader.ArchiveTable.read", refuse)
    with nothing_computed():
        for call in (lambda x: x * x, og.zeros_like, lambda x: x.to(np.float32), og.remove_gradients):
            assert call(opened).__dask_keys__()


NAMES_ELSEWHERE = """
from tests.support.variants import CALLS, CHUNK_BYTES, tensor
lazy = tensor().chunk(target_bytes=CHUNK_BYTES)
for name, call in CALLS.items():
    print(name, call(lazy).__dask_keys__()[0])
"""


def test_names_are_the_same_in_another_process() -> None:
    assert len(printed_with_hash_seeds(NAMES_ELSEWHERE)) == 1


def test_chunks_of_arrays_from_dask_are_named_after_them() -> None:
    arrays = [da.ones((6, 2), chunks=(3, 2)) * number for number in (1, 2)]
    blocks = [og.block_from_array(array) for array in arrays]
    first, second = dask.compute(*blocks)
    assert (first.values == 1).all()
    assert (second.values == 2).all()


# ---- while tasks are made ----
def test_python_looks_for_garbage_again_when_tasks_are_made() -> None:
    tensor().chunk(target_bytes=CHUNK_BYTES)
    assert gc.isenabled()
    gc.disable()
    try:
        tensor().chunk(target_bytes=CHUNK_BYTES)
        assert not gc.isenabled()
    finally:
        gc.enable()
