"""Moves of rows between chunks and blocks: the graph of everything that puts blocks together anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from outgrad.data.chunking import pack_by_bytes
from outgrad.data.outline import Frame, Outline, Part, Piece
from outgrad.data.positions import Span, span
from outgrad.engine.shuffle.chunks import Order, cut_rows, place_part
from outgrad.engine.shuffle.plan import Origin, Pair, pairs
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, Place, add_blocks, distinct, numbered, part_sizes
from outgrad.graph.trees import DIRECT_CHUNKS

Input = tuple[LazyBlocks, int]
"""A block: some lazy blocks, and its number."""


@dataclass(frozen=True, eq=False)
class Move:
    """New blocks: the blocks that they are put together from, where rows go, and how they are cut."""

    inputs: Sequence[Input]
    origins: Sequence[Sequence[Origin]]
    outlines: tuple[Outline, ...]
    frames: Sequence[Frame]
    orders: Sequence[Order]
    fill: complex | float = 0

    @cached_property
    def places(self) -> list[list[Place]]:
        """Where each chunk of each input is."""
        return [list(blocks.chunks_of(number)) for blocks, number in self.inputs]

    @cached_property
    def needed(self) -> dict[Piece, list[Pair]]:
        """What each new chunk takes from which chunk."""
        found: dict[Piece, list[Pair]] = {
            Piece(block, chunk): []
            for block, outline in enumerate(self.outlines)
            for chunk in range(outline.chunk_count)
        }
        for block, (own, outline) in enumerate(zip(self.origins, self.outlines, strict=True)):
            for pair in self._pairs(own, outline):
                found[Piece(block, pair.target)].append(pair)
        return found

    def _pairs(self, origins: Sequence[Origin], outline: Outline) -> list[Pair]:
        found = []
        for number, origin in enumerate(origins):
            edges = self._source(origin).edges
            rows = np.arange(int(edges[-1])) if origin.rows is None else origin.rows
            found += pairs(number, rows, edges, outline.edges)
        return found

    def _source(self, origin: Origin) -> Outline:
        blocks, number = self.inputs[origin.block]
        return blocks.outlines[number]

    def exchanged(self, block: int) -> list[int]:
        """Number of pairs of chunks that exchange rows, for each origin of a new block."""
        counts = [0] * len(self.origins[block])
        for chunk in range(self.outlines[block].chunk_count):
            for pair in self.needed[Piece(block, chunk)]:
                counts[pair.origin] += 1
        return counts

    def place_of(self, piece: Piece, pair: Pair) -> Place:
        """Where the chunk is that a pair takes rows from."""
        return self.places[self.origins[piece.block][pair.origin].block][pair.source]

    def notes(self, cut: Mapping[Key, tuple[Piece, Pair]]) -> Notes:
        """The memory of tasks that cut rows out of chunks."""
        return Notes({key: self.bytes_of(*rows) for key, rows in cut.items()})

    def bytes_of(self, piece: Piece, pair: Pair) -> int:
        """Bytes of the rows that a pair takes; gradient rows are taken as spread evenly over samples."""
        source = self._source(self.origins[piece.block][pair.origin])
        share = len(pair.taken) / max(1, source.chunk_rows[pair.source])
        return int(share * source.held_bytes[pair.source])

    def costs(self) -> list[list[int]]:
        """Bytes of each new chunk or, if that is more, of the chunks that it is made of."""
        costs = [outline.chunk_bytes.tolist() for outline in self.outlines]
        for piece, own in self.needed.items():
            given = sum(
                int(self._source(self.origins[piece.block][pair.origin]).chunk_bytes[pair.source])
                for pair in own
            )
            costs[piece.block][piece.chunk] = max(costs[piece.block][piece.chunk], given)
        return costs


def move_blocks(label: str, move: Move, target_bytes: int) -> LazyBlocks:
    """Put blocks together anew, one task a part; each task is given only the chunks that it needs.

    Where these would be too much for one task, other tasks cut the rows out of each chunk first, so that
    no task holds more than a few chunks whatever goes where.
    """
    parts = pack_by_bytes(move.costs(), target_bytes)
    sources = distinct(blocks for blocks, _ in move.inputs)
    sizes = part_sizes(sources)
    draft = Draft()
    cut: dict[Key, tuple[Piece, Pair]] = {}
    used: set[Key] = set()
    rows = [outline.chunk_rows for outline in move.outlines]
    for part in parts:
        given = {move.place_of(piece, pair)[0] for piece in part for pair in move.needed[piece]}
        used |= given
        direct = sum(sizes[other] for other in given) <= DIRECT_CHUNKS * target_bytes or len(given) <= 1
        _task(draft, move, part, rows, None if direct else _CutOut(draft, cut))
    parents = [b.graph for b in sources if not used.isdisjoint(b.keys)]
    return add_blocks(label, draft, parents, parts, move.outlines, lambda: move.notes(cut))


class _CutOut:
    """Adds tasks that cut rows out of a chunk; the part of each holds this one chunk."""

    def __init__(self, draft: Draft, rows: dict[Key, tuple[Piece, Pair]]) -> None:
        self._draft, self._rows = draft, rows

    def add(self, place: Place, taken: Any, rows: tuple[Piece, Pair]) -> Place:
        own = self._draft.add(cut_rows, (place[1], taken), (place[0],), "rows")
        self._rows[own] = rows
        return own, 0


def _task(
    draft: Draft, move: Move, part: Part, rows: Sequence[Sequence[int]], cut_out: _CutOut | None
) -> None:
    found: list[list[tuple[Place, Any, Any, Any]]] = []
    for piece in part:
        found.append([])
        for pair in move.needed[piece]:
            place = move.place_of(piece, pair)
            taken: Span | None = span(pair.taken)
            if cut_out is not None:
                place, taken = cut_out.add(place, taken, (piece, pair)), None
            columns = move.origins[piece.block][pair.origin].columns
            found[-1].append((place, taken, span(pair.placed), None if columns is None else span(columns)))
    numbers = numbered(place for own in found for place, *_ in own)
    recipes = [
        (
            move.frames[piece.block],
            rows[piece.block][piece.chunk],
            [(numbers[k], place, *rest) for (k, place), *rest in own],
            move.orders[piece.block],
            move.fill,
        )
        for piece, own in zip(part, found, strict=True)
    ]
    draft.add(place_part, (recipes,), list(numbers))
