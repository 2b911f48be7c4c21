"""Reductions of groups of samples or properties: which groups there are, at once or as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.lazy.blocks import LazyBlocks
from outgrad.lazy.build import rowwise
from outgrad.lazy.reduce import Reduction, reduce_blocks
from outgrad.ops.engine import lazy_of, run_eagerly, run_rule, shadows
from outgrad.ops.operands import T, content, like, names_of
from outgrad.plan.groups import Groups, group_edges, group_rows
from outgrad.plan.outline import Edges, Outline, Piece
from outgrad.rules.apply import apply_part
from outgrad.rules.moments import REDUCTIONS, SPREAD
from outgrad.tensor import outlines, relabel
from outgrad.tensor.blocks import Blocks
from outgrad.tensor.metadata import BlockMetadata

Names = str | Sequence[str]

PLACEHOLDER = "_"
"""The dimension of the only entry that is left when all dimensions are reduced."""


def reduce_groups(kind: str, call: str, tensor: T, axis: str, names: Names | None, by: Names | None) -> T:
    """Reduce the entries of ``axis`` that differ only in ``names``, or that agree in ``by``."""
    blocks = content(call, "tensor", tensor)
    _check_real(call, kind, blocks)
    argument = f"{axis[:-1] if axis == 'samples' else 'property'}_names"
    grouped = [_grouped(call, argument, axis, getattr(m, axis), names, by) for m in blocks.metadata]
    if not any(own.groups.size for own in grouped):
        grouped = [replace(own, labels=_without_placeholder(own.labels)) for own in grouped]

    def top(n: int, metadata: BlockMetadata) -> BlockMetadata:
        changed: dict[str, Any] = {axis: grouped[n].labels}
        return replace(metadata, **changed)

    if axis == "properties":
        return like(tensor, run_rule(REDUCTIONS[kind, -1], [blocks], lambda n: grouped[n].constants, top))
    if blocks.lazy is not None:
        return like(tensor, _reduce_lazily(kind, blocks, grouped))
    return like(tensor, run_eagerly(REDUCTIONS[kind, 0], [blocks], lambda n: grouped[n].constants, top))


def _check_real(call: str, kind: str, blocks: Blocks) -> None:
    """The square of a complex deviation is no variance, and its modulus has no complex derivative."""
    if kind in SPREAD and len(blocks) and blocks.dtype(0).kind == "c":
        raise ValidationError(
            f"{call}: the values are {blocks.dtype(0)}, but a variance is taken of real numbers; "
            "take that of the real and of the imaginary part"
        )


@dataclass(frozen=True)
class Grouped:
    """Labels of the groups, and the group of each entry."""

    labels: Labels
    groups: Groups
    columns: tuple[int, ...]

    @property
    def constants(self) -> tuple[Any, ...]:
        return self.groups.target, self.groups.size


def _grouped(
    call: str, argument: str, axis: str, labels: Labels, names: Names | None, by: Names | None
) -> Grouped:
    if (names is None) == (by is None):
        raise ValidationError(f"{call}: give either {argument}, what is reduced, or by, what stays")
    given = names_of(call, argument, names) if by is None else names_of(call, "by", by)
    unknown = [name for name in given if name not in labels.names]
    if unknown:
        raise ValidationError(
            f"{call}: {unknown} not found in the {axis}, whose dimensions are {labels.names}"
        )
    kept = [name for name in labels.names if (name in given) == (by is not None)]
    columns = tuple(labels.names.index(name) for name in kept)
    groups = group_rows(labels.values, columns)
    return Grouped(Labels(kept or [PLACEHOLDER], groups.rows, assume_unique=True), groups, columns)


def _without_placeholder(labels: Labels) -> Labels:
    """Nothing was reduced to one entry: without any, no dimension stands in for those that are gone."""
    return Labels([], np.empty((0, 0), np.int32)) if labels.names == [PLACEHOLDER] else labels


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


def _reduce_lazily(kind: str, blocks: Blocks, grouped: Sequence[Grouped]) -> Blocks:
    """Reduce each chunk by itself where no group crosses chunks; else merge what the chunks give."""
    lazy = lazy_of(blocks)
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
    local = [[_local(blocks, lazy, grouped, piece) for piece in part] for part in lazy.parts]
    if all(edges is not None for edges in aligned):
        configs = [(REDUCTIONS[kind, 0], constants) for constants in local]
        return Blocks(metadata, rowwise(f"{kind}_rows", apply_part, configs, [lazy], cuts))
    present = [_present(g, o) for g, o in zip(grouped, lazy.outlines, strict=True)]
    return Blocks(metadata, reduce_blocks(Reduction(kind, lazy, local, present, cuts, chunk_bytes())))


def _cut(edges: Edges | None, metadata: BlockMetadata, dtype: np.dtype[Any]) -> Outline:
    if edges is None:
        return outlines.automatic(metadata, dtype, chunk_bytes())
    return outlines.at_edges(metadata, dtype, edges)


def _local(blocks: Blocks, lazy: LazyBlocks, grouped: Sequence[Grouped], piece: Piece) -> Any:
    samples, own = blocks.metadata[piece.block].samples, grouped[piece.block]
    start, stop = map(int, lazy.outlines[piece.block].edges[piece.chunk : piece.chunk + 2])
    if samples.is_stored:
        return LocalGroups(samples, start, stop, own.columns)
    distinct, target = np.unique(own.groups.target[start:stop], return_inverse=True)
    return target, len(distinct)


def _present(grouped: Grouped, outline: Outline) -> list[Any]:
    """For every chunk, which groups it has."""
    target = grouped.groups.target
    pairs = zip(outline.edges[:-1].tolist(), outline.edges[1:].tolist(), strict=True)
    return [np.unique(target[start:stop]) for start, stop in pairs]
