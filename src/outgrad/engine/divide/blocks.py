"""Blocks divided into parts by their samples: many results, one pass over labels and gradient rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.config import chunk_bytes
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.positions import Index
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.engine.divide.chunks import Division, divide
from outgrad.engine.divide.graph import Share, Split, shares, split_blocks
from outgrad.engine.map import labels as relabel
from outgrad.engine.shuffle.blocks import Order, Origin, Target, moved
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.labels.labels import Labels

PartOfBlock = tuple[BlockMetadata, Chunk]


class Picks(NamedTuple):
    """The rows of each part of a block: part n has ``rows[edges[n]:edges[n + 1]]``, in this order."""

    rows: Index
    edges: Index


@singledispatch
def split_rows(blocks: Blocks, label: str, picks: Sequence[Picks], count: int) -> Sequence[Blocks]:
    """Divide every block into ``count`` parts; the n-th parts of all blocks are the n-th result."""
    raise NotImplementedError


@split_rows.register(InMemory)
def split_in_memory(blocks: InMemory, label: str, picks: Sequence[Picks], count: int) -> Sequence[Blocks]:
    """The parts of a block are views where the rows of every part are neighbours."""
    divided = [
        _block_parts(metadata, blocks.with_tables(number), own)[0]
        for number, (metadata, own) in enumerate(zip(blocks.metadata, picks, strict=True))
    ]
    return [
        replace(blocks, metadata=tuple(p[n][0] for p in divided), chunks=tuple(p[n][1] for p in divided))
        for n in range(count)
    ]


def _block_parts(metadata: BlockMetadata, chunk: Chunk, picks: Picks) -> tuple[list[PartOfBlock], Division]:
    """All parts of a block; those without rows are one object, as maps of many blocks have many of these."""
    filled = np.flatnonzero(np.diff(picks.edges))
    last = picks.edges[-1:]
    division = divide(chunk, picks.rows, np.concatenate([picks.edges[filled], last, last]))
    parts = _parts(metadata, division, _samples(metadata.samples, division, picks))
    which = np.full(len(picks.edges) - 1, len(filled))
    which[filled] = np.arange(len(filled))
    return [parts[n] for n in which.tolist()], division


def _samples(samples: Labels, division: Division, picks: Picks) -> list[Labels]:
    ordered = samples
    if not division.is_original:
        ordered = _labels(samples.names, samples.values[picks.rows])
    return ordered.slices(division.starts.tolist(), division.stops.tolist())


def _labels(names: Sequence[str], table: npt.NDArray[np.int32]) -> Labels:
    """Labels of all parts behind each other: only those of one part have to be unique."""
    table.flags.writeable = False
    return Labels(names, table, assume_unique=True)


def _parts(metadata: BlockMetadata, division: Division, samples: Sequence[Labels]) -> list[PartOfBlock]:
    below = {name: _gradient_parts(metadata.gradients[name], own) for name, own in division.gradients.items()}
    heads, chunks = _by_part(below, 0, len(samples)), _by_part(below, 1, len(samples))
    values, components, properties = division.values, metadata.components, metadata.properties
    rows = zip(division.starts.tolist(), division.stops.tolist(), strict=True)
    return [
        (BlockMetadata(own, components, properties, head), Chunk(values[start:stop], chunk))
        for own, (start, stop), head, chunk in zip(samples, rows, heads, chunks, strict=True)
    ]


def _gradient_parts(metadata: BlockMetadata, division: Division) -> list[PartOfBlock]:
    assert division.table is not None, "gradients have rows"
    edges = division.edges.tolist()
    rows = _labels(metadata.samples.names, division.table).slices(edges[:-1], edges[1:])
    return _parts(metadata, division, rows)


def _by_part(below: dict[str, list[PartOfBlock]], side: int, count: int) -> list[dict[str, Any]]:
    """The metadata or the chunks of the gradients of each part; without gradients, one dict for all."""
    if not below:
        return [{}] * count
    return [{name: own[n][side] for name, own in below.items()} for n in range(count)]


@split_rows.register(Lazy)
def split_lazily(blocks: Lazy, label: str, picks: Sequence[Picks], count: int) -> Sequence[Blocks]:
    """Labels and rows are found by dividing the blocks without their content."""
    found = [
        _block_parts(m, relabel.without_properties(m, blocks.dtype(n)), own)
        for n, (m, own) in enumerate(zip(blocks.metadata, picks, strict=True))
    ]
    inputs, divisions = _in_order(label, blocks, picks, [division for _, division in found])
    by_block = [
        _block_shares(data.outlines[number], division, own)
        for (data, number), division, own in zip(inputs, divisions, picks, strict=True)
    ]
    frames = [outlines.frame(m, blocks.dtype(n)) for n, m in enumerate(blocks.metadata)]
    split = Split(inputs, frames, [[own[n] for own in by_block] for n in range(count)], chunk_bytes())
    data = split_blocks(label, split)
    return [Lazy(tuple(parts[n][0] for parts, _ in found), own) for n, own in enumerate(data)]


def _in_order(
    label: str, blocks: Lazy, picks: Sequence[Picks], divisions: Sequence[Division]
) -> tuple[list[tuple[LazyBlocks, int]], list[Division]]:
    """Blocks in which the rows of every part are neighbours: where they are not, rows are moved first."""
    inputs, found = [(blocks.data, n) for n in range(len(blocks))], list(divisions)
    scattered = [n for n, own in enumerate(divisions) if not all(each.is_original for _, each in own.walk())]
    if not scattered:
        return inputs, found
    gathered = _gathered(label, blocks, picks, scattered).to_lazy(chunk_bytes())
    for place, n in enumerate(scattered):
        bare = relabel.without_properties(gathered.metadata[place], blocks.dtype(n))
        ordered = Picks(np.arange(len(picks[n].rows)), picks[n].edges)
        found[n] = _block_parts(gathered.metadata[place], bare, ordered)[1]
        inputs[n] = (gathered.data, place)
    return inputs, found


def _block_shares(outline: Outline, division: Division, picks: Picks) -> list[Share]:
    """The share of every part; those without rows are one, which needs no chunk."""
    *filled, nothing = shares(outline, division)
    found, parts = iter(filled), np.diff(picks.edges) > 0
    empty = Share(nothing.outline, ())
    return [next(found) if has_rows else empty for has_rows in parts.tolist()]


def _gathered(label: str, blocks: Blocks, picks: Sequence[Picks], numbers: Sequence[int]) -> Blocks:
    """Move the rows of blocks so that those of every part are neighbours."""
    targets = []
    for place, number in enumerate(numbers):
        metadata, rows = blocks.metadata[number], picks[number].rows
        samples = _labels(metadata.samples.names, metadata.samples.values[rows])
        origins = tuple(Origin(place, own) for own in _places(rows, len(metadata.samples)))
        targets.append(Target(replace(metadata, samples=samples), origins, Order.FOLLOWING))
    return moved(f"{label}-rows", [(blocks, number) for number in numbers], targets)


def _places(rows: Index, count: int) -> list[Index]:
    """Where each of ``count`` rows goes the first time that it occurs, then the second time, and so on."""
    order = np.argsort(rows, kind="stable")
    new = np.concatenate([[True], np.diff(rows[order]) > 0])[: len(rows)]
    first = np.flatnonzero(new)
    times = np.arange(len(rows)) - first[np.cumsum(new) - 1]
    found: list[Index] = []
    for time in range(int(times.max(initial=0)) + 1):
        own = order[times == time]
        found.append(np.full(count, -1, dtype=np.int64))
        found[-1][rows[own]] = own
    return found
