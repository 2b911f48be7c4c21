"""Many collections of blocks cut out of the chunks of one: one layer of tasks for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from outgrad.data.outline import Frame, Outline, Part, Piece
from outgrad.data.recut import ChunkRows
from outgrad.engine import outlines
from outgrad.engine.divide.chunks import Shares, cut_part
from outgrad.engine.shuffle.graph import LazyInput
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, Place, distinct, held_bytes, numbered, part_sizes


class LazyShare(NamedTuple):
    """A share as a block: its outline, and for each chunk the rows that it consists of.

    A share without rows has no such list: its only chunk is made of nothing.
    """

    outline: Outline
    chunks: Sequence[ChunkRows]


def lazy_shares(outline: Outline, shares: Shares) -> Iterator[LazyShare]:
    """Yield the shares of a block that has rows in each, cut where the block is cut."""
    paths = [path for path, _ in outline.walk()]
    edges = [node.edges for _, node in outline.walk()]
    starts, stops = (
        [getattr(node, name).tolist() for _, node in shares.walk()] for name in ("starts", "stops")
    )
    first = np.searchsorted(outline.edges, shares.starts, side="right").tolist()
    last = np.searchsorted(outline.edges, shares.stops, side="left").tolist()
    for n, (low, high) in enumerate(zip(first, last, strict=True)):
        # The rows at which each array of the share is cut: its ends, and the edges within.
        bounds = []
        for array, array_edges in enumerate(edges):
            start, stop = starts[array][n], stops[array][n]
            inner = array_edges[low:high].tolist()
            if start == stop:  # a gradient without rows has them nowhere: take the rows of its samples
                start = stop = inner[0] if inner else int(array_edges[low - 1])
            bounds.append([start, *inner, stop])
        chunks = []
        for number in range(high - low + 1):
            chunk = low - 1 + number
            origins = [int(array_edges[chunk]) for array_edges in edges]
            ranges = [
                (rows[number] - origin, rows[number + 1] - origin)
                for rows, origin in zip(bounds, origins, strict=True)
            ]
            chunks.append(ChunkRows(chunk, tuple(ranges)))
        share_edges = [np.array(rows, dtype=np.int64) - rows[0] for rows in bounds]
        yield LazyShare(outlines.with_edges(outline, dict(zip(paths, share_edges, strict=True))), chunks)


def split_blocks(
    label: str,
    inputs: Sequence[LazyInput],
    frames: Sequence[Frame],
    results: Sequence[Sequence[LazyShare]],
    target_bytes: int,
) -> list[LazyBlocks]:
    """Cut every result, which has a share of each of ``inputs``, out of the chunks that hold its rows.

    There is one task for each of these chunks, or for several where they fit into the chunk size together;
    the results share the layer and the tasks that it builds on. ``frames`` are those of the inputs.
    """
    places = [list(blocks.chunks_of(number)) for blocks, number in inputs]
    sources = distinct(blocks for blocks, _ in inputs)
    sizes = part_sizes(sources)
    draft = Draft()
    keys: list[list[Key]] = []
    parts = [_pack_by_sources(shares, places, sizes, target_bytes) for shares in results]
    for shares, result_parts in zip(results, parts, strict=True):
        keys.append([])
        for part in result_parts:
            rows_of = [shares[block].chunks[chunk] if shares[block].chunks else None for block, chunk in part]
            places_of = [
                None if rows is None else places[piece.block][rows.chunk]
                for piece, rows in zip(part, rows_of, strict=True)
            ]
            numbers = numbered(place for place in places_of if place is not None)
            recipes = [
                frames[piece.block]
                if rows is None or place is None
                else (numbers[place[0]], place[1], rows.ranges)
                for piece, rows, place in zip(part, rows_of, places_of, strict=True)
            ]
            keys[-1].append(draft.add(cut_part, (recipes,), list(numbers)))
    cuts = [tuple(share.outline for share in shares) for shares in results]

    def note() -> Notes:
        nbytes: dict[Key, int] = {}
        for result_keys, result_parts, result_cuts in zip(keys, parts, cuts, strict=True):
            nbytes.update(zip(result_keys, held_bytes(result_cuts, result_parts), strict=True))
        return Notes(nbytes)

    layer = draft.place(label, [blocks.graph for blocks in sources], note)
    return [
        LazyBlocks(layer.graph, tuple(map(layer.key, result_keys)), result_parts, result_cuts)
        for result_keys, result_parts, result_cuts in zip(keys, parts, cuts, strict=True)
    ]


def _pack_by_sources(
    shares: Sequence[LazyShare], places: Sequence[Sequence[Place]], sizes: dict[Key, int], target_bytes: int
) -> tuple[Part, ...]:
    """Pack the chunks of one result while the parts that they are cut from fit into the target together."""
    parts: list[list[Piece]] = []
    sources: set[Key] = set()
    for block, share in enumerate(shares):
        for chunk in range(share.outline.chunk_count):
            more = {places[block][share.chunks[chunk].chunk][0]} if share.chunks else set()
            # Chunks of one block stay apart: they were cut by bytes already.
            same_block = bool(parts) and parts[-1][-1].block == block
            if not parts or same_block or sum(sizes[key] for key in sources | more) > target_bytes:
                parts.append([])
                sources = set()
            parts[-1].append(Piece(block, chunk))
            sources |= more
    return tuple(tuple(part) for part in parts)
