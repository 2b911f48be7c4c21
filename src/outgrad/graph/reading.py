"""Blocks that are read from storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outgrad.data.chunk import ChunkList
from outgrad.data.outline import Outline, Part
from outgrad.data.requests import Request, request
from outgrad.graph.draft import Draft
from outgrad.graph.lazy_blocks import LazyBlocks, add_blocks
from outgrad.task import task


class Reader(Protocol):
    """A light handle on stored blocks: it travels in tasks, and opens what it needs once a process."""

    @property
    def token(self) -> str:
        """Name of the content and version."""
        ...

    def read(self, requests: Sequence[Request]) -> ChunkList:
        """Read the chunks asked for."""
        ...


@task(copies=True)
def read_part(reader: Reader, requests: Sequence[Request]) -> ChunkList:
    return reader.read(requests)


def read_blocks(reader: Reader, outlines: tuple[Outline, ...], parts: tuple[Part, ...]) -> LazyBlocks:
    """Read blocks from storage, one task a part."""
    draft = Draft()
    wanted = [(reader, tuple(request(outlines, piece) for piece in part)) for part in parts]
    draft.add_all(read_part, wanted)
    return add_blocks("read", draft, (), parts, outlines)
