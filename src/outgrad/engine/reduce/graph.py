"""Reductions of groups that may cross chunks: what each chunk contributes, then a tree for each new chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrad.data.chunking import pack_chunks
from outgrad.data.outline import Outline, Part, Piece
from outgrad.data.positions import Index, span
from outgrad.engine.reduce.chunks import SPREAD, contribute, cut_contribution, merge_contributions, wide_dtype
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, Place, add_blocks, numbered
from outgrad.graph.trees import fan_in, merge_in_tree


@dataclass(frozen=True, eq=False)
class Reduction:
    """What is reduced, and into which chunks.

    ``local`` holds for each part the constants of its pieces, which give the groups of each row;
    ``present`` for each chunk of each block the numbers of its groups, increasing.
    """

    kind: str
    blocks: LazyBlocks
    local: Sequence[Sequence[Any]]
    present: Sequence[Sequence[Index]]
    outlines: tuple[Outline, ...]
    target_bytes: int

    def widened(self, block: int) -> float:
        """How much larger moments are than the result, since sums are taken in a wide dtype."""
        dtype = self.outlines[block].dtype
        count = 2 if self.kind in SPREAD else 1
        return count * wide_dtype(self.kind, dtype).itemsize / dtype.itemsize

    def partial_bytes(self, piece: Piece, target: int | None = None) -> int:
        """Bytes of what a chunk contributes, to one new chunk or to all.

        It has a share of the groups of a new chunk, so that share of its rows; and no more rows than the
        chunk, except that squares may have more gradients of gradients.
        """
        made = self.outlines[piece.block]
        groups = np.diff(np.searchsorted(self.present[piece.block][piece.chunk], made.edges))
        shares = groups / np.maximum(1, np.diff(made.edges)) * made.held_bytes
        result = float(shares.sum() if target is None else shares[target])
        source = self.blocks.outlines[piece.block]
        nested = any(gradient.gradients for gradient in source.gradients.values())
        given = result if nested and self.kind in SPREAD else float(source.held_bytes[piece.chunk])
        shift = made.row_bytes if self.kind in SPREAD else 0
        return int(self.widened(piece.block) * min(result, given)) + (8 + shift) * int(groups.sum())


class Source:
    """A contribution to a new chunk: where it is, which of its groups are used, and their new numbers.

    ``piece`` is the chunk that contributes, or the new one where contributions were merged.
    """

    __slots__ = ("piece", "place", "rows", "where")

    def __init__(self, place: Place, rows: tuple[int, int] | None, where: Any, piece: Piece) -> None:
        self.place, self.rows, self.where, self.piece = place, rows, where, piece


def reduce_blocks(reduction: Reduction) -> LazyBlocks:
    """Reduce every chunk by its own groups, and merge what belongs to the same new chunk."""
    parts = pack_chunks(reduction.outlines, reduction.target_bytes)
    blocks = reduction.blocks
    draft = Draft()
    partial: dict[Key, Key] = {
        key: draft.add(contribute, (reduction.kind, local), (key,), "partial")
        for key, local in zip(blocks.keys, reduction.local, strict=True)
    }
    tree = _Tree(reduction, draft)
    for part in parts:
        sources = [tree.merged(piece, _sources(reduction, partial, piece)) for piece in part]
        _merge_task(draft, reduction, part, sources)

    def note() -> Notes:
        made = zip(partial.values(), blocks.parts, strict=True)
        sums = {key: sum(map(reduction.partial_bytes, part)) for key, part in made}
        cut = {key: reduction.partial_bytes(*pieces) for key, pieces in tree.cut.items()}
        return Notes({**sums, **cut, **tree.sizes})

    return add_blocks(reduction.kind, draft, [blocks.graph], parts, reduction.outlines, note)


def _sources(reduction: Reduction, partial: dict[Key, Key], piece: Piece) -> list[Source]:
    """What contributes to a new chunk: each chunk's groups are increasing, so a stretch of them does."""
    start, stop = map(int, reduction.outlines[piece.block].edges[piece.chunk : piece.chunk + 2])
    found = []
    places = reduction.blocks.chunks_of(piece.block)
    for chunk, ((key, place), present) in enumerate(zip(places, reduction.present[piece.block], strict=True)):
        first, last = np.searchsorted(present, [start, stop]).tolist()
        if first < last or stop == start:
            rows = None if last - first == len(present) else (first, last)
            where = span(present[first:last] - start)
            found.append(Source((partial[key], place), rows, where, Piece(piece.block, chunk)))
    return found[:1] if stop == start else found


@dataclass(frozen=True, eq=False)
class _Tree:
    """Adds the tasks that merge contributions to a new chunk until few enough are left for the last task."""

    reduction: Reduction
    draft: Draft
    sizes: dict[Key, int] = field(default_factory=dict)
    """Bytes of merged contributions."""
    cut: dict[Key, tuple[Piece, int]] = field(default_factory=dict)
    """What is cut out: of the contribution of a chunk, the groups of a new one."""

    def merged(self, piece: Piece, sources: list[Source]) -> list[Source]:
        outline = self.reduction.outlines[piece.block]
        nbytes = int(self.reduction.widened(piece.block) * outline.held_bytes[piece.chunk])

        def merge(level: int, number: int, own: list[Source]) -> Source:
            group = f"tree-{piece.block}-{piece.chunk}-{level}"
            key = _merge_task(self.draft, self.reduction, (piece,), [own], group)
            self.sizes[key] = nbytes
            return Source((key, 0), None, (0, outline.chunk_rows[piece.chunk]), piece)

        few = fan_in(self.reduction.target_bytes, nbytes)
        return merge_in_tree([self._cut_out(piece, source) for source in sources], few, merge)

    def _cut_out(self, piece: Piece, source: Source) -> Source:
        """Let a task of its own cut out the groups of one new chunk, so that no other task gets them all."""
        if source.rows is None:
            return source
        key, place = source.place
        group = f"rows-{piece.block}-{piece.chunk}"
        own = self.draft.add(cut_contribution, (place, source.rows), (key,), group)
        self.cut[own] = (source.piece, piece.chunk)
        return Source((own, 0), None, source.where, source.piece)


def _merge_task(
    draft: Draft, reduction: Reduction, part: Part, sources: Sequence[Sequence[Source]], group: str = ""
) -> Key:
    """Merge contributions: those that stay in a group of tasks are merged further."""
    numbers = numbered(source.place for own in sources for source in own)
    recipes = [
        (
            reduction.outlines[piece.block].chunk_rows[piece.chunk],
            [(numbers[source.place[0]], source.place[1], source.where) for source in own],
            reduction.outlines[piece.block].dtype,
        )
        for piece, own in zip(part, sources, strict=True)
    ]
    constants = reduction.kind, not group, recipes
    return draft.add(merge_contributions, constants, list(numbers), group)
