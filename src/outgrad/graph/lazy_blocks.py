"""Lazy blocks: the parts of a Dask graph that hold the chunks of blocks, and the builders of such graphs.

A builder adds one layer for all blocks, with one task a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.highlevelgraph import HighLevelGraph

from outgrad.data.chunk import Chunk, collect_part, cut_chunk, recut_part
from outgrad.data.chunking import pack_chunks
from outgrad.data.outline import Outline, Part, Piece
from outgrad.data.recut import rows_of_old_chunks
from outgrad.data.requests import request
from outgrad.graph.dask_names import Key
from outgrad.graph.draft import Draft, Layer, Note, Notes, Shared, TaskFunction

Place = tuple[Key, int]
"""Where a chunk is: the key of a task, and a number in the list that it makes."""


@dataclass(frozen=True)
class LazyBlocks:
    """Blocks whose chunks are computed by tasks, one task a *part*.

    The result of task ``keys[n]`` is a list with one :class:`Chunk` for each piece of ``parts[n]``.
    """

    graph: HighLevelGraph
    keys: tuple[Key, ...]
    parts: tuple[Part, ...]
    outlines: tuple[Outline, ...]

    @cached_property
    def places(self) -> Mapping[Piece, Place]:
        """Where each chunk is."""
        return {
            piece: (key, number)
            for key, part in zip(self.keys, self.parts, strict=True)
            for number, piece in enumerate(part)
        }

    def made_by(self, function: Callable[..., object]) -> bool:
        """Whether every part is the result of a task that runs ``function``."""
        return not self.keys or self.maker is function

    @cached_property
    def maker(self) -> Callable[..., object] | None:
        """The function of the tasks of all parts; None if there are several, or none."""
        functions = {getattr(self.graph.get(key), "func", None) for key in self.keys}
        return functions.pop() if len(functions) == 1 else None

    @cached_property
    def arguments(self) -> dict[Key, tuple[Any, ...]]:
        """What the task of each part is given, by its key."""
        return {key: self.graph[key].args for key in self.keys}

    @property
    def nbytes(self) -> int:
        """Bytes of all values and gradients."""
        return sum(outline.nbytes for outline in self.outlines)

    @property
    def part_bytes(self) -> list[int]:
        """Bytes of the result of each part."""
        return _sums([outline.chunk_bytes for outline in self.outlines], self.parts)

    def chunks_of(self, block: int) -> Iterator[Place]:
        """Yield the place of each chunk of ``block``, in order."""
        for chunk in range(self.outlines[block].chunk_count):
            yield self.places[Piece(block, chunk)]


@dataclass(frozen=True)
class LazyText:
    """A text that a task will make, as a report on what was computed; equal texts have equal keys."""

    graph: HighLevelGraph = field(compare=False)
    key: Key

    @classmethod
    def of(cls, layer: Layer) -> LazyText:
        """The result of the only task of a layer that is in no group."""
        (key,) = layer.keys
        return cls(layer.graph, key)

    def __dask_tokenize__(self) -> Any:
        return "outgrad.LazyText", self.key


def held_bytes(outlines: Sequence[Outline], parts: Sequence[Part]) -> list[int]:
    """Bytes of the result of each part, with the labels of gradient rows."""
    return _sums([outline.held_bytes for outline in outlines], parts)


def _sums(sizes: Sequence[npt.NDArray[np.int64]], parts: Sequence[Part]) -> list[int]:
    return [sum(int(sizes[block][chunk]) for block, chunk in part) for part in parts]


def gather_chunks(blocks: LazyBlocks, results: list[list[Chunk]]) -> list[list[Chunk]]:
    """Sort the computed parts into the list of chunks of each block."""
    chunk_of: dict[Piece, Chunk] = {}
    for part, chunks in zip(blocks.parts, results, strict=True):
        chunk_of.update(zip(part, chunks, strict=True))
    return [
        [chunk_of[Piece(block, chunk)] for chunk in range(outline.chunk_count)]
        for block, outline in enumerate(blocks.outlines)
    ]


def add_blocks(
    label: str,
    draft: Draft,
    parents: Iterable[HighLevelGraph],
    parts: tuple[Part, ...],
    outlines: tuple[Outline, ...],
    inner: Note | None = None,
) -> LazyBlocks:
    """Put a layer on top whose n-th task that is in no group makes the n-th part of blocks.

    ``inner`` notes the memory of tasks on the way to them.
    """

    def note() -> Notes:
        notes = Notes({}) if inner is None else inner()
        results: dict[Key, int] = {(0, n): nbytes for n, nbytes in enumerate(held_bytes(outlines, parts))}
        return Notes({**notes.sizes, **results}, notes.work)

    layer = draft.place(label, parents, note)
    return LazyBlocks(layer.graph, layer.keys, parts, outlines)


def made_blocks(
    label: str,
    function: TaskFunction,
    configs: Sequence[tuple[Any, ...]],
    outlines: tuple[Outline, ...],
    parts: tuple[Part, ...],
) -> LazyBlocks:
    """Make blocks of nothing but ``configs``: the n-th part is ``function(*configs[n])``."""
    draft = Draft()
    draft.add_all(function, configs)
    return add_blocks(label, draft, (), parts, outlines)


def from_chunks(chunks: Sequence[Chunk], outlines: tuple[Outline, ...], target_bytes: int) -> LazyBlocks:
    """Hold blocks that are in memory already; the chunks are views."""
    parts = pack_chunks(outlines, target_bytes)
    draft = Draft()
    blocks = _BlocksInMemory(tuple(chunks), outlines)
    draft.add_all(_cut_part, [(blocks, part) for part in parts], data=True)
    return add_blocks("memory", draft, (), parts, outlines)


@dataclass(frozen=True, eq=False)
class _BlocksInMemory(Shared):
    """Blocks in memory, and how they are cut."""

    chunks: tuple[Chunk, ...]
    outlines: tuple[Outline, ...]


def _cut_part(blocks: _BlocksInMemory, part: Part) -> list[Chunk]:
    return [cut_chunk(blocks.chunks[piece.block], request(blocks.outlines, piece).ranges) for piece in part]


def rowwise(
    label: str,
    function: TaskFunction,
    configs: Sequence[tuple[Any, ...]],
    operands: Sequence[LazyBlocks],
    outlines: tuple[Outline, ...],
    work: Callable[[], Iterable[int]] = tuple,
) -> LazyBlocks:
    """Run ``function(*configs[n], *parts)`` on the n-th parts of operands that are cut alike.

    ``work`` has the bytes that each task needs on the way, where its function does not say so.
    """
    first = operands[0]
    assert all(operand.parts == first.parts for operand in operands), "operands must be cut alike first"
    draft = Draft()
    draft.add_all(function, configs, [operand.keys for operand in operands])
    parents = [operand.graph for operand in operands]

    def inner() -> Notes:
        return Notes({}, {(0, number): nbytes for number, nbytes in enumerate(work())})

    return add_blocks(label, draft, parents, first.parts, outlines, inner)


def collect(items: Sequence[tuple[LazyBlocks, int]], target_bytes: int) -> LazyBlocks:
    """Choose blocks, from one or several graphs, and pack them into parts."""
    outlines = tuple(blocks.outlines[number] for blocks, number in items)
    places = [list(blocks.chunks_of(number)) for blocks, number in items]
    parts = pack_chunks(outlines, target_bytes)
    graphs = [source.graph for source in distinct(blocks for blocks, _ in items)]
    draft = Draft()
    for part in parts:
        needed = [places[piece.block][piece.chunk] for piece in part]
        numbers = numbered(needed)
        draft.add(collect_part, ([(numbers[key], number) for key, number in needed],), list(numbers))
    return add_blocks("collect", draft, graphs, parts, outlines)


def distinct(blocks: Iterable[LazyBlocks]) -> list[LazyBlocks]:
    """Each of some lazy blocks once."""
    return list({id(each): each for each in blocks}.values())


def part_sizes(blocks: Iterable[LazyBlocks]) -> dict[Key, int]:
    """Bytes of the result of every part, by its key."""
    return {key: size for each in blocks for key, size in zip(each.keys, each.part_bytes, strict=True)}


def numbered(places: Iterable[Place]) -> dict[Key, int]:
    """Number the keys that a task reads: each is passed once, however many of its chunks are used."""
    numbers: dict[Key, int] = {}
    for key, _ in places:
        numbers.setdefault(key, len(numbers))
    return numbers


def recut(blocks: LazyBlocks, outlines: tuple[Outline, ...], parts: tuple[Part, ...]) -> LazyBlocks:
    """Cut the same blocks at other rows, in other parts."""
    if blocks.parts == parts and all(
        old is new or np.array_equal(old.edges, new.edges)
        for old, new in zip(blocks.outlines, outlines, strict=True)
    ):
        return blocks
    draft = Draft()
    for part in parts:
        chunks = [
            [
                (blocks.places[Piece(piece.block, rows.chunk)], rows.ranges)
                for rows in rows_of_old_chunks(blocks.outlines, outlines, piece)
            ]
            for piece in part
        ]
        numbers = numbered(place for recipe in chunks for place, _ in recipe)
        recipes = [[(numbers[key], index, ranges) for (key, index), ranges in recipe] for recipe in chunks]
        draft.add(recut_part, (recipes,), list(numbers))
    return add_blocks("recut", draft, [blocks.graph], parts, outlines)
