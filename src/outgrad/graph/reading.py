"""Blocks that are read from storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from outgrad.data.chunk import ChunkList, Table
from outgrad.data.chunking import pack_chunks
from outgrad.data.outline import Outline, Part
from outgrad.data.requests import Request, Runs, request
from outgrad.graph.draft import Draft, Notes
from outgrad.graph.lazy_blocks import LazyBlocks, add_blocks, distinct
from outgrad.task import task
from outgrad.tree import GradientPath


class Reader(Protocol):
    """A light handle on stored blocks: it travels in tasks, and opens what it needs once a process."""

    @property
    def token(self) -> str:
        """Name of the content and version."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """What a task may hold of what it has asked for and not used yet, beside what every task holds."""
        ...

    def read(self, requests: Sequence[Request]) -> ChunkList:
        """Read the chunks asked for."""
        ...


class TableSource(Protocol):
    """Where labels are read from; labels that have it pickle small."""

    def read(self, start: int, stop: int) -> Table:
        """Return rows."""
        ...


class RunReader(Reader, Protocol):
    """A reader that reads some rows of a block without the others."""

    def runs_of(self, block: int, rows: Runs) -> Runs | None:
        """Of runs of rows of the values (n, 1, 2), those of all arrays (n, arrays, 2); None if rows of
        gradients are not sorted by their parents."""
        ...

    def table_of(self, block: int, path: GradientPath, runs: Runs) -> TableSource:
        """The labels of the rows of a gradient in these runs."""
        ...


@task(copies=True)
def read_part(reader: Reader, requests: Sequence[Request]) -> ChunkList:
    return reader.read(requests)


def read_blocks(reader: Reader, outlines: tuple[Outline, ...], parts: tuple[Part, ...]) -> LazyBlocks:
    """Read blocks from storage, one task a part."""
    return _reading(
        reader, [tuple(request(outlines, piece) for piece in part) for part in parts], outlines, parts
    )


def read_requests(
    reader: Reader, requests: Sequence[Sequence[Request]], outlines: tuple[Outline, ...], target_bytes: int
) -> LazyBlocks:
    """Read blocks of which ``requests`` has one for each chunk; small ones are packed."""
    parts = pack_chunks(outlines, target_bytes)
    wanted = [tuple(requests[piece.block][piece.chunk] for piece in part) for part in parts]
    return _reading(reader, wanted, outlines, parts)


def _reading(
    reader: Reader,
    wanted: Sequence[tuple[Request, ...]],
    outlines: tuple[Outline, ...],
    parts: tuple[Part, ...],
) -> LazyBlocks:
    draft = Draft()
    draft.add_all(read_part, [(reader, requests) for requests in wanted])

    def note() -> Notes:
        return Notes({}, {(0, number): reader.waiting_bytes for number in range(len(wanted))})

    return add_blocks("read", draft, (), parts, outlines, note)


class Stored(NamedTuple):
    """Blocks of which every chunk is read from storage and nothing more is done to it yet."""

    reader: Any
    blocks: LazyBlocks

    def requests_of(self, block: int) -> list[Request]:
        """What is asked for a block, in the order of its chunks."""
        return [self.blocks.arguments[key][1][number] for key, number in self.blocks.chunks_of(block)]


def find_stored(blocks: LazyBlocks) -> Stored | None:
    """What is read, if all tasks of blocks are those that read them, with one reader."""
    if blocks.maker is not read_part:
        return None
    readers = {id(given[0]): given[0] for given in blocks.arguments.values()}
    reader, *others = readers.values()
    return Stored(reader, blocks) if all(other == reader for other in others) else None


def collect_stored(items: Sequence[tuple[LazyBlocks, int]], target_bytes: int) -> LazyBlocks | None:
    """Choose blocks that are all read from storage by one reader, so that no other is read; None if they are
    not."""
    sources = [find_stored(source) for source in distinct(blocks for blocks, _ in items)]
    readers = [each.reader for each in sources if each is not None]
    if not readers or len(readers) != len(sources) or any(reader != readers[0] for reader in readers):
        return None
    outlines = tuple(blocks.outlines[number] for blocks, number in items)
    requests = [Stored(readers[0], blocks).requests_of(number) for blocks, number in items]
    return read_requests(readers[0], requests, outlines, target_bytes)
