"""Reductions of groups of samples or properties: labels of the results, at once or as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline, Piece
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.engine.map import labels as relabel
from outgrad.engine.map.blocks import run_in_memory, run_rule, shadows
from outgrad.engine.reduce.chunks import REDUCTIONS
from outgrad.engine.reduce.graph import Reduction, reduce_blocks
from outgrad.engine.reduce.plan import Groups, group_edges, group_rows
from outgrad.gradients.rule import apply_part
from outgrad.graph.lazy_blocks import rowwise
from outgrad.labels.labels import Labels


@dataclass(frozen=True)
class Grouped:
    """Labels of the groups, and the group of each entry."""

    labels: Labels
    groups: Groups
    columns: tuple[int, ...]

    @property
    def constants(self) -> tuple[Any, ...]:
        return self.groups.target, self.groups.size


def reduced(kind: str, blocks: Blocks, axis: str, grouped: Sequence[Grouped]) -> Blocks:
    """Reduce the entries of ``axis`` by group."""

    if axis == "properties":
        return run_rule(
            REDUCTIONS[kind, -1],
            [blocks],
            lambda n: grouped[n].constants,
            lambda n, labels: replace(labels, properties=grouped[n].labels),
        )
    return reduce_samples(blocks, kind, grouped)


@singledispatch
def reduce_samples(blocks: Blocks, kind: str, grouped: Sequence[Grouped]) -> Blocks:
    """Reduce samples by group."""
    raise NotImplementedError


@reduce_samples.register(InMemory)
def reduce_in_memory(blocks: InMemory, kind: str, grouped: Sequence[Grouped]) -> Blocks:
    rule = REDUCTIONS[kind, 0]
    return run_in_memory(
        blocks,
        rule,
        [blocks],
        lambda n: grouped[n].constants,
        lambda n, labels: replace(labels, samples=grouped[n].labels),
    )


@dataclass(frozen=True)
class LocalGroups:
    """Groups of the samples of one chunk: the task reads these labels and groups them itself."""

    samples: Labels
    start: int
    stop: int
    columns: tuple[int, ...]

    def resolve(self) -> tuple[Any, ...]:
        groups = group_rows(self.samples.read(self.start, self.stop), self.columns)
        return groups.target, groups.size


@reduce_samples.register(Lazy)
def reduce_lazily(blocks: Lazy, kind: str, grouped: Sequence[Grouped]) -> Blocks:
    """Reduce each chunk by itself where no group crosses chunks; else merge what the chunks give."""
    lazy = blocks.data
    results = [shadows(REDUCTIONS[kind, 0], [blocks], n, g.constants) for n, g in enumerate(grouped)]
    metadata = tuple(
        relabel.relabelled(m, result, replace(m, samples=g.labels))
        for m, result, g in zip(blocks.metadata, results, grouped, strict=True)
    )
    aligned = [
        group_edges(g.groups.target, o.edges, g.groups.size)
        for g, o in zip(grouped, lazy.outlines, strict=True)
    ]
    cuts = tuple(
        _cut(edges, m, result.values.dtype)
        for edges, m, result in zip(aligned, metadata, results, strict=True)
    )
    local = [[_local(blocks, grouped, piece) for piece in part] for part in lazy.parts]
    if all(edges is not None for edges in aligned):
        configs = [(REDUCTIONS[kind, 0], constants) for constants in local]
        return Lazy(metadata, rowwise(f"{kind}_rows", apply_part, configs, [lazy], cuts))
    present = [_present(g, o) for g, o in zip(grouped, lazy.outlines, strict=True)]
    return Lazy(metadata, reduce_blocks(Reduction(kind, lazy, local, present, cuts, chunk_bytes())))


def _cut(edges: Edges | None, metadata: BlockMetadata, dtype: np.dtype[Any]) -> Outline:
    if edges is None:
        return outlines.automatic(metadata, dtype, chunk_bytes())
    return outlines.at_edges(metadata, dtype, edges)


def _local(blocks: Lazy, grouped: Sequence[Grouped], piece: Piece) -> Any:
    samples, own = blocks.metadata[piece.block].samples, grouped[piece.block]
    start, stop = map(int, blocks.data.outlines[piece.block].edges[piece.chunk : piece.chunk + 2])
    if samples.is_stored:
        return LocalGroups(samples, start, stop, own.columns)
    distinct, target = np.unique(own.groups.target[start:stop], return_inverse=True)
    return target, len(distinct)


def _present(grouped: Grouped, outline: Outline) -> list[Any]:
    """For every chunk, which groups it has."""
    target = grouped.groups.target
    pairs = zip(outline.edges[:-1].tolist(), outline.edges[1:].tolist(), strict=True)
    return [np.unique(target[start:stop]) for start, stop in pairs]
