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
"""A shard to which more parts contribute waits long: what else these parts have written does not wait with
it. Chosen, not measured."""


def merge_graphs(graphs: Sequence[Graph]) -> Graph:
    """Several graphs as one: what they have in common is in it once."""
    return HighLevelGraph.merge(*graphs)


@dataclass(frozen=True)
class StoreGraph:
    """Tasks that write blocks; the results of ``keys`` are receipts, which the client commits."""

    graph: HighLevelGraph
    keys: tuple[Key, ...]
    nbytes: tuple[int, ...]
    """Bytes of values and gradients of the parts whose receipt each of ``keys`` returns."""


def store_blocks(blocks: LazyBlocks, writer: Writer) -> StoreGraph:
    """Write every part by one task, and the shards that it shares with the parts after it by one more.

    The second task also returns the receipt of the first: no other is needed for it.
    """
    requests = [tuple(request(blocks.outlines, piece) for piece in part) for part in blocks.parts]
    seams = writer.seams(requests)
    draft = Draft()
    written = [
        draft.add(write_part, (writer, wanted), (key,))
        for wanted, key in zip(requests, blocks.keys, strict=True)
    ]
    ends = _long_waiting_ends(draft, written, seams)

    keys: list[Key] = []
    nbytes: list[int] = []
    returned: set[int] = set()
    for group in _groups(seams):
        parts = sorted({part for seam in group for part in seam.parts})
        # Whose receipt is returned here; later groups have some of the same parts.
        receipts = tuple(place for place, part in enumerate(parts) if part not in returned)
        # What waits long is taken out of a part before, so that only that is left of it.
        before = [ends[part] for part in parts if part in ends]
        sources = [*(written[part] for part in parts), *before]
        plain = tuple(seam._replace(parts=()) for seam in group)
        keys.append(draft.add(write_seams, (writer, plain, receipts), sources, "seam"))
        nbytes.append(sum(blocks.part_bytes[parts[place]] for place in receipts))
        returned.update(parts)
    for seam in filter(_waits_long, seams):
        plain = (seam._replace(parts=()),)
        keys.append(draft.add(write_seams, (writer, plain, ()), [ends[part] for part in seam.parts], "seam"))
        nbytes.append(0)
    for part in range(len(written)):
        if part not in returned:
            last = written[part]
            keys.append(draft.add(receipt, (), (ends[part],), "receipt") if part in ends else last)
            nbytes.append(blocks.part_bytes[part])

    sizes = dict.fromkeys([*written, *ends.values(), *keys], 0)
    for seam in seams:
        # Each of the parts that share a shard is taken to hold an equal share of it until then.
        share = seam.nbytes // len(seam.parts)
        for part in seam.parts:
            sizes[written[part]] += share
            if _waits_long(seam):
                sizes[ends[part]] += share
    layer = draft.place("write", [blocks.graph], lambda: Notes(sizes), once=True)
    return StoreGraph(layer.graph, tuple(map(layer.key, keys)), tuple(nbytes))


def _groups(seams: Sequence[Seam]) -> list[list[Seam]]:
    """Seams of few parts, which one task writes if they begin in the same part."""
    groups: dict[int, list[Seam]] = {}
    for seam in seams:
        if not _waits_long(seam):
            groups.setdefault(seam.parts[0], []).append(seam)
    return [groups[first] for first in sorted(groups)]


def _long_waiting_ends(draft: Draft, written: Sequence[Key], seams: Sequence[Seam]) -> dict[int, Key]:
    """Tasks that take what waits long out of what a part has written, by the number of the part.

    Values are much smaller than gradients: in small chunks, a hundred parts share a shard of values, and each
    of them has megabytes of gradient rows, which their own seams wait for. The receipt of a part comes after
    this task: otherwise Dask, which orders tasks by what they lead to, runs it after all parts were written,
    and all their gradient rows wait for that: 4.6 GB of a map of 40 GB, instead of 30 MB
    (docs/design/0006-memory-and-tasks.md).
    """
    arrays: dict[int, set[int]] = {}
    for seam in filter(_waits_long, seams):
        for part in seam.parts:
            arrays.setdefault(part, set()).add(seam.array)
    return {
        part: draft.add(ends_of, (frozenset(of_part),), (written[part],), "ends")
        for part, of_part in sorted(arrays.items())
    }


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
        """List the shards that several parts share."""
        ...

    def write_seam(self, seam: Seam, written: Sequence[Written]) -> Written:
        """Write a shard that several parts share."""
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
def write_seams(writer: Writer, seams: Sequence[Seam], receipts: Sequence[int], *written: Written) -> Written:
    """Write shared shards; return what was written of them, and by the parts numbered ``receipts``."""
    made = [*(written[place] for place in receipts), *(writer.write_seam(seam, written) for seam in seams)]
    return Written(sum(each.nbytes for each in made), tuple(shard for each in made for shard in each.shards))


@task(copies=True)
def ends_of(arrays: frozenset[int], written: Written) -> Written:
    """Keep only the rows of some arrays of those that wait for seams."""
    return replace(written, ends=tuple(end for end in written.ends if end.array in arrays))


@task(copies=True)
def receipt(written: Written) -> Written:
    return written.receipt()
