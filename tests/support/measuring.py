"""Run tasks and see what memory each takes: in a process of its own, since other threads are seen too."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
from dask._task_spec import DataNode
from dask.typing import Key

import outgrad as og
from outgrad import Labels, TensorMap
from outgrad._threads import one_blas_thread
from outgrad.engine.shuffle import copy_rows as copying
from outgrad.engine.solve import triangles as factor
from outgrad.gradients import rowwise
from outgrad.gradients import weighted_sum as push
from outgrad.graph import memory
from outgrad.graph.fuse import Optimized, optimize
from outgrad.storage.save_plan import merged_graph, plan_save
from outgrad.testing import random_block
from tests.ops.case import Case
from tests.ops.cases import named
from tests.support.operands import CLOSED, FLAT, KEYS, UNIFORM_KEYS

CHUNK_BYTES = 200_000
PIECES_BYTES = 2**14

PARAMETERS = {"flat": FLAT, "nested": CLOSED}

SAMPLES = np.array([[system, atom] for system in range(4) for atom in range(60)])
TABLES = [SAMPLES, SAMPLES[::2], SAMPLES[80:180]]
PROPERTIES = Labels(["n", "l"], np.array([[n, angular] for n in range(9) for angular in range(4)]))


def small_pieces() -> None:
    """Make pieces much smaller than these small chunks, as the real ones are than real chunks."""
    push.CACHE_BYTES = PIECES_BYTES
    copying.ROW_COPY_BYTES = PIECES_BYTES
    factor.EQUATION_BYTES = PIECES_BYTES
    rowwise.PIECE_BYTES = PIECES_BYTES
    memory.PIECES_BYTES = 5 * PIECES_BYTES
    dask.config.set({"outgrad.chunk-bytes": CHUNK_BYTES})
    with one_blas_thread():
        pass  # the libraries are looked up once a process, and what is found about them stays


def operand(case: Case, seed: int, parameters: Any) -> TensorMap:
    """A map like those of the table of operations, of some chunks."""
    rng = np.random.default_rng(seed)
    sizes = [3, 3, 3] if case.uniform else [3, 1, 2]
    blocks = [
        random_block(
            rng,
            Labels(["system", "atom"], table),
            [Labels.range("m", size)],
            PROPERTIES,
            parameters,
            sparsity=0.3,
            order="samples",
        )
        for table, size in zip(TABLES, sizes, strict=True)
    ]
    return TensorMap(UNIFORM_KEYS if case.uniform else KEYS, blocks)


def apart(needed: Mapping[Key, Any]) -> Optimized:
    """The same tasks, none of which run as one."""
    return Optimized(needed, {key: (key,) for key in needed})


class Run(NamedTuple):
    """Bytes of a task: what it took beyond what it was given at most, and what it made."""

    peak: int
    made: int


def run(needed: Mapping[Key, Any]) -> dict[Key, Run]:
    """Run tasks one by one, and see what each takes; NumPy tells ``tracemalloc`` of every array."""
    results: dict[Key, Any] = {}
    found: dict[Key, Run] = {}
    tracemalloc.start()
    try:
        for key, task in needed.items():
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            results[key] = task({need: results[need] for need in task.dependencies})
            after, peak = tracemalloc.get_traced_memory()
            found[key] = Run(peak - before, after - before)
    finally:
        tracemalloc.stop()
    return found


def exceeding(graph: Any, keys: list[Key], slack: int = 0) -> list[str]:
    """Tasks that take more than was projected, or make more than was noted."""
    needed = optimize(graph, keys).needed
    sizes, work = memory.noted(graph)
    found = [f"{key}: nothing was noted" for key in needed.keys() - sizes.keys()]
    for key, own in run(needed).items():
        task = needed[key]
        if isinstance(task, DataNode) or key not in sizes:
            continue
        given = sum(sizes[need] for need in task.dependencies)
        projected = sizes[key] + memory.work_bytes(task, given + sizes[key], work)
        if own.peak > projected + slack:
            found.append(f"{key} {task.func.__name__}: took {own.peak}, projected {projected}")
        if own.made > 1.25 * sizes[key] + 2 * PIECES_BYTES + slack:
            found.append(f"{key} {task.func.__name__}: made {own.made}, noted {sizes[key]}")
    return found


MULTIPLY = named("multiply maps")


def exceeding_case(name: str, parameters: str) -> list[str]:
    """The same for a row of the table of operations."""
    case = named(name)
    maps = [operand(case, seed, PARAMETERS[parameters]) for seed in range(case.operands)]
    blocks = case.call(*(map.chunk() for map in maps))._blocks().to_compute
    return [] if blocks is None else exceeding(blocks.graph, list(blocks.keys))


CALLS = {
    "multiply": lambda map: og.multiply(map, map),
    "sort": lambda map: og.sort(map, "samples", descending=True),
    "sum over all systems": lambda map: og.sum_over_samples(map, "system"),
    "var": lambda map: og.var_over_samples(map, "system"),
}


def projected_and_taken(call: str) -> tuple[int, int]:
    """The most that a task is projected to hold, and the most that one holds."""
    blocks = CALLS[call](operand(MULTIPLY, 0, FLAT).chunk())._blocks().to_compute
    needed = optimize(blocks.graph, list(blocks.keys)).needed
    projected = memory.project(blocks.graph, apart(needed)).task_bytes
    sizes, _ = memory.noted(blocks.graph)
    taken = max(
        own.peak + sum(sizes[need] for need in needed[key].dependencies) for key, own in run(needed).items()
    )
    return projected, taken


def exceeding_storage(suffix: str, folder: Path) -> list[str]:
    """Tasks that read and write; they have storage chunks in hand too, which are counted once a worker."""
    map = operand(MULTIPLY, 0, FLAT)
    og.save(folder / f"in{suffix}", map)
    opened = og.open(folder / f"in{suffix}")
    store = plan_save(folder / f"out{suffix}", og.sum_over_samples(opened * opened, "atom"))
    store.start()
    largest = max(gradient.values.nbytes for block in map for _, gradient in block.gradients())
    found = exceeding(merged_graph([store]), list(store.keys), slack=2 * largest)
    store.abort()
    return found


def projected_and_waiting() -> tuple[memory.TaskMemory, int]:
    """Run a shuffle in the order of Dask; what is not asked for is forgotten as soon as nobody needs it."""
    rng = np.random.default_rng(0)
    shuffled = og.slice(operand(MULTIPLY, 0, FLAT), "samples", rng.permutation(100)).chunk()
    blocks = og.sort(shuffled, "samples")._blocks().to_compute
    optimized = optimize(blocks.graph, list(blocks.keys))
    results: dict[Key, Any] = {}
    for key, task in optimized.needed.items():
        results[key] = task({need: results[need] for need in task.dependencies})
    stored = memory.tasks_in_order(optimized)
    left = Counter([*(need for needs in stored.values() for need in needs), *optimized.wanted])
    held: dict[Key, int] = {}
    most = 0
    for key, needs in stored.items():
        left.subtract(needs)
        held = {need: nbytes for need, nbytes in held.items() if left[need]}
        most = max(most, sum(held.values()))
        held[key] = sum(chunk.nbytes for chunk in results[key]) if left[key] else 0
    return memory.project(blocks.graph, optimized), max(most, sum(held.values()))
