"""What was opened, as maps, blocks and labels, or some of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from outgrad.config import CHUNK_BYTES
from outgrad.data.chunking import coarsen, pack_chunks
from outgrad.engine.content import Blocks, Lazy
from outgrad.errors import ValidationError
from outgrad.graph.reading import read_blocks
from outgrad.ops.select import EntrySelection, selected_positions, slice
from outgrad.storage.mts.reader import OpenedMts
from outgrad.storage.zarr.reader import Opened
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap


class Choice(NamedTuple):
    """What of a map is opened; None is all of it."""

    keys: EntrySelection | None = None
    samples: EntrySelection | None = None
    properties: EntrySelection | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.keys is None and self.samples is None and self.properties is None


ALL = Choice()


def lazily(opened: Opened | OpenedMts, target_bytes: int, choice: Choice = ALL) -> Any:
    """What was opened, or some of it, with chunks of this size."""
    if opened.kind != "map" and choice.keys is not None:
        raise ValidationError(f"open: only maps have keys, and this holds {opened.kind}; leave keys out")
    if opened.kind == "labels":
        if not choice.is_all:
            raise ValidationError("open: labels are opened as a whole; select from them afterwards")
        return opened.keys
    outlines = tuple(coarsen(outline, target_bytes) for outline in opened.outlines)
    parts = pack_chunks(outlines, target_bytes)
    content: Blocks = Lazy(opened.metadata, read_blocks(opened.reader, outlines, parts))
    keys = opened.keys
    with CHUNK_BYTES.temporarily(target_bytes):
        if choice.keys is not None:
            numbers = selected_positions("open", keys, "keys", choice.keys)
            keys, content = keys.take(numbers), content.select(numbers.tolist())
        data: Any = TensorMap._of(keys, content, opened.info)
        if opened.kind == "block":
            data = TensorBlock._of(content)
        for axis, selection in (("samples", choice.samples), ("properties", choice.properties)):
            if selection is not None:
                data = slice(data, axis, selection)
    return data
