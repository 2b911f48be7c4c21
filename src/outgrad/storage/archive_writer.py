"""Writing an archive incrementally: a sequence of maps becomes one segment."""

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
from outgrad.ops.shift import shifted_samples
from outgrad.storage.paths import ZARR_SUFFIX, check_suffix, find_location, reaching
from outgrad.storage.places import target_path
from outgrad.storage.publishing import publish_all
from outgrad.storage.stores import open_store
from outgrad.storage.zarr.appendable import Addition, require_appendable
from outgrad.storage.zarr.appended_blocks import GrownArrays, RowSinks
from outgrad.storage.zarr.appended_maps import BlockAddition, GrowingMap
from outgrad.storage.zarr.format import DEFAULT_COMPRESSOR, ChunkOptions, ChunkSizes, find_compressor
from outgrad.storage.zarr.layout import Contents, Tables, lay_out_tables, table_grid
from outgrad.storage.zarr.opened import OpenArchive
from outgrad.storage.zarr.save_session import Description, SaveSession, chunk_records
from outgrad.storage.zarr.segment import numbered_shards, write_segment
from outgrad.storage.zarr.updates import Append, Save
from outgrad.tensor.map import TensorMap


class ArchiveWriter:
    """Write an archive incrementally from a sequence of maps, for example one map per structure.

    Samples are appended block by block. A key can first occur in any map, and need not occur in all of them.
    Memory use is limited to one shard (4 MiB) per array, the current map, and 8 bytes per sample. The archive
    becomes visible at the end of the ``with`` block. If the block raises an exception, existing data at the
    path are kept.

    Parameters
    ----------
    path : str or Path
        The archive to create; its name must end in ``.zarr``.
    overwrite : bool
        Replace an existing archive at ``path``.
    append : bool
        Add to an existing archive at ``path``, as :func:`outgrad.append` does; each map is compared with it.
    fill_value : number, optional
        With ``append``: what takes the place of properties that the archive, or a map, does not have.
    info : dict of str to str, optional
        The ``info`` of the map.
    compressor : {"lz4", "zstd", "none"}
        How chunks are compressed; all chunks have a checksum.
    provenance : dict
        How the data were made: any JSON object.
    sizes : ChunkSizes
        Sizes of chunks, in bytes.
    durable : bool, optional
        Whether to flush everything to disk before it becomes visible, so that it survives a power failure.
        The default is the configuration value ``outgrad.durable``.

    Raises
    ------
    ArchiveExistsError
        If ``path`` exists, and neither ``overwrite`` nor ``append`` is set.
    ArchiveError
        If the name does not end in ``.zarr``.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> with og.ArchiveWriter("frames.zarr") as writer:
    ...     for frame in range(3):
    ...         block = og.block_from_array(np.full((1, 2), frame), sample_names=["system"])
    ...         writer.append(og.TensorMap(og.Labels.single(), [block]), shift={"system": frame})
    >>> len(og.open("frames.zarr").block())
    3
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        overwrite: bool = False,
        append: bool = False,
        fill_value: complex | float | None = None,
        info: dict[str, str] | None = None,
        compressor: str = DEFAULT_COMPRESSOR,
        provenance: dict[str, Any] | None = None,
        sizes: ChunkSizes | None = None,
        durable: bool | None = None,
    ) -> None:
        self._description = Description("map", dict(info or {}), dict(provenance or {}))
        self._options = ChunkOptions(sizes or ChunkSizes(), find_compressor(compressor))
        if append and overwrite:
            raise ValidationError(
                f"write {path}: overwrite=True replaces what append=True adds to; pass one of them"
            )
        local = find_location("write", path)
        check_suffix("write", local, (ZARR_SUFFIX,))
        self._fill = fill_value
        self._comparison = _BaseComparison()
        with reaching("write", local):
            store = open_store(target_path("write", local))
            update = Append(self._comparison, fill_value) if append else Save(overwrite=overwrite)
            self._session = SaveSession(store, update, durable=config.durable(durable))
        # A writer that is never closed leaves nothing either: an interrupt may come before ``with``.
        self._stopping = ExitStack()
        weakref.finalize(self, _give_up, self._session, self._stopping)
        self._stopping.enter_context(stopping_cleanly())
        with reaching("write", local):
            self._session.begin()
        self._sinks = RowSinks(self._session.segment_store(), self._options)
        self._growing = GrowingMap(self._sinks)

    def _checked(
        self, keys: Labels, metadata: Sequence[BlockMetadata], dtypes: Sequence[np.dtype[Any]]
    ) -> Sequence[BlockAddition]:
        """Refuse a map that fits neither to those before nor to the archive; only its labels are looked
        at."""
        parts = self._growing.checked(keys, metadata, dtypes)
        if self._comparison.base is not None:
            addition = Addition(keys, metadata, dtypes, self._description.info, self._fill)
            require_appendable(self._comparison.base, addition)
        return parts

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
        self._session.abort()
        self._stopping.__exit__(kind, error, trace)

    def append(self, tensor: TensorMap, *, shift: Mapping[str, int] | None = None) -> None:
        """Append the samples of a map; a lazy map is computed after a check of its labels.

        A map is appended completely or not at all: if it does not match the previous maps, or fails while it
        is written, the writer stays as it was and can still be used and closed.

        Parameters
        ----------
        tensor : TensorMap
            A map whose samples were not appended before. Gradients refer to the samples of their own block.
        shift : dict of str to int, optional
            Numbers to add to dimensions of the samples, including those of gradients, as in
            :func:`shift_dimension`. For example, pass ``{"system": 30}`` if each map counts systems from 0
            and the previous maps have 30 systems.

        Raises
        ------
        ValidationError
            If names, components, properties, gradients or dtypes differ from those of the previous maps, or a
            sample was appended before.
        TypeError
            If ``tensor`` is not a map.

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
            raise TypeError(f"append: tensor must be a TensorMap, got {kind_of(tensor)}")
        self._require_open()
        labels: Blocks = shifted_samples("append", tensor, shift)._blocks()
        dtypes = [labels.dtype(number) for number in range(len(labels))]
        parts = self._checked(tensor.keys, labels.metadata, dtypes)
        blocks: Blocks = tensor.compute()._blocks()  # shifts change labels alone
        self._growing.append(tensor.keys, parts, blocks.in_memory("append").chunks)

    def append_pieces(self, keys: Labels, metadata: Sequence[BlockMetadata], chunks: Sequence[Chunk]) -> None:
        """Append the samples of a map given as labels and arrays; for internal use.

        Parameters
        ----------
        keys : Labels
            Keys of the map.
        metadata : sequence of BlockMetadata
            Labels of each block; gradients refer to the samples of their own block.
        chunks : sequence of Chunk
            Values of each block, in memory.

        Raises
        ------
        ValidationError
            As for :meth:`append`.
        """
        self._require_open()
        parts = self._checked(keys, metadata, [chunk.values.dtype for chunk in chunks])
        self._growing.append(keys, parts, chunks)

    def _require_open(self) -> None:
        if not self._session.is_open:
            raise ValidationError(f"append: the writer of {self._session.name} is closed; begin another one")

    def close(self) -> None:
        """Write the remaining data and make the archive visible; the ``with`` statement calls this.

        Raises
        ------
        ValidationError
            If no map was appended; nothing is left at the path then.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((2, 3)))])
        >>> writer = og.ArchiveWriter("closed.zarr")
        >>> writer.append(map)
        >>> writer.close()
        >>> len(og.open("closed.zarr").block())
        2
        """
        with self._stopping:
            try:
                self._close()
            except BaseException:
                self._session.abort()
                raise

    def _close(self) -> None:
        self._growing.require_whole("close")
        names, blocks = self._growing.names, self._growing.blocks
        if names is None:
            raise ValidationError(
                f"write {self._session.name}: nothing was appended; append at least one map, "
                "which may be empty"
            )
        values = np.array(list(blocks), dtype=np.int32).reshape(-1, len(names))
        keys = Labels(names, values)
        grown = GrownArrays(self._sinks.store)
        closed = [grown.close(block) for block in blocks.values()]
        metadata, outlines = [block for block, _ in closed], [outline for _, outline in closed]
        dtypes = [outline.dtype for outline in outlines]
        self._comparison.addition = Addition(keys, metadata, dtypes, self._description.info, self._fill)
        tables = Tables(table_grid(self._options.sizes))
        tables.number(keys, "keys")
        for samples, first in grown.samples:
            tables.add_written(samples, first)
        layout = lay_out_tables(tables, metadata, grown.arrays, grown.values, self._options)
        store, name = self._sinks.store, self._session.segment_name
        contents = Contents(keys, metadata, outlines)
        segment, written = write_segment(store, name, "map", layout, contents, self._options)
        for number, shards in enumerate(grown.shards):
            written.update(numbered_shards(number, shards))
        records = chunk_records(self._session.name, segment, written)
        self._session.prepare(self._description, segment, records, self._options.sizes)
        publish_all([self._session])

    def abort(self) -> None:
        """Remove everything that was written; existing data at the path are kept.

        Examples
        --------
        >>> import numpy as np, outgrad as og
        >>> map = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((2, 3)))])
        >>> writer = og.ArchiveWriter("aborted.zarr")
        >>> writer.append(map)
        >>> writer.abort()
        >>> og.open("aborted.zarr")
        Traceback (most recent call last):
        outgrad.errors.ArchiveNotFoundError: ...
        """
        _give_up(self._session, self._stopping)


class _BaseComparison:
    """The archive that is appended to, and what was appended in the end.

    It knows nothing of the writer: what the session holds would never be given up.
    """

    def __init__(self) -> None:
        self.base: OpenArchive | None = None
        self.addition: Addition | None = None

    def __call__(self, archive: OpenArchive) -> None:
        """Remember what is there, and compare what was appended with it."""
        self.base = archive
        if self.addition is not None:
            require_appendable(archive, self.addition)


def _give_up(session: SaveSession, stopping: ExitStack) -> None:
    with stopping:
        session.abort()
