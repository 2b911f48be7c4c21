"""Reductions of groups that may cross chunks: what each chunk contributes, then a tree for each new chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.typing import Key

from outgrad.kernels.scatter import Index
from outgrad.lazy import tasks
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import Place, add_layer, outlines_token, refs
from outgrad.lazy.tree import fan_in, merge_in_tree
from outgrad.plan.chunks import pack
from outgrad.plan.outline import Outline, Part, Piece
from outgrad.plan.positions import span


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

    def name(self, parts: Sequence[Part]) -> str:
        token = tokenize(self.blocks.identity, self.present, outlines_token(self.outlines, parts))
        return f"{self.kind}-{token}"


class Source:
    """A contribution to a new chunk: where it is, which of its groups are used, and their new numbers."""

    __slots__ = ("place", "rows", "where")

    def __init__(self, place: Place, rows: tuple[int, int] | None, where: Any) -> None:
        self.place, self.rows, self.where = place, rows, where


def reduce_blocks(reduction: Reduction) -> LazyBlocks:
    """Reduce every chunk by its own groups, and merge what belongs to the same new chunk."""
    parts = pack(reduction.outlines, reduction.target_bytes)
    name = reduction.name(parts)
    blocks = reduction.blocks
    layer: dict[Key, Any] = {}
    partial: dict[Key, Key] = {}
    for number, (key, local) in enumerate(zip(blocks.keys, reduction.local, strict=True)):
        partial[key] = (f"partial-{name}", number)
        layer[partial[key]] = Task(partial[key], tasks.partial, reduction.kind, local, TaskRef(key))
    keys: list[Key] = [(name, number) for number in range(len(parts))]
    for key, part in zip(keys, parts, strict=True):
        sources = [
            _tree(layer, name, reduction, piece, _sources(reduction, partial, piece)) for piece in part
        ]
        layer[key] = _merge_task(key, reduction, part, sources, final=True)
    return LazyBlocks(add_layer(name, layer, [blocks.graph]), tuple(keys), parts, reduction.outlines)


def _sources(reduction: Reduction, partial: dict[Key, Key], piece: Piece) -> list[Source]:
    """What contributes to a new chunk: each chunk's groups are increasing, so a stretch of them does."""
    start, stop = map(int, reduction.outlines[piece.block].edges[piece.chunk : piece.chunk + 2])
    found = []
    places = reduction.blocks.chunks_of(piece.block)
    for (key, place), present in zip(places, reduction.present[piece.block], strict=True):
        first, last = np.searchsorted(present, [start, stop]).tolist()
        if first < last or stop == start:
            rows = None if last - first == len(present) else (first, last)
            found.append(Source((partial[key], place), rows, span(present[first:last] - start)))
    return found[:1] if stop == start else found


def _tree(
    layer: dict[Key, Any], name: str, reduction: Reduction, piece: Piece, sources: list[Source]
) -> list[Source]:
    """Merge a few contributions a task until as few are left for the last task."""
    outline = reduction.outlines[piece.block]
    size = outline.chunk_rows[piece.chunk]

    def merge(level: int, number: int, own: list[Source]) -> Source:
        key = (f"{name}-tree-{piece.block}-{piece.chunk}-{level}", number)
        layer[key] = _merge_task(key, reduction, (piece,), [own], final=False)
        return Source((key, 0), None, (0, size))

    few = fan_in(reduction.target_bytes, int(outline.chunk_bytes[piece.chunk]))
    return merge_in_tree([_cut_out(layer, name, piece, source) for source in sources], few, merge)


def _cut_out(layer: dict[Key, Any], name: str, piece: Piece, source: Source) -> Source:
    """Let a task of its own cut out the groups of one new chunk, so that no other task gets them all."""
    if source.rows is None:
        return source
    key, place = source.place
    own = (f"{name}-rows-{piece.block}-{piece.chunk}", len(layer))
    layer[own] = Task(own, tasks.cut_partial, place, source.rows, TaskRef(key))
    return Source((own, 0), None, source.where)


def _merge_task(
    key: Key, reduction: Reduction, part: Part, sources: Sequence[Sequence[Source]], final: bool
) -> Task:
    numbers, used = refs(source.place for own in sources for source in own)
    recipes = [
        (
            reduction.outlines[piece.block].chunk_rows[piece.chunk],
            [(numbers[source.place[0]], source.place[1], source.where) for source in own],
            reduction.outlines[piece.block].dtype,
        )
        for piece, own in zip(part, sources, strict=True)
    ]
    return Task(key, tasks.merge_partials, reduction.kind, final, recipes, *used)
