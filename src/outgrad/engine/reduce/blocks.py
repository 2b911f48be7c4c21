"""Reductions of groups of samples or properties: labels of the results, at once or as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from itertools import pairwise
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.positions import Index
from outgrad.data.stored_rows import of_rows
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.engine.map.blocks import relabelled, run_in_memory, run_rule, run_without_properties
from outgrad.engine.reduce.chunks import REDUCTIONS, local_groups, reduce_part
from outgrad.engine.reduce.graph import Reduction, reduce_blocks
from outgrad.engine.reduce.plan import group_edges, group_rows
from outgrad.graph.lazy_blocks import rowwise
from outgrad.labels.labels import Labels

PLACEHOLDER = "_"
"""The dimension of the only entry that is left when all dimensions are reduced."""


@dataclass(frozen=True)
class Grouped:
    """Labels of the groups, the group of each entry, and the columns in which those of a group agree."""

    labels: Labels
    target: Index
    columns: tuple[int, ...]

    @property
    def constants(self) -> tuple[Any, ...]:
        return self.target, len(self.labels)


def reduced(kind: str, blocks: Blocks, axis: str, kept: list[str]) -> Blocks:
    """Reduce the entries of ``axis`` that agree in the dimensions ``kept``."""
    names = kept or [PLACEHOLDER]
    grouped = []
    for metadata in blocks.metadata:
        labels: Labels = getattr(metadata, axis)
        columns = tuple(labels.names.index(name) for name in kept)
        distinct, target = group_rows(labels.values, columns)
        grouped.append(Grouped(Labels(names, distinct, assume_unique=True), target, columns))
    if not kept and not any(len(groups.labels) for groups in grouped):
        # Without entries nothing is reduced to one, so there is no placeholder for dimensions that are gone.
        none = Labels([], np.empty((0, 0), np.int32))
        grouped = [replace(groups, labels=none) for groups in grouped]

    if axis == "properties":
        return run_rule(
            REDUCTIONS[kind, -1],
            [blocks],
            lambda n: grouped[n].constants,
            lambda n, metadata: replace(metadata, properties=grouped[n].labels),
        )
    return reduce_samples(blocks, kind, grouped)


@singledispatch
def reduce_samples(blocks: Blocks, kind: str, grouped: Sequence[Grouped]) -> Blocks:
    """Reduce samples by group."""
    raise NotImplementedError


@reduce_samples.register(InMemory)
def reduce_in_memory(blocks: InMemory, kind: str, grouped: Sequence[Grouped]) -> Blocks:
    return run_in_memory(
        blocks,
        REDUCTIONS[kind, 0],
        [blocks],
        lambda n: grouped[n].constants,
        lambda n, metadata: replace(metadata, samples=grouped[n].labels),
    )


@reduce_samples.register(Lazy)
def reduce_lazily(blocks: Lazy, kind: str, grouped: Sequence[Grouped]) -> Blocks:
    """Reduce each chunk by itself where no group crosses chunks; else merge what the chunks give."""
    rule, data, target_bytes = REDUCTIONS[kind, 0], blocks.data, chunk_bytes()
    metadata, cuts = [], []
    a_group_crosses_chunks = False
    for n, groups in enumerate(grouped):
        result = run_without_properties(rule, [blocks], n, groups.constants)
        head = replace(blocks.metadata[n], samples=groups.labels)
        metadata.append(relabelled(blocks.metadata[n], result, head))
        edges = group_edges(groups.target, data.outlines[n].edges, len(groups.labels))
        if edges is None:
            a_group_crosses_chunks = True
            cuts.append(outlines.automatic(metadata[n], result.values.dtype, target_bytes))
        else:
            cuts.append(outlines.at_edges(metadata[n], result.values.dtype, edges))

    groups_of_parts = _groups_of_parts(blocks, grouped)
    if not a_group_crosses_chunks:
        configs = [(rule, groups_of_pieces) for groups_of_pieces in groups_of_parts]
        reduced_data = rowwise(f"{kind}_rows", reduce_part, configs, [data], tuple(cuts))
    else:
        present = [
            [np.unique(groups.target[start:stop]) for start, stop in pairwise(outline.edges.tolist())]
            for groups, outline in zip(grouped, data.outlines, strict=True)
        ]
        reduced_data = reduce_blocks(
            Reduction(kind, data, groups_of_parts, present, tuple(cuts), target_bytes)
        )
    return Lazy(tuple(metadata), reduced_data)


def _groups_of_parts(blocks: Lazy, grouped: Sequence[Grouped]) -> list[list[Any]]:
    """For each piece of each part, the group of each row and how many groups there are.

    Where samples are stored, the task reads those of its chunk, and groups them itself.
    """
    groups_of_parts: list[list[Any]] = []
    for part in blocks.data.parts:
        groups_of_parts.append([])
        for block, chunk in part:
            start, stop = blocks.data.outlines[block].edges[chunk : chunk + 2].tolist()
            samples, groups = blocks.metadata[block].samples, grouped[block]
            if samples.is_stored:
                constants = of_rows(samples, start, stop, local_groups, groups.columns)
            else:
                distinct, target = np.unique(groups.target[start:stop], return_inverse=True)
                constants = target, len(distinct)
            groups_of_parts[-1].append(constants)
    return groups_of_parts
