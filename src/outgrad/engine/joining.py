"""Putting blocks from any sources together, as a map does."""

from __future__ import annotations

from collections.abc import Sequence

from outgrad.config import chunk_bytes
from outgrad.engine.attach.blocks import gradient_blocks
from outgrad.engine.content import Blocks, to_lazy
from outgrad.graph.lazy_blocks import collect

Source = tuple[Blocks, int, tuple[str, ...]]
"""Where a block is: some blocks, its number, and the path to a gradient."""


def single(source: Blocks, number: int, path: tuple[str, ...]) -> Blocks:
    """One block, or a gradient of it, alone."""
    source = source.select([number])
    for parameter in path:
        source = gradient_blocks(source, parameter)
    return source


def joined(blocks: Sequence[Source]) -> Blocks:
    """Several blocks as one content; lazy as soon as one of them is lazy."""
    sources = {id(source): source for source, _, _ in blocks}
    if len(sources) == 1 and not any(path for _, _, path in blocks):
        return blocks[0][0].select([number for _, number, _ in blocks])
    apart = [single(*block) for block in blocks]
    metadata = tuple(content.metadata[0] for content in apart)
    if all(content.lazy is None for content in apart):
        return Blocks(metadata, tuple(content.chunk(0) for content in apart))
    target = chunk_bytes()
    lazies = [to_lazy(content, target).lazy for content in apart]
    return Blocks(metadata, collect([(lazy, 0) for lazy in lazies if lazy is not None], target))


def behind(contents: Sequence[Blocks]) -> Blocks:
    """The blocks of several contents, those of one behind those of the one before."""
    metadata = tuple(own for content in contents for own in content.metadata)
    if all(content.lazy is None for content in contents):
        return Blocks(metadata, tuple(content.chunk(n) for content in contents for n in range(len(content))))
    target = chunk_bytes()
    lazies = [to_lazy(content, target).lazy for content in contents]
    items = [(lazy, n) for lazy in lazies if lazy is not None for n in range(len(lazy.outlines))]
    return Blocks(metadata, collect(items, target))
