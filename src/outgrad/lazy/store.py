"""The graph that writes lazy blocks through a writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import add_layer
from outgrad.lazy.memory import Notes
from outgrad.plan.requests import Seam, request

Graph = HighLevelGraph

FEW_PARTS = 4
"""A storage chunk of more parts waits long: then what else each part has written does not wait with it."""


def merge_graphs(graphs: Sequence[Graph]) -> Graph:
    """Several graphs as one: what they have in common is in it once."""
    return HighLevelGraph.merge(*graphs)


@dataclass(frozen=True)
class StoreGraph:
    """Tasks that write blocks; the results of ``keys`` are receipts, which the client commits."""

    graph: HighLevelGraph
    keys: tuple[Key, ...]
    nbytes: tuple[int, ...]
    """Bytes of values and gradients that each of ``keys`` stands for (0 for seams)."""


def store_blocks(blocks: LazyBlocks, writer: tasks.Writer, token: str) -> StoreGraph:
    """Write every part by one task, and storage chunks shared by parts by seam tasks of their own."""
    requests = [tuple(request(blocks.outlines, piece) for piece in part) for part in blocks.parts]
    seams = writer.seams(requests)
    name = f"write-{tokenize(token, blocks.identity)}"
    layer: dict[Key, Any] = {}
    shared = {part for seam in seams for part in seam.parts}
    long = _long_waits(seams)
    keys: list[Key] = []
    for number, key in enumerate(blocks.keys):
        own: Key = (name, number)
        layer[own] = Task(own, tasks.write_part, writer, requests[number], TaskRef(key))
        if number in long:
            own = _step(layer, f"ends-{name}", number, tasks.ends_of, frozenset(long[number]), own)
        keys.append(_step(layer, f"receipt-{name}", number, tasks.receipt, own) if number in shared else own)
    for number, seam in enumerate(seams):
        own = (f"seam-{name}", number)
        before = f"ends-{name}" if _waits_long(seam) else name
        written = [TaskRef((before, part)) for part in seam.parts]
        layer[own] = Task(own, tasks.write_seam, writer, seam._replace(parts=()), *written)
        keys.append(own)
    nbytes = (*blocks.part_bytes, *(0 for _ in seams))
    graph = add_layer(name, layer, [blocks.graph], lambda: Notes(_sizes(layer, name, seams)))
    return StoreGraph(graph, tuple(keys), nbytes)


def _waits_long(seam: Seam) -> bool:
    return len(seam.parts) > FEW_PARTS


def _long_waits(seams: Sequence[Seam]) -> dict[int, set[int]]:
    """The arrays of each part whose rows wait for many other parts.

    Values are much smaller than gradients: a hundred parts share a storage chunk of values, and each of them
    has megabytes of gradient rows, which their own seams wait for. So a task of its own takes what waits long
    out of what a part has written. The receipt comes after it: otherwise Dask, which orders tasks by what
    they lead to, runs it after all parts were written, and all their gradient rows wait for that.
    """
    found: dict[int, set[int]] = {}
    for seam in filter(_waits_long, seams):
        for part in seam.parts:
            found.setdefault(part, set()).add(seam.array)
    return found


def _step(layer: dict[Key, Any], name: str, number: int, function: Any, *arguments: Any) -> Key:
    """Add a task to what a part has written; the last of the arguments is its key."""
    key = (name, number)
    layer[key] = Task(key, function, *arguments[:-1], TaskRef(arguments[-1]))
    return key


def _sizes(layer: dict[Key, Any], name: str, seams: Sequence[Seam]) -> dict[Key, int]:
    """What waits for seams: each of the parts that share a storage chunk is taken to hold as much of it."""
    sizes: dict[Key, int] = dict.fromkeys(layer, 0)
    for seam in seams:
        for part in seam.parts:
            sizes[(name, part)] += seam.nbytes // len(seam.parts)
            if _waits_long(seam):
                sizes[(f"ends-{name}", part)] += seam.nbytes // len(seam.parts)
    return sizes
