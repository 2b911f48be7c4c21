"""What was opened, as maps, blocks and labels."""

from __future__ import annotations

from typing import Any

from outgrad.data.chunking import coarsen, pack_chunks
from outgrad.engine.content import Lazy
from outgrad.graph.reading import read_blocks
from outgrad.storage.mts.reader import OpenedMts
from outgrad.storage.zarr.reader import Opened
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap


def lazily(opened: Opened | OpenedMts, target_bytes: int) -> Any:
    """What was opened, with chunks of this size."""
    if opened.kind == "labels":
        return opened.keys
    outlines = tuple(coarsen(outline, target_bytes) for outline in opened.outlines)
    content = Lazy(opened.metadata, read_blocks(opened.reader, outlines, pack_chunks(outlines, target_bytes)))
    if opened.kind == "block":
        return TensorBlock._of(content)
    return TensorMap._of(opened.keys, content, opened.info)
