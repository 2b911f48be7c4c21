"""Writing an archive piece by piece: maps that come one after the other become one segment."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from os import PathLike
from types import TracebackType
from typing import Any, Self

import numpy as np

from outgrad._foreign import kind_of
from outgrad._signals import stopping_cleanly
from outgrad.archive.draft import Description, Draft, chunk_checksums
from outgrad.archive.growing import GrowingBlock, GrownArrays, Target, repeated_rows
from outgrad.archive.layout import Tables, block_path, lay_out_tables
from outgrad.archive.paths import ZARR_SUFFIX, check_suffix, local_path, reaching
from outgrad.archive.places import target_path
from outgrad.archive.publishing import publish_all
from outgrad.archive.segment import numbered, write_segment
from outgrad.archive.spec import DEFAULT_COMPRESSOR, Sizes, find_compressor
from outgrad.errors import ValidationError
from outgrad.kernels.chunk import Chunk
from outgrad.labels import Labels
from outgrad.labels.check import row_text
from outgrad.tensor import TensorMap
from outgrad.tensor.blocks import Blocks
from outgrad.tensor.metadata import BlockMetadata

Key = tuple[int, ...]


class ArchiveWriter:
    """Write an archive from maps that come one after the other, such as those of single structures.

    Rows are appended block by block; keys may first occur in any piece, and need not occur in all. Memory
    stays at one storage chunk an array, the piece, and 8 bytes a sample. The archive appears when the
    ``with`` block ends; if it ends by an exception, what was at the path before is still there.

    Parameters
    ----------
    path : str or Path
        The archive to make; its name ends in ``.zarr``.
    overwrite : bool
        Replace an archive that is at ``path``.
    info : dict of str to str
        Additional texts of the map.
    compressor : {"lz4", "zstd", "none"}
        How chunks are compressed; all are checksummed.
    provenance : dict
        Anything that JSON holds: how the data were made.
    sizes : Sizes
        Sizes of chunks, in bytes.
    durable : bool
        Whether everything is flushed to the disk before it becomes visible, so that it outlives a power cut.

    Raises
    ------
    ArchiveExistsError
        If ``path`` exists and ``overwrite`` is not set.
    ArchiveError
        If its name does not end in ``.zarr``.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        overwrite: bool = False,
        info: dict[str, str] | None = None,
        compressor: str = DEFAULT_COMPRESSOR,
        provenance: dict[str, Any] | None = None,
        sizes: Sizes | None = None,
        durable: bool = True,
    ) -> None:
        self._description = Description("map", dict(info or {}), dict(provenance or {}))
        self._sizes = sizes or Sizes()
        self._compressor = find_compressor(compressor)
        given = local_path("write", path)
        check_suffix("write", given, (ZARR_SUFFIX,))
        with reaching("write", given):
            self._draft = Draft(target_path("write", given), overwrite=overwrite, durable=durable)
        # Also of a writer that is never closed nothing is left: it may be an interrupt that came in between.
        self._stopping = ExitStack()
        weakref.finalize(self, _give_up, self._draft, self._stopping)
        self._stopping.enter_context(stopping_cleanly())
        with reaching("write", given):
            self._draft.begin()
        self._target = Target(self._draft.store(), self._sizes, self._compressor)
        self._names: list[str] | None = None
        self._blocks: dict[Key, GrowingBlock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        self._draft.abort()
        self._stopping.__exit__(kind, error, trace)

    def append(self, tensor: TensorMap) -> None:
        """Add the rows of one map; a lazy one is computed first.

        Parameters
        ----------
        tensor : TensorMap
            Its samples are not in any map before; gradients count samples from the start of its blocks.

        Raises
        ------
        ValidationError
            If names, components, properties, gradients or dtypes are not those of the maps before.
        TypeError
            If it is no map.
        """
        if not isinstance(tensor, TensorMap):
            raise TypeError(f"append: a TensorMap is needed, got {kind_of(tensor)}")
        content: Blocks = tensor.compute()._blocks()  # type: ignore[no-untyped-call]
        chunks = [content.chunk(number) for number in range(len(content))]
        self.append_pieces(tensor.keys, content.metadata, chunks)

    def append_pieces(self, keys: Labels, metadata: Sequence[BlockMetadata], chunks: Sequence[Chunk]) -> None:
        """Add the rows of one map.

        Parameters
        ----------
        keys : Labels
            Keys of this map.
        metadata : sequence of BlockMetadata
            Labels of each of its blocks; gradients count samples from the start of this map's block.
        chunks : sequence of Chunk
            Values of each of its blocks, in memory.

        Raises
        ------
        ValidationError
            If names, components, properties, gradients or dtypes are not those of the maps before.
        """
        if self._names not in (None, keys.names):
            raise ValidationError(
                f"append: the keys have names {keys.names}, and those of the maps before {self._names}; "
                "write them to different archives"
            )
        self._names = keys.names
        for key, block, chunk in zip(keys.values.tolist(), metadata, chunks, strict=True):
            grown = self._block(tuple(key), block, chunk)
            grown.check(block, chunk)
            grown.append(block, chunk)

    def _block(self, key: Key, metadata: BlockMetadata, chunk: Chunk) -> GrowingBlock:
        if key not in self._blocks:
            path = block_path(len(self._blocks), ())
            made = GrowingBlock(self._target, path, metadata, chunk)
            for first in list(self._blocks.values())[:1]:
                self._check_alike(first, made)
            self._blocks[key] = made
        return self._blocks[key]

    def _check_alike(self, first: GrowingBlock, other: GrowingBlock) -> None:
        if first.signature != other.signature:
            raise ValidationError(
                "append: the blocks of a map have equal names, dtypes and gradients, found "
                f"{other.signature} after {first.signature}"
            )

    def close(self) -> None:
        """Write what is left, and make the archive visible.

        Raises
        ------
        ValidationError
            If a sample occurs in two pieces, or nothing was appended; then nothing is left at the path.
        """
        with self._stopping:
            try:
                self._close()
            except BaseException:
                self._draft.abort()
                raise

    def _close(self) -> None:
        if self._names is None:
            raise ValidationError(
                f"write {self._draft.root}: nothing was appended; append at least one map, which may be empty"
            )
        values = np.array(list(self._blocks), dtype=np.int32).reshape(-1, len(self._names))
        keys = Labels(self._names, values)
        grown = GrownArrays(self._target.store)
        closed = [grown.close(block) for block in self._blocks.values()]
        metadata, outlines = [each[0] for each in closed], [each[1] for each in closed]
        self._check_unique(metadata)
        tables = Tables()
        tables.number(keys, "keys")
        for samples, place in grown.sample_places:
            tables.add_stored(samples, place)
        settings = self._sizes, self._compressor
        layout = lay_out_tables(tables, metadata, grown.arrays, grown.value_places, *settings)
        store, name = self._target.store, self._draft.segment_name
        segment, checksums = write_segment(store, name, "map", layout, metadata, outlines, *settings)
        for number, own in enumerate(grown.checksums):
            checksums.update(numbered(number, own))
        everything = chunk_checksums(self._draft.root, segment, checksums)
        self._draft.prepare(self._description, segment, everything, self._sizes)
        publish_all([self._draft])

    def _check_unique(self, metadata: Sequence[BlockMetadata]) -> None:
        for (key, block), own in zip(self._blocks.items(), metadata, strict=True):
            found = repeated_rows(block, own.samples)
            if found is not None:
                row = row_text(own.samples.names, own.samples.read(found[0], found[0] + 1)[0])
                raise ValidationError(
                    f"write {self._draft.root}: sample {row} of block {key} was appended twice, as rows "
                    f"{found[0]} and {found[1]}; number systems through all pieces"
                )

    def abort(self) -> None:
        """Remove what was written; an archive that was there before stays."""
        _give_up(self._draft, self._stopping)


def _give_up(draft: Draft, stopping: ExitStack) -> None:
    with stopping:
        draft.abort()
