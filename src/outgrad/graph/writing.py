"""The graph that writes lazy blocks through a writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dask.highlevelgraph import HighLevelGraph

from outgrad.data.chunk import Chunk, ChunkList
from outgrad.data.requests import Request, Seam, Written, request
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.task import task

Graph = HighLevelGraph
"""So that storage, which does not import Dask, can name it."""

FEW_PARTS = 4
"""A storage chunk to which more parts contribute waits long: what else these parts have written does not wait
with it. Chosen, not measured."""


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


def store_blocks(blocks: LazyBlocks, writer: Writer) -> StoreGraph:
    """Write every part by one task, and storage chunks shared by parts by seam tasks of their own."""
    requests = [tuple(request(blocks.outlines, piece) for piece in part) for part in blocks.parts]
    seams = writer.seams(requests)
    shared = {part for seam in seams for part in seam.parts}
    # Values are much smaller than gradients: a hundred parts share a storage chunk of values, and each of
    # them has megabytes of gradient rows, which their own seams wait for. So a task of its own takes what
    # waits long out of what a part has written. The receipt comes after it: otherwise Dask, which orders
    # tasks by what they lead to, runs it after all parts were written, and all their gradient rows wait for
    # that: 4.6 GB of a map of 40 GB, instead of 30 MB (docs/design/0006-memory-and-tasks.md).
    waits_long: dict[int, set[int]] = {}
    for seam in filter(_waits_long, seams):
        for part in seam.parts:
            waits_long.setdefault(part, set()).add(seam.array)

    draft = Draft()
    keys: list[Key] = []
    written: list[Key] = []
    ends: dict[int, Key] = {}
    for number, key in enumerate(blocks.keys):
        last = draft.add(write_part, (writer, requests[number]), (key,))
        written.append(last)
        if number in waits_long:
            last = ends[number] = draft.add(ends_of, (frozenset(waits_long[number]),), (last,), "ends")
        keys.append(draft.add(receipt, (), (last,), "receipt") if number in shared else last)
    sizes = dict.fromkeys([*written, *ends.values(), *keys], 0)
    for seam in seams:
        sources = [ends[part] if _waits_long(seam) else written[part] for part in seam.parts]
        keys.append(draft.add(write_seam, (writer, seam._replace(parts=())), sources, "seam"))
        sizes[keys[-1]] = 0
        # Each of the parts that share a storage chunk is taken to hold an equal share of it until then.
        share = seam.nbytes // len(seam.parts)
        for part in seam.parts:
            sizes[written[part]] += share
            if _waits_long(seam):
                sizes[ends[part]] += share
    nbytes = (*blocks.part_bytes, *(0 for _ in seams))
    layer = draft.place("write", [blocks.graph], lambda: Notes(sizes), once=True)
    return StoreGraph(layer.graph, tuple(map(layer.key, keys)), nbytes)


def _waits_long(seam: Seam) -> bool:
    return len(seam.parts) > FEW_PARTS


class Writer(Protocol):
    """A light handle on an output that is being written: it travels in tasks."""

    def start(self) -> None:
        """Lay out the output and write its label tables; nothing is visible yet."""
        ...

    def write(self, requests: Sequence[Request], chunks: Sequence[Chunk]) -> Written:
        """Write the rows of one part."""
        ...

    def seams(self, parts: Sequence[Sequence[Request]]) -> Sequence[Seam]:
        """List the storage chunks that several parts share."""
        ...

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Write a storage chunk that several parts share."""
        ...

    def prepare(self, receipts: Sequence[Written], texts: Mapping[str, str]) -> Any:
        """Finish and flush the output, with texts that were computed; return what is to be published."""
        ...

    def abort(self) -> None:
        """Remove what was written."""
        ...


@task(copies=True)
def write_part(writer: Writer, requests: Sequence[Request], part: ChunkList) -> Written:
    return writer.write(requests, part)


@task(copies=True)
def write_seam(writer: Writer, seam: Seam, *written: Written) -> Written:
    return writer.write_seam(seam, written).receipt()


@task(copies=True)
def ends_of(arrays: frozenset[int], written: Written) -> Written:
    """Keep only the rows of some arrays of those that wait for seams."""
    return replace(written, ends=tuple(end for end in written.ends if end.array in arrays))


@task(copies=True)
def receipt(written: Written) -> Written:
    return written.receipt()
