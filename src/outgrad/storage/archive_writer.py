"""Writing an archive piece by piece: maps that come one after the other become one segment."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from types import TracebackType
from typing import Any, Self

import numpy as np

from outgrad import config
from outgrad._foreign import kind_of
from outgrad._signals import stopping_cleanly
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.ops.shift import shift_dimension
from outgrad.storage.paths import ZARR_SUFFIX, check_suffix, local_path, reaching
from outgrad.storage.places import target_path
from outgrad.storage.publishing import publish_all
from outgrad.storage.zarr.appended_blocks import GrownArrays, Target
from outgrad.storage.zarr.appended_maps import GrowingMap
from outgrad.storage.zarr.format import DEFAULT_COMPRESSOR, Sizes, find_compressor
from outgrad.storage.zarr.layout import Tables, lay_out_tables
from outgrad.storage.zarr.save_session import Description, Draft, chunk_checksums
from outgrad.storage.zarr.segment import numbered, write_segment
from outgrad.tensor.map import TensorMap


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
    durable : bool, optional
        Whether everything is flushed to the disk before it becomes visible, so that it outlives a power cut;
        the default is the configuration ``outgrad.durable``.

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
        durable: bool | None = None,
    ) -> None:
        self._description = Description("map", dict(info or {}), dict(provenance or {}))
        self._sizes = sizes or Sizes()
        self._compressor = find_compressor(compressor)
        given = local_path("write", path)
        check_suffix("write", given, (ZARR_SUFFIX,))
        with reaching("write", given):
            self._draft = Draft(
                target_path("write", given), overwrite=overwrite, durable=config.durable(durable)
            )
        # Also of a writer that is never closed nothing is left: it may be an interrupt that came in between.
        self._stopping = ExitStack()
        weakref.finalize(self, _give_up, self._draft, self._stopping)
        self._stopping.enter_context(stopping_cleanly())
        with reaching("write", given):
            self._draft.begin()
        self._target = Target(self._draft.store(), self._sizes, self._compressor)
        self._growing = GrowingMap(self._target)

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

    def append(self, tensor: TensorMap, *, shift: Mapping[str, int] | None = None) -> None:
        """Add the rows of one map; a lazy one is computed first, once its labels were checked.

        A map that does not continue those before is refused before any of it is written, and one that fails
        on the way is taken back: in both cases the writer is as it was before, and can go on and be closed.

        Parameters
        ----------
        tensor : TensorMap
            Its samples are not in any map before; gradients count samples from the start of its blocks.
        shift : dict of str to int, optional
            Numbers that are added to dimensions of the samples, in gradients too, as
            :func:`shift_dimension` does: ``{"system": 30}`` if systems are counted from 0 in each map, and
            there were 30 before.

        Raises
        ------
        ValidationError
            If names, components, properties, gradients or dtypes are not those of the maps before, or a
            sample was appended before.
        TypeError
            If it is no map.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> rows = og.Labels(["system", "atom"], [[0, 0], [0, 1]])
        >>> block = og.TensorBlock(np.ones((2, 3)), rows, [], og.Labels.range("n", 3))
        >>> with og.ArchiveWriter("pieces.zarr") as writer:
        ...     for number in range(2):
        ...         writer.append(og.TensorMap(og.Labels.single(), [block]), shift={"system": number})
        >>> og.open("pieces.zarr").block().samples["system"]
        array([0, 0, 1, 1], dtype=int32)
        """
        if not isinstance(tensor, TensorMap):
            raise TypeError(f"append: a TensorMap is needed, got {kind_of(tensor)}")
        self._require_open()
        labels = _shifted(tensor, shift)
        dtypes = [labels.dtype(number) for number in range(len(labels))]
        parts = self._growing.checked(tensor.keys, labels.metadata, dtypes)
        blocks: Blocks = tensor.compute()._blocks()
        self._growing.append(tensor.keys, parts, blocks.in_memory("append").chunks)

    def append_pieces(self, keys: Labels, metadata: Sequence[BlockMetadata], chunks: Sequence[Chunk]) -> None:
        """Add the rows of one map, as :meth:`append` does.

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
            As :meth:`append`.
        """
        self._require_open()
        parts = self._growing.checked(keys, metadata, [chunk.values.dtype for chunk in chunks])
        self._growing.append(keys, parts, chunks)

    def _require_open(self) -> None:
        if not self._draft.is_open:
            raise ValidationError(f"append: the writer of {self._draft.root} is closed; begin another one")

    def close(self) -> None:
        """Write what is left, and make the archive visible.

        Raises
        ------
        ValidationError
            If nothing was appended; then nothing is left at the path.
        """
        with self._stopping:
            try:
                self._close()
            except BaseException:
                self._draft.abort()
                raise

    def _close(self) -> None:
        self._growing.require_whole("close")
        names, blocks = self._growing.names, self._growing.blocks
        if names is None:
            raise ValidationError(
                f"write {self._draft.root}: nothing was appended; append at least one map, which may be empty"
            )
        values = np.array(list(blocks), dtype=np.int32).reshape(-1, len(names))
        keys = Labels(names, values)
        grown = GrownArrays(self._target.store)
        closed = [grown.close(block) for block in blocks.values()]
        metadata, outlines = [each[0] for each in closed], [each[1] for each in closed]
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

    def abort(self) -> None:
        """Remove what was written; an archive that was there before stays."""
        _give_up(self._draft, self._stopping)


def _give_up(draft: Draft, stopping: ExitStack) -> None:
    with stopping:
        draft.abort()


def _shifted(tensor: TensorMap, shift: Mapping[str, int] | None) -> Blocks:
    """The labels of a map, with numbers added to some dimensions; its data stay what they are."""
    if not (shift is None or isinstance(shift, Mapping)):
        raise TypeError(f"append: shift must be a dict from dimensions to numbers, got {kind_of(shift)}")
    for name, number in (shift or {}).items():
        tensor = shift_dimension(tensor, name, number)
    return tensor._blocks()
