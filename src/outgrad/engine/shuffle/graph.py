"""Moves of rows between chunks and blocks: the graph of everything that puts blocks together anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from outgrad.data.chunking import pack_by_bytes
from outgrad.data.outline import Frame, Outline, Part, Piece
from outgrad.data.positions import Span, span
from outgrad.engine.shuffle.chunks import RowOrder, assemble_part, cut_rows
from outgrad.engine.shuffle.plan import Origin, PlannedPatch, plan_patches
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, Place, add_blocks, distinct, numbered, part_sizes
from outgrad.graph.trees import DIRECT_CHUNKS

LazyInput = tuple[LazyBlocks, int]
"""A block: some lazy blocks, and its number."""


@dataclass(frozen=True, eq=False)
class Move:
    """New blocks: the blocks that they are put together from, where rows go, and how they are cut."""

    inputs: Sequence[LazyInput]
    origins: Sequence[Sequence[Origin]]
    outlines: tuple[Outline, ...]
    frames: Sequence[Frame]
    orders: Sequence[RowOrder]
    fill: complex | float = 0

    @cached_property
    def places(self) -> list[list[Place]]:
        """Where each chunk of each input is."""
        return [list(blocks.chunks_of(number)) for blocks, number in self.inputs]

    @cached_property
    def patches(self) -> dict[Piece, list[PlannedPatch]]:
        """What each new chunk takes from which chunk."""
        patches: dict[Piece, list[PlannedPatch]] = {
            Piece(block, chunk): []
            for block, outline in enumerate(self.outlines)
            for chunk in range(outline.chunk_count)
        }
        for block, (origins, outline) in enumerate(zip(self.origins, self.outlines, strict=True)):
            for number, origin in enumerate(origins):
                edges = self._outline_of(origin).edges
                rows = np.arange(int(edges[-1])) if origin.rows is None else origin.rows
                for patch in plan_patches(number, rows, edges, outline.edges):
                    patches[Piece(block, patch.target)].append(patch)
        return patches

    def _outline_of(self, origin: Origin) -> Outline:
        blocks, number = self.inputs[origin.block]
        return blocks.outlines[number]

    def patch_counts(self, block: int) -> list[int]:
        """Number of pairs of chunks that exchange rows, for each origin of a new block."""
        counts = [0] * len(self.origins[block])
        for chunk in range(self.outlines[block].chunk_count):
            for patch in self.patches[Piece(block, chunk)]:
                counts[patch.origin] += 1
        return counts

    def place_of(self, piece: Piece, patch: PlannedPatch) -> Place:
        """Where the chunk is that a patch takes rows from."""
        return self.places[self.origins[piece.block][patch.origin].block][patch.source]

    def bytes_of(self, piece: Piece, patch: PlannedPatch) -> int:
        """Bytes of the rows that a patch takes; gradient rows are taken as spread evenly over samples."""
        outline = self._outline_of(self.origins[piece.block][patch.origin])
        share = len(patch.taken) / max(1, outline.chunk_rows[patch.source])
        return int(share * outline.held_bytes[patch.source])

    def costs(self) -> list[list[int]]:
        """Bytes of each new chunk or, if that is more, of the chunks that it is made of."""
        costs = [outline.chunk_bytes.tolist() for outline in self.outlines]
        for (block, chunk), patches in self.patches.items():
            outlines = [(self._outline_of(self.origins[block][patch.origin]), patch) for patch in patches]
            needed = sum(int(outline.chunk_bytes[patch.source]) for outline, patch in outlines)
            costs[block][chunk] = max(costs[block][chunk], needed)
        return costs


def move_blocks(label: str, move: Move, target_bytes: int) -> LazyBlocks:
    """Put blocks together anew, one task a part; each task is given only the chunks that it needs.

    Where these would be too much for one task, other tasks cut the rows out of each chunk first, so that
    no task holds more than a few chunks, wherever rows go.
    """
    parts = pack_by_bytes(move.costs(), target_bytes)
    sources = distinct(blocks for blocks, _ in move.inputs)
    sizes = part_sizes(sources)
    draft = Draft()
    cut: dict[Key, tuple[Piece, PlannedPatch]] = {}
    used: set[Key] = set()
    for part in parts:
        needed = {move.place_of(piece, patch)[0] for piece in part for patch in move.patches[piece]}
        used |= needed
        is_direct = sum(sizes[key] for key in needed) <= DIRECT_CHUNKS * target_bytes or len(needed) <= 1
        _add_part(draft, move, part, None if is_direct else cut)

    def note() -> Notes:
        return Notes({key: move.bytes_of(*rows) for key, rows in cut.items()})

    parents = [blocks.graph for blocks in sources if not used.isdisjoint(blocks.keys)]
    return add_blocks(label, draft, parents, parts, move.outlines, note)


def _add_part(
    draft: Draft, move: Move, part: Part, cut: dict[Key, tuple[Piece, PlannedPatch]] | None
) -> None:
    """Add the task of a part; with ``cut``, tasks before it cut rows out of chunks, and are noted there."""
    patches_of: list[list[tuple[Place, Any, Any, Any]]] = []
    for piece in part:
        patches_of.append([])
        for patch in move.patches[piece]:
            place = move.place_of(piece, patch)
            taken: Span | None = span(patch.taken)
            if cut is not None:
                key = draft.add(cut_rows, (place[1], taken), (place[0],), "rows")
                cut[key] = piece, patch
                place, taken = (key, 0), None
            columns = move.origins[piece.block][patch.origin].columns
            columns_span = None if columns is None else span(columns)
            patches_of[-1].append((place, taken, span(patch.placed), columns_span))
    numbers = numbered(place for patches in patches_of for place, *_ in patches)
    recipes = []
    for piece, patches in zip(part, patches_of, strict=True):
        start, stop = move.outlines[piece.block].edges[piece.chunk : piece.chunk + 2].tolist()
        recipes.append(
            (
                move.frames[piece.block],
                stop - start,
                [(numbers[key], number, *rest) for (key, number), *rest in patches],
                move.orders[piece.block],
                move.fill,
            )
        )
    draft.add(assemble_part, (recipes,), list(numbers))
