"""A map that grows: each piece is checked as a whole, and written as a whole or not at all."""

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
from outgrad.storage.zarr.appended_blocks import GrowingBlock, Target
from outgrad.storage.zarr.layout import block_path
from outgrad.storage.zarr.repeated_rows import Hashes, first_repeated, hashed_alike, label_hashes, rows_at

Key = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """What a piece adds to one block."""

    key: Key
    block: GrowingBlock
    metadata: BlockMetadata
    hashes: Hashes
    """Of the samples, sorted."""


class GrowingMap:
    """Blocks by key, in the order in which the keys first occurred."""

    def __init__(self, target: Target) -> None:
        self.names: list[str] | None = None
        self.blocks: dict[Key, GrowingBlock] = {}
        self._target = target
        self._is_torn = False

    def require_whole(self, call: str) -> None:
        """Refuse to go on where a piece is written in part, since giving it up was interrupted too."""
        if self._is_torn:
            raise ArchiveError(
                f"{call}: an append before was interrupted twice, and its piece is written in part; "
                "begin again"
            )

    def checked(
        self, keys: Labels, metadata: Sequence[BlockMetadata], dtypes: Sequence[np.dtype[Any]]
    ) -> list[Part]:
        """Refuse a piece that does not continue the map; only its labels are looked at.

        Raises
        ------
        ValidationError
            If it has other names, components, properties, gradients or dtypes than the pieces before, or a
            sample that occurs already.
        """
        self.require_whole("append")
        if self.names not in (None, keys.names):
            raise ValidationError(
                f"append: the keys have names {keys.names}, and those of the maps before {self.names}; "
                "write them to different archives"
            )
        blocks = dict(self.blocks)
        parts: list[Part] = []
        for key, own, dtype in zip(map(tuple, keys.values.tolist()), metadata, dtypes, strict=True):
            if key not in blocks:
                blocks[key] = GrowingBlock(self._target, block_path(len(blocks), ()), own, dtype)
                _check_alike(next(iter(blocks.values())), blocks[key])
            blocks[key].check(own, dtype)
            parts.append(
                Part(key, blocks[key], own, self._new_rows(_text(keys, len(parts)), blocks[key], own.samples))
            )
        return parts

    def append(self, keys: Labels, parts: Sequence[Part], chunks: Sequence[Chunk]) -> None:
        """Write a piece that was checked; what fails in the middle leaves the map as it was.

        Raises
        ------
        ValidationError
            If the arrays are not what their labels say.
        """
        for part, chunk in zip(parts, chunks, strict=True):
            part.block.check_arrays(part.metadata, chunk)
        states = [part.block.state() for part in parts]
        before = self.names, dict(self.blocks)
        self._is_torn = True
        try:
            for part, chunk in zip(parts, chunks, strict=True):
                part.block.append(part.metadata, chunk)
                part.block.seen = part.block.seen.with_rows(part.hashes)
                self.blocks[part.key] = part.block
            self.names = keys.names
            self._is_torn = False
        except BaseException:
            for part, state in zip(parts, states, strict=True):
                part.block.restore(state)
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
            first, second = (int(doubtful[place]) for place in twice)
            raise ValidationError(
                f"append: sample {_text(samples, first)} of block {key} occurs twice in this map, as rows "
                f"{first} and {second}; samples must be unique"
            )
        candidates = block.seen.among(hashes)
        found = block.find(rows_at(samples, candidates)) if len(candidates) else None
        if found is not None:
            raise self._repeated(key, samples, int(candidates[found[0]]), found[1])
        return hashes[order]

    def _repeated(self, key: str, samples: Labels, row: int, before: int) -> ValidationError:
        name = next((own for own in samples.names if own in SYSTEM_NAMES), samples.names[0])
        column = samples.names.index(name)
        following = max(block.largest(column) for block in self.blocks.values()) + 1
        return ValidationError(
            f"append: sample {_text(samples, row)} of block {key} was appended before, as row "
            f"{before}. Nothing of this map was written, and what was appended is kept. If {name!r} "
            f"is counted from 0 in each map, pass shift={{{name!r}: {following}}}: the largest is "
            f"{following - 1}"
        )


def _check_alike(first: GrowingBlock, other: GrowingBlock) -> None:
    if first.signature != other.signature:
        raise ValidationError(
            "append: the blocks of a map have equal names, dtypes and gradients, found "
            f"{other.signature} after {first.signature}"
        )


def _text(samples: Labels, row: int) -> str:
    return row_text(samples.names, samples.read(row, row + 1)[0])
