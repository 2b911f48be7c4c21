"""Reductions of groups that may cross chunks: what each chunk contributes, then a tree for each new chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from outgrad.data.chunking import pack_chunks
from outgrad.data.outline import Outline, Part, Piece
from outgrad.data.positions import Index, Span, span
from outgrad.engine.reduce.chunks import SPREAD, contribute, cut_contribution, merge_contributions, wide_dtype
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, Place, add_blocks, numbered
from outgrad.graph.trees import fan_in, merge_in_tree


@dataclass(frozen=True, eq=False)
class Reduction:
    """What is reduced, and into which chunks.

    ``groups_of_parts`` has the groups of the rows of each piece of each part, which may be stored;
    ``present`` for each chunk of each block the numbers of its groups, increasing.
    """

    kind: str
    blocks: LazyBlocks
    groups_of_parts: Sequence[Sequence[Any]]
    present: Sequence[Sequence[Index]]
    outlines: tuple[Outline, ...]
    target_bytes: int

    def widened(self, block: int) -> float:
        """How much larger moments are than the result, since sums are taken in a wide dtype."""
        dtype = self.outlines[block].dtype
        count = 2 if self.kind in SPREAD else 1
        return count * wide_dtype(self.kind, dtype).itemsize / dtype.itemsize

    def contribution_bytes(self, piece: Piece, target: int | None = None) -> int:
        """Bytes of what a chunk contributes, to one new chunk or to all.

        It has a share of the groups of a new chunk, so that share of its rows; and no more rows than the
        chunk, except that squares may have more gradients of gradients.
        """
        result = self.outlines[piece.block]
        groups = np.diff(np.searchsorted(self.present[piece.block][piece.chunk], result.edges))
        shares = groups / np.maximum(1, np.diff(result.edges)) * result.held_bytes
        nbytes = float(shares.sum() if target is None else shares[target])
        source = self.blocks.outlines[piece.block]
        nested = any(gradient.gradients for gradient in source.gradients.values())
        if not (nested and self.kind in SPREAD):
            nbytes = min(nbytes, float(source.held_bytes[piece.chunk]))
        shift = result.row_bytes if self.kind in SPREAD else 0
        return int(self.widened(piece.block) * nbytes) + (8 + shift) * int(groups.sum())


class Contribution(NamedTuple):
    """Moments for a new chunk: where they are, which of their groups are used, and what numbers these get.

    ``piece`` is the chunk that contributes, or the new one where contributions were merged.
    """

    place: Place
    groups: tuple[int, int] | None
    numbers: Span
    piece: Piece


def reduce_blocks(reduction: Reduction) -> LazyBlocks:
    """Reduce every chunk by its own groups, and merge what belongs to the same new chunk."""
    parts = pack_chunks(reduction.outlines, reduction.target_bytes)
    blocks = reduction.blocks
    draft = Draft()
    contributions: dict[Key, Key] = {
        key: draft.add(contribute, (reduction.kind, groups), (key,), "partial")
        for key, groups in zip(blocks.keys, reduction.groups_of_parts, strict=True)
    }
    tree = _MergeTree(reduction, draft)
    for part in parts:
        few = [tree.merged(piece, _contributions_to(piece, reduction, contributions)) for piece in part]
        _add_merge(draft, reduction, part, few)

    def note() -> Notes:
        sums = {
            contributions[key]: sum(map(reduction.contribution_bytes, part))
            for key, part in zip(blocks.keys, blocks.parts, strict=True)
        }
        cut = {key: reduction.contribution_bytes(*pieces) for key, pieces in tree.cut.items()}
        return Notes({**sums, **cut, **tree.sizes})

    return add_blocks(reduction.kind, draft, [blocks.graph], parts, reduction.outlines, note)


def _contributions_to(piece: Piece, reduction: Reduction, keys: dict[Key, Key]) -> list[Contribution]:
    """What contributes to a new chunk: the groups of each chunk are increasing, so these are neighbours."""
    start, stop = reduction.outlines[piece.block].edges[piece.chunk : piece.chunk + 2].tolist()
    contributions = []
    places = reduction.blocks.chunks_of(piece.block)
    for chunk, ((key, number), present) in enumerate(
        zip(places, reduction.present[piece.block], strict=True)
    ):
        first, last = np.searchsorted(present, [start, stop]).tolist()
        if first < last or stop == start:
            groups = None if last - first == len(present) else (first, last)
            numbers = span(present[first:last] - start)
            contributions.append(
                Contribution((keys[key], number), groups, numbers, Piece(piece.block, chunk))
            )
    # A chunk without groups still needs one contribution, to know its gradients.
    return contributions[:1] if stop == start else contributions


@dataclass(eq=False)
class _MergeTree:
    """Adds the tasks that merge contributions to a new chunk until few enough are left for the last task."""

    reduction: Reduction
    draft: Draft
    sizes: dict[Key, int] = field(default_factory=dict)
    """Bytes of merged contributions."""
    cut: dict[Key, tuple[Piece, int]] = field(default_factory=dict)
    """What is cut out: of the contribution of a chunk, the groups of a new one."""

    def merged(self, piece: Piece, contributions: Sequence[Contribution]) -> list[Contribution]:
        """What is left for the last task of a new chunk."""
        alone = []
        for contribution in contributions:
            if contribution.groups is not None:
                # A task of its own cuts out the groups of this chunk, so that no other task gets them all.
                key, number = contribution.place
                group = f"rows-{piece.block}-{piece.chunk}"
                cut_key = self.draft.add(cut_contribution, (number, contribution.groups), (key,), group)
                self.cut[cut_key] = contribution.piece, piece.chunk
                contribution = contribution._replace(place=(cut_key, 0), groups=None)
            alone.append(contribution)

        outline = self.reduction.outlines[piece.block]
        nbytes = int(self.reduction.widened(piece.block) * outline.held_bytes[piece.chunk])

        def merge(level: int, number: int, few: list[Contribution]) -> Contribution:
            group = f"tree-{piece.block}-{piece.chunk}-{level}"
            key = _add_merge(self.draft, self.reduction, (piece,), [few], group)
            self.sizes[key] = nbytes
            return Contribution((key, 0), None, (0, outline.chunk_rows[piece.chunk]), piece)

        return merge_in_tree(alone, fan_in(self.reduction.target_bytes, nbytes), merge)


def _add_merge(
    draft: Draft,
    reduction: Reduction,
    part: Part,
    contributions: Sequence[Sequence[Contribution]],
    group: str = "",
) -> Key:
    """Merge contributions: those that stay in a group of tasks are merged further."""
    numbers = numbered(source.place for sources in contributions for source in sources)
    recipes = [
        (
            reduction.outlines[piece.block].chunk_rows[piece.chunk],
            [(numbers[source.place[0]], source.place[1], source.numbers) for source in sources],
            reduction.outlines[piece.block].dtype,
        )
        for piece, sources in zip(part, contributions, strict=True)
    ]
    constants = reduction.kind, not group, recipes
    return draft.add(merge_contributions, constants, list(numbers), group)
