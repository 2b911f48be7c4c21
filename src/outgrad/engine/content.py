"""Some blocks: their metadata, and their data, which are of one kind. Every operation works on these.

There are two kinds, arrays in memory and chunks that tasks will compute. What an operation does with each is
written where the operation is, as two implementations of one function (``functools.singledispatch``): nothing
else asks which kind it has. docs/design/0008-kinds-of-blocks.md says what a third one would need.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.chunk import Array, Chunk, join_chunks
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.engine import outlines
from outgrad.engine.attach.chunks import descend_part
from outgrad.graph.draft import digest
from outgrad.graph.lazy_blocks import LazyBlocks, collect, from_chunks, gather_chunks, recut, rowwise
from outgrad.graph.reading import collect_stored
from outgrad.graph.replace import replaced
from outgrad.late import late
from outgrad.tree import GradientPath, fold, fold_down


@dataclass(frozen=True, eq=False)
class Blocks(ABC):
    """Metadata of some blocks; a subclass has their data."""

    metadata: tuple[BlockMetadata, ...]

    rank: ClassVar[int]
    """Where operands differ in kind, the one of the highest rank decides what becomes of all."""

    def __len__(self) -> int:
        return len(self.metadata)

    # ---- what is known of the data ----
    @abstractmethod
    def dtype(self, block: int) -> np.dtype[Any]:
        """Dtype of values and gradients."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of values and gradients."""

    @abstractmethod
    def array(self, block: int, path: GradientPath) -> Any:
        """The values of a block or of a gradient, as users get them."""

    @abstractmethod
    def outline(self, block: int) -> Outline | None:
        """How a block is cut; None for arrays, which are not."""

    @abstractmethod
    def token(self) -> str:
        """Name labels and data for Dask: what is equal has the same name."""

    def _token_of(self, *data: Any) -> str:
        labels = [
            (path, m.samples.digest, [c.digest for c in m.components], m.properties.digest)
            for metadata in self.metadata
            for path, m in metadata.walk()
        ]
        return digest((labels, *data))

    @property
    @abstractmethod
    def to_compute(self) -> LazyBlocks | None:
        """What Dask is to compute; None makes no Dask collection of these blocks."""

    @abstractmethod
    def computed(self, results: list[list[Chunk]]) -> InMemory:
        """The blocks whose parts have been computed."""

    # ---- other blocks of the same data ----
    def select(self, numbers: Sequence[int]) -> Blocks:
        """Choose blocks by number."""
        if list(numbers) == list(range(len(self))):
            return self
        return self.collect([(self, number) for number in numbers])

    @abstractmethod
    def collect(self, sources: Sequence[tuple[Blocks, int]]) -> Blocks:
        """Blocks from one or several sources as one, of the kind of ``self``, which leads the sources."""

    @abstractmethod
    def exchanged(self, numbers: Sequence[int], others: Blocks) -> Blocks:
        """Put the n-th of other blocks, made of these, in the place of block ``numbers[n]``."""

    @abstractmethod
    def gradient(self, parameter: str) -> Blocks:
        """The gradient of a single block, as a block of its own."""

    @abstractmethod
    def alike(self, others: Sequence[Blocks]) -> Sequence[Self]:
        """Bring operands with the same samples to the form of ``self``, which leads them."""

    # ---- conversions ----
    @abstractmethod
    def copied(self) -> Blocks:
        """Copy what can be written into."""

    @abstractmethod
    def in_memory(self, call: str) -> InMemory:
        """The same blocks as arrays; nothing is computed for it."""

    @abstractmethod
    def to_lazy(self, target_bytes: int | None = None, cut: tuple[Outline, ...] | None = None) -> Lazy:
        """Chunk arrays by bytes, by default those of the setting, or as ``cut`` says; lazy data stay."""

    @abstractmethod
    def rechunked(self, target_bytes: int) -> Lazy:
        """Cut anew by bytes."""

    def cuts(self, target_bytes: int) -> tuple[Outline, ...]:
        """Where to cut by bytes."""
        return tuple(outlines.automatic(m, self.dtype(n), target_bytes) for n, m in enumerate(self.metadata))


@dataclass(frozen=True, eq=False)
class InMemory(Blocks):
    """Blocks of NumPy arrays: a chunk for each. Its gradients have no tables, which labels have."""

    chunks: tuple[Chunk, ...]

    rank: ClassVar[int] = 0

    def like(self, metadata: Sequence[BlockMetadata], chunks: Sequence[Chunk]) -> Self:
        """The result of an operation on these blocks; its chunks may still have tables."""
        return type(self)(tuple(metadata), tuple(map(without_tables, chunks)))

    def with_tables(self, block: int) -> Chunk:
        """The arrays of a block, with the tables of gradient rows that an operation reads."""
        return with_tables(self.chunks[block], self.metadata[block])

    def dtype(self, block: int) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.chunks[block].values.dtype
        return dtype

    @property
    def nbytes(self) -> int:
        return sum(array.values.nbytes for chunk in self.chunks for _, array in chunk.walk())

    def array(self, block: int, path: GradientPath) -> Array:
        return self.chunks[block].at(path).values

    def outline(self, block: int) -> Outline | None:
        return None

    def token(self) -> str:
        return self._token_of([array.values for chunk in self.chunks for _, array in chunk.walk()])

    @property
    def to_compute(self) -> LazyBlocks | None:
        return None

    def computed(self, results: list[list[Chunk]]) -> InMemory:
        raise TypeError("arrays in memory are not computed")

    def of_this_kind(self, blocks: Blocks) -> Self:
        """Operands in memory are of one kind."""
        if type(blocks) is not type(self):
            kinds = type(self).__name__, type(blocks).__name__
            raise TypeError(f"arrays of two kinds, {kinds[0]} and {kinds[1]}; convert one of them")
        return blocks

    def collect(self, sources: Sequence[tuple[Blocks, int]]) -> Blocks:
        metadata = tuple(blocks.metadata[number] for blocks, number in sources)
        return type(self)(metadata, tuple(self.of_this_kind(blocks).chunks[n] for blocks, n in sources))

    def exchanged(self, numbers: Sequence[int], others: Blocks) -> Blocks:
        number_of = {number: n for n, number in enumerate(numbers)}
        return self.collect(
            [(others, number_of[n]) if n in number_of else (self, n) for n in range(len(self))]
        )

    def gradient(self, parameter: str) -> Blocks:
        chunk = self.chunks[0].gradients[parameter]
        return self.like([self.metadata[0].gradients[parameter]], [Chunk(chunk.values, chunk.gradients)])

    def alike(self, others: Sequence[Blocks]) -> Sequence[Self]:
        return [self.of_this_kind(other) for other in others]

    def copied(self) -> Blocks:
        return self.like(
            self.metadata, [c.map(lambda node: Chunk(np.array(node.values))) for c in self.chunks]
        )

    def in_memory(self, call: str) -> InMemory:
        return self

    def to_lazy(self, target_bytes: int | None = None, cut: tuple[Outline, ...] | None = None) -> Lazy:
        target_bytes = chunk_bytes(target_bytes)
        cut = self.cuts(target_bytes) if cut is None else cut
        chunks = [self.with_tables(number) for number in range(len(self))]
        return Lazy(self.metadata, from_chunks(chunks, cut, target_bytes))

    def rechunked(self, target_bytes: int) -> Lazy:
        return self.to_lazy(target_bytes)


@final
@dataclass(frozen=True, eq=False)
class Lazy(Blocks):
    """Blocks whose chunks tasks will compute."""

    data: LazyBlocks

    rank: ClassVar[int] = 1

    def dtype(self, block: int) -> np.dtype[Any]:
        return self.data.outlines[block].dtype

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def array(self, block: int, path: GradientPath) -> Any:
        return late("graph.dask_arrays", "dask_array")(self.data, block, path)

    def outline(self, block: int) -> Outline | None:
        return self.data.outlines[block]

    def token(self) -> str:
        return self._token_of(self.data.keys, self.data.parts)

    @property
    def to_compute(self) -> LazyBlocks | None:
        return self.data

    def computed(self, results: list[list[Chunk]]) -> InMemory:
        """Put the computed chunks of each block together."""
        chunks = gather_chunks(self.data, results)
        return NOTHING.like(self.metadata, [join_chunks(pieces) for pieces in chunks])

    def collect(self, sources: Sequence[tuple[Blocks, int]]) -> Blocks:
        chunked = {id(blocks): blocks.to_lazy().data for blocks, _ in sources}
        metadata = tuple(blocks.metadata[number] for blocks, number in sources)
        items = [(chunked[id(blocks)], number) for blocks, number in sources]
        return Lazy(metadata, collect_stored(items, chunk_bytes()) or collect(items, chunk_bytes()))

    def exchanged(self, numbers: Sequence[int], others: Blocks) -> Blocks:
        metadata = list(self.metadata)
        for number, labels in zip(numbers, others.metadata, strict=True):
            metadata[number] = labels
        return Lazy(tuple(metadata), replaced(self.data, numbers, others.to_lazy().data))

    def gradient(self, parameter: str) -> Blocks:
        outline = self.data.outlines[0].gradients[parameter]
        configs = [(parameter,)] * len(self.data.parts)
        data = rowwise("gradient", descend_part, configs, [self.data], (outline,))
        return Lazy((self.metadata[0].gradients[parameter],), data)

    def alike(self, others: Sequence[Blocks]) -> Sequence[Lazy]:
        """Cut operands like this one; where the rows of one cannot be cut there, each is one chunk."""
        cuts: list[list[Outline]] = []
        for other in others:
            cuts.append([])
            for n, leader in enumerate(self.data.outlines):
                outline = other.outline(n)
                # Labels are read only where edges differ.
                if outline is None or not np.array_equal(outline.edges, leader.edges):
                    outline = outlines.at_edges(other.metadata[n], other.dtype(n), leader.edges)
                cuts[-1].append(outline)

        parts = self.data.parts
        for n in range(len(self)):
            if len({len(cut[n].edges) for cut in cuts}) > 1:  # gradient rows of one operand are not sorted
                for cut, other in zip(cuts, others, strict=True):
                    cut[n] = outlines.uncut(other.metadata[n], other.dtype(n))
                parts = pack_chunks(cuts[0], chunk_bytes())
        return [
            Lazy(other.metadata, recut(other.to_lazy(cut=tuple(cut)).data, tuple(cut), parts))
            for other, cut in zip(others, cuts, strict=True)
        ]

    def copied(self) -> Blocks:
        """Lazy data never change, and are shared."""
        return self

    def in_memory(self, call: str) -> InMemory:
        raise ValueError(f"{call}: the data are lazy; compute() brings them into memory")

    def to_lazy(self, target_bytes: int | None = None, cut: tuple[Outline, ...] | None = None) -> Lazy:
        return self

    def rechunked(self, target_bytes: int) -> Lazy:
        cut = self.cuts(target_bytes)
        return Lazy(self.metadata, recut(self.data, cut, pack_chunks(cut, target_bytes)))


def with_tables(chunk: Chunk, metadata: BlockMetadata) -> Chunk:
    """Give the gradients in memory the tables of their rows, which an operation reads."""
    return fold_down(
        lambda path, _, node, labels, gradients: Chunk(
            node.values, gradients, labels.samples.values if path else None
        ),
        chunk,
        metadata,
    )


def without_tables(chunk: Chunk) -> Chunk:
    """Leave the rows to the labels of the gradients."""
    return fold(lambda node, gradients: Chunk(node.values, gradients), chunk)


# ---- operands ----
NOTHING = InMemory((), ())


def leading(contents: Iterable[Blocks]) -> Blocks:
    """The operand that decides the kind of the result: the first of the highest rank."""
    return max(contents, key=lambda blocks: blocks.rank, default=NOTHING)


def alike(operands: Sequence[Blocks]) -> Sequence[Blocks]:
    """Bring operands with the same samples to one form: one lazy operand makes all of them lazy."""
    return leading(operands).alike(operands)


# ---- blocks apart and together, as maps do it ----
BlockSource = tuple[Blocks, int, GradientPath]
"""Where a block is: some blocks, its number, and the path to a gradient."""


def single(source: Blocks, number: int, path: GradientPath) -> Blocks:
    """One block, or a gradient of it, alone."""
    source = source.select([number])
    for parameter in path:
        source = source.gradient(parameter)
    return source


def joined(sources: Sequence[BlockSource]) -> Blocks:
    """Several blocks as one content; lazy as soon as one of them is lazy."""
    if len({id(source) for source, _, _ in sources}) == 1 and not any(path for _, _, path in sources):
        return sources[0][0].select([number for _, number, _ in sources])
    apart = [single(*source) for source in sources]
    return leading(apart).collect([(blocks, 0) for blocks in apart])


def concatenated(contents: Sequence[Blocks]) -> Blocks:
    """The blocks of several contents, in their order."""
    return leading(contents).collect([(blocks, n) for blocks in contents for n in range(len(blocks))])
