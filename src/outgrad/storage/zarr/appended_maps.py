"""A map that grows by others: each is checked before it is written, and written completely or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk
from outgrad.data.chunking import SYSTEM_NAMES
from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ArchiveError, ValidationError
from outgrad.labels.display import row_text
from outgrad.labels.labels import Labels
from outgrad.storage.zarr.appended_blocks import GrowingBlock, RowSinks
from outgrad.storage.zarr.repeated_rows import Hashes, first_repeated, hashed_alike, label_hashes, rows_at
from outgrad.storage.zarr.row_names import block_path

BlockKey = tuple[int, ...]


@dataclass(frozen=True)
class BlockAddition:
    """What a map adds to one block."""

    key: BlockKey
    block: GrowingBlock
    metadata: BlockMetadata
    hashes: Hashes
    """Of the samples, sorted."""


class GrowingMap:
    """Blocks by key, in the order in which the keys first occurred."""

    def __init__(self, sinks: RowSinks) -> None:
        self.names: list[str] | None = None
        self.blocks: dict[BlockKey, GrowingBlock] = {}
        self._sinks = sinks
        self._is_torn = False

    def require_whole(self, call: str) -> None:
        """Refuse to go on where a map is written in part, since its removal was interrupted too."""
        if self._is_torn:
            raise ArchiveError(
                f"{call}: an append before was interrupted twice, and its map is written in part; begin again"
            )

    def checked(
        self, keys: Labels, metadata: Sequence[BlockMetadata], dtypes: Sequence[np.dtype[Any]]
    ) -> list[BlockAddition]:
        """Refuse a map that does not continue this one; only its labels are looked at.

        Raises
        ------
        ValidationError
            If it has other names, components, properties, gradients or dtypes than the maps before, or a
            sample that occurs already.
        """
        self.require_whole("append")
        if self.names not in (None, keys.names):
            raise ValidationError(
                f"append: the keys have names {keys.names}, and those of the maps before {self.names}; "
                "write them to different archives"
            )
        blocks = dict(self.blocks)
        additions: list[BlockAddition] = []
        each = zip(map(tuple, keys.values.tolist()), metadata, dtypes, strict=True)
        for number, (key, block_metadata, dtype) in enumerate(each):
            if key not in blocks:
                blocks[key] = GrowingBlock(self._sinks, block_path(len(blocks), ()), block_metadata, dtype)
                first, added = next(iter(blocks.values())).signature, blocks[key].signature
                if first != added:
                    raise ValidationError(
                        f"append: the blocks of a map have equal names, dtypes and gradients, found {added} "
                        f"after {first}; write them to different archives"
                    )
            blocks[key].check(block_metadata, dtype)
            hashes = self._new_rows(_entry_text(keys, number), blocks[key], block_metadata.samples)
            additions.append(BlockAddition(key, blocks[key], block_metadata, hashes))
        return additions

    def append(self, keys: Labels, additions: Sequence[BlockAddition], chunks: Sequence[Chunk]) -> None:
        """Write a map that was checked; a failure on the way leaves this map as it was.

        Raises
        ------
        ValidationError
            If the arrays are not what their labels say.
        """
        for addition, chunk in zip(additions, chunks, strict=True):
            addition.block.check_arrays(addition.metadata, chunk)
        states = [addition.block.state() for addition in additions]
        before = self.names, dict(self.blocks)
        self._is_torn = True
        try:
            for addition, chunk in zip(additions, chunks, strict=True):
                addition.block.append(addition.metadata, chunk)
                addition.block.seen = addition.block.seen.with_rows(addition.hashes)
                self.blocks[addition.key] = addition.block
            self.names = keys.names
            self._is_torn = False
        except BaseException:
            for addition, state in zip(additions, states, strict=True):
                addition.block.restore(state)
            self.names, self.blocks = before
            self._is_torn = False
            raise

    # ---- samples that occur twice ----
    def _new_rows(self, key: str, block: GrowingBlock, samples: Labels) -> Hashes:
        """Return the sorted hashes of samples, of which none may occur twice; hashes find candidates."""
        hashes = label_hashes(samples)
        order = np.argsort(hashes, kind="stable")
        doubtful = hashed_alike(hashes, order)
        twice = first_repeated(rows_at(samples, doubtful)) if len(doubtful) else None
        if twice is not None:
            first, second = (int(doubtful[position]) for position in twice)
            raise ValidationError(
                f"append: sample {_entry_text(samples, first)} of block {key} occurs twice in this map, as "
                f"rows {first} and {second}; samples must be unique"
            )
        candidates = block.seen.among(hashes)
        repeated = block.find(rows_at(samples, candidates)) if len(candidates) else None
        if repeated is not None:
            position, row_before = repeated
            name = next((each for each in samples.names if each in SYSTEM_NAMES), samples.names[0])
            column = samples.names.index(name)
            largest = max(block.largest(column) for block in self.blocks.values())
            raise ValidationError(
                f"append: sample {_entry_text(samples, int(candidates[position]))} of block {key} was "
                f"appended before, as row {row_before}, so nothing of this map was written, and what was "
                f"appended is kept; if {name!r} is counted from 0 in each map, pass "
                f"shift={{{name!r}: {largest + 1}}}, since the largest is {largest}"
            )
        return hashes[order]


def _entry_text(labels: Labels, row: int) -> str:
    return row_text(labels.names, labels.read(row, row + 1)[0])
