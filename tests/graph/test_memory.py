"""What is projected of every task before it runs, against what it takes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import dask.array as da
import pytest
from dask._task_spec import Task, TaskRef
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

import outgrad as og
from outgrad.engine.reduce.chunks import merge_contributions
from outgrad.graph import memory
from outgrad.graph.draft import Notes, SizedLayer
from outgrad.graph.fuse import optimize
from tests.ops.cases import CASES
from tests.support import measuring
from tests.support.measuring import CHUNK_BYTES, FLAT, MULTIPLY, apart, operand

Measure = Callable[..., Any]


@pytest.fixture(scope="module")
def measure() -> Iterator[Measure]:
    """Call a function in another process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=measuring.small_pieces) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


@pytest.mark.parametrize("parameters", ["flat", pytest.param("nested", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_no_task_takes_more_than_was_projected(name: str, parameters: str, measure: Measure) -> None:
    assert measure(measuring.exceeding_case, name, parameters) == []


@pytest.mark.parametrize(
    ("call", "most"), [("multiply", 2.0), ("sort", 2.5), ("sum over all systems", 5.0), ("var", 5.0)]
)
def test_the_projection_is_not_far_above_what_is_taken(call: str, most: float, measure: Measure) -> None:
    projected, taken = measure(measuring.projected_and_taken, call)
    assert taken <= projected <= most * taken


@pytest.mark.parametrize("suffix", [".zarr", ".mts"])
def test_reading_and_writing(suffix: str, measure: Measure, tmp_path: Path) -> None:
    assert measure(measuring.exceeding_storage, suffix, tmp_path) == []


def test_what_waits_is_what_dask_keeps(measure: Measure) -> None:
    projected, waiting = measure(measuring.projected_and_waiting)
    assert waiting > CHUNK_BYTES / 2
    assert 0.9 * waiting <= projected.waiting_bytes <= 1.4 * waiting
    assert projected.result_bytes <= 1.2 * CHUNK_BYTES


def test_tasks_of_others_are_bounded_by_both_sides() -> None:
    """Nothing is known of Dask's own arrays: they hold what they are made of, for what they are used in."""
    array = (da.ones((1000, 10), chunks=(100, 10)) + 1)[::2]
    block = og.block_from_array(array)
    blocks = (block * block)._blocks().to_compute
    needed = optimize(blocks.graph, list(blocks.keys)).needed
    sizes = memory.result_sizes(needed, memory.noted(blocks.graph)[0])
    assert {sizes[key] for key in needed} <= {0, 50 * 10 * 8}
    assert memory.project(blocks.graph, apart(needed)).task_bytes < 10 * 50 * 10 * 8 + memory.PIECES_BYTES


def test_tasks_that_run_as_one_keep_what_they_were_given() -> None:
    """Inside a group results are forgotten; what comes from outside stays until its end."""
    sizes = dict(zip("abcdef", [100, 100, 50, 10, 40, 1], strict=True))

    def task(key: Key, *needs: Key) -> Task:
        return Task(key, merge_contributions, *(TaskRef(need) for need in needs))

    chain = [task("a"), task("b"), task("c", "a", "b"), task("d", "c"), task("e", "d"), task("f", "e")]
    graph = HighLevelGraph(
        {"all": SizedLayer({own.key: own for own in chain}, lambda: Notes(sizes, dict.fromkeys(sizes, 7)))},
        {"all": set()},
    )
    optimized = optimize(graph, ["f"])
    assert sorted(map(len, optimized.groups.values())) == [1, 1, 4]
    projected = memory.project(graph, optimized)
    # a and b; then c, d that is made of c, and what d takes on the way
    assert projected.task_bytes == 200 + 50 + 10 + 7 + memory.PIECES_BYTES
    assert (projected.result_bytes, projected.waiting_bytes) == (100, 100)
    assert memory.project({}, optimize({}, [])) == memory.TaskMemory(0, 0, 0)


def test_persisted_chunks_are_known() -> None:
    map = operand(MULTIPLY, 0, FLAT).chunk().persist()
    blocks = (map * map)._blocks().to_compute
    needed = optimize(blocks.graph, list(blocks.keys)).needed
    sizes, _ = memory.noted(blocks.graph)
    assert needed.keys() <= sizes.keys()
