"""Many collections of blocks cut out of the chunks of a few: one layer, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from outgrad.data.outline import Edges, Frame, Outline, Part, Piece
from outgrad.engine.divide.chunks import Division, cut_part
from outgrad.engine.shuffle.graph import Input
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, Place, distinct, held_bytes, numbered, part_sizes
from outgrad.tree import GradientPath, fold_down


class Cut(NamedTuple):
    """Where a new chunk is: the chunk of the input, and the local rows of each array."""

    chunk: int
    ranges: tuple[tuple[int, int], ...]


class Share(NamedTuple):
    """A new block: its chunks, and where each is; a block without rows comes from nowhere."""

    outline: Outline
    cuts: Sequence[Cut]


@dataclass(frozen=True, eq=False)
class Split:
    """Blocks that are divided: number n of every block together are the n-th result."""

    inputs: Sequence[Input]
    frames: Sequence[Frame]
    shares: Sequence[Sequence[Share]]
    """Of each result, the share of each block."""
    target_bytes: int


def shares(outline: Outline, division: Division) -> Iterator[Share]:
    """Yield the parts of a block that has rows in each, cut where the block is cut."""
    arrays = [own for _, own in division.walk()]
    paths = [path for path, _ in outline.walk()]
    edges = [own.edges for _, own in outline.walk()]
    starts, stops = ([getattr(own, name).tolist() for own in arrays] for name in ("starts", "stops"))
    first = np.searchsorted(outline.edges, division.starts, side="right").tolist()
    last = np.searchsorted(outline.edges, division.stops, side="left").tolist()
    for n, (low, high) in enumerate(zip(first, last, strict=True)):
        bounds = [
            _bounds(own, low, high, start[n], stop[n])
            for own, start, stop in zip(edges, starts, stops, strict=True)
        ]
        cuts = [_cut(place, low - 1 + place, bounds, edges) for place in range(high - low + 1)]
        yield Share(_outline(outline, dict(zip(paths, bounds, strict=True))), cuts)


def _bounds(edges: Edges, low: int, high: int, start: int, stop: int) -> list[int]:
    """Rows at which a part is cut: its own bounds, and the edges within."""
    inner = edges[low:high].tolist()
    if start == stop:  # a gradient without rows for the part starts anywhere: say where its samples are
        start = stop = inner[0] if inner else int(edges[low - 1])
    return [start, *inner, stop]


def _cut(place: int, chunk: int, bounds: Sequence[Sequence[int]], edges: Sequence[Edges]) -> Cut:
    """Where the chunk number ``place`` of a part is."""
    starts = [int(own[chunk]) for own in edges]
    ranges = [(b[place] - start, b[place + 1] - start) for b, start in zip(bounds, starts, strict=True)]
    return Cut(chunk, tuple(ranges))


def _outline(outline: Outline, bounds: Mapping[GradientPath, Sequence[int]]) -> Outline:
    edges = {path: np.array(own, dtype=np.int64) - own[0] for path, own in bounds.items()}
    return fold_down(
        lambda path, _, own, gradients: Outline(edges[path], own.trailing, own.dtype, gradients), outline
    )


def split_blocks(label: str, split: Split) -> list[LazyBlocks]:
    """Cut every result out of the chunks that hold its rows.

    There is one task for each of these chunks, or for several where they fit into the chunk size together;
    the results share the layer and the tasks that it builds on.
    """
    places = [list(blocks.chunks_of(number)) for blocks, number in split.inputs]
    draft = Draft()
    found: list[tuple[tuple[Key, ...], tuple[Part, ...]]] = []
    sources = distinct(blocks for blocks, _ in split.inputs)
    sizes = part_sizes(sources)
    for own in split.shares:
        parts = _parts(own, places, sizes, split.target_bytes)
        found.append((tuple(_task(draft, part, own, places, split.frames) for part in parts), parts))
    outlines = [tuple(share.outline for share in own) for own in split.shares]

    def note() -> Notes:
        made = zip(found, outlines, strict=True)
        sizes = (zip(keys, held_bytes(own, parts), strict=True) for (keys, parts), own in made)
        return Notes(dict(chain.from_iterable(sizes)))

    layer = draft.place(label, [own.graph for own in sources], note)
    return [
        LazyBlocks(layer.graph, tuple(map(layer.key, keys)), parts, own)
        for own, (keys, parts) in zip(outlines, found, strict=True)
    ]


def _parts(
    own: Sequence[Share], places: Sequence[Sequence[Place]], sizes: dict[Key, int], target_bytes: int
) -> tuple[Part, ...]:
    """Pack the chunks of one result while the parts that they are cut from fit into the target together."""
    parts: list[list[Piece]] = []
    given: set[Key] = set()
    for block, share in enumerate(own):
        for chunk in range(share.outline.chunk_count):
            needs = {places[block][share.cuts[chunk].chunk][0]} if share.cuts else set()
            follows_own = bool(parts) and parts[-1][-1].block == block
            if not parts or follows_own or sum(sizes[key] for key in given | needs) > target_bytes:
                parts.append([])
                given = set()
            parts[-1].append(Piece(block, chunk))
            given |= needs
    return tuple(tuple(part) for part in parts)


def _task(
    draft: Draft,
    part: Part,
    own: Sequence[Share],
    places: Sequence[Sequence[Place]],
    frames: Sequence[Frame],
) -> Key:
    cuts = [own[block].cuts[chunk] if own[block].cuts else None for block, chunk in part]
    found = [
        None if cut is None else places[piece.block][cut.chunk] for piece, cut in zip(part, cuts, strict=True)
    ]
    numbers = numbered(place for place in found if place is not None)
    recipe = [
        frames[piece.block] if cut is None or place is None else (numbers[place[0]], place[1], cut.ranges)
        for piece, cut, place in zip(part, cuts, found, strict=True)
    ]
    return draft.add(cut_part, (recipe,), list(numbers))
