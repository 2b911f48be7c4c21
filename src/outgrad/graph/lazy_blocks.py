"""The lazy data of some blocks: parts of a Dask graph that hold their chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from dask.highlevelgraph import HighLevelGraph

from outgrad.data.chunk import Chunk
from outgrad.data.outline import Outline, Part, Piece
from outgrad.graph.dask_names import Key


def top_layers(graph: HighLevelGraph) -> tuple[str, ...]:
    """Names of the layers on which no other layer of ``graph`` builds; Dask keeps them in any order."""
    below = set().union(*graph.dependencies.values())
    return tuple(name for name in graph.layers if name not in below)


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
    def places(self) -> Mapping[Piece, tuple[Key, int]]:
        """Where each chunk is: the key of its part, and its place in the part's list."""
        return {
            piece: (key, place)
            for key, part in zip(self.keys, self.parts, strict=True)
            for place, piece in enumerate(part)
        }

    @property
    def top_layers(self) -> tuple[str, ...]:
        """Names of the layers on which no other layer builds, and of those that hold keys."""
        named = [str(key[0]) for key in self.keys if isinstance(key, tuple) and key[0] in self.graph.layers]
        return tuple(dict.fromkeys([*top_layers(self.graph), *named]))

    def made_by(self, function: Callable[..., object]) -> bool:
        """Whether every part is the result of a task that runs ``function``."""
        return all(getattr(self.graph.get(key), "func", None) is function for key in self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes of all values and gradients."""
        return sum(outline.nbytes for outline in self.outlines)

    @property
    def part_bytes(self) -> list[int]:
        """Bytes of the result of each part."""
        return _sums([outline.chunk_bytes for outline in self.outlines], self.parts)

    def chunks_of(self, block: int) -> Iterator[tuple[Key, int]]:
        """Yield the place of each chunk of ``block``, in order."""
        for chunk in range(self.outlines[block].chunk_count):
            yield self.places[Piece(block, chunk)]


def held_bytes(outlines: Sequence[Outline], parts: Sequence[Part]) -> list[int]:
    """Bytes of the result of each part, with the labels of gradient rows."""
    return _sums([outline.held_bytes for outline in outlines], parts)


def _sums(sizes: Sequence[npt.NDArray[np.int64]], parts: Sequence[Part]) -> list[int]:
    return [sum(int(sizes[block][chunk]) for block, chunk in part) for part in parts]


def gather_chunks(blocks: LazyBlocks, results: list[list[Chunk]]) -> list[list[Chunk]]:
    """Sort the computed parts into the list of chunks of each block."""
    found: dict[Piece, Chunk] = {}
    for part, chunks in zip(blocks.parts, results, strict=True):
        found.update(zip(part, chunks, strict=True))
    return [
        [found[Piece(block, chunk)] for chunk in range(outline.chunk_count)]
        for block, outline in enumerate(blocks.outlines)
    ]
