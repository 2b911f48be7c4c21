"""Saving, in steps: plan, start, write, prepare, publish. A job runner does them one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import Any

import numpy as np

from outgrad import config
from outgrad._foreign import kind_of
from outgrad._signals import deferred, stopping_cleanly
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Written
from outgrad.engine.content import NOTHING
from outgrad.errors import ValidationError
from outgrad.graph.collection import compute_keys, lazy_texts
from outgrad.graph.dask_names import Key
from outgrad.graph.lazy_blocks import LazyBlocks, LazyText
from outgrad.graph.writing import Graph, StoreGraph, Writer, merge_graphs, store_blocks
from outgrad.labels.labels import Labels
from outgrad.storage.mts.writer import LabelsWriter, MtsWriter
from outgrad.storage.paths import (
    LABELS_SUFFIX,
    MTS_SUFFIXES,
    ZARR_SUFFIX,
    check_suffix,
    find_location,
    reaching,
)
from outgrad.storage.places import target_path
from outgrad.storage.publishing import Unpublished, publish_all
from outgrad.storage.stores import open_store
from outgrad.storage.urls import Location, StoreUrl
from outgrad.storage.zarr.format import (
    DEFAULT_COMPRESSOR,
    ArchiveKind,
    ChunkOptions,
    find_compressor,
)
from outgrad.storage.zarr.layout import Contents
from outgrad.storage.zarr.save_session import Description
from outgrad.storage.zarr.updates import Save, Update
from outgrad.storage.zarr.writer import ZarrWriter
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Savable = TensorMap | TensorBlock | Labels


def require_data(call: str, data: Any) -> None:
    """Only maps, blocks and labels are written."""
    if not isinstance(data, Savable):
        raise TypeError(
            f"{call}: `data` must be one of 'Labels', 'TensorBlock' or 'TensorMap', not {kind_of(data)}; "
            "the file comes before the data"
        )


MakeUpdate = Callable[[Labels, Sequence[BlockMetadata], Sequence[np.dtype[Any]], Mapping[str, str]], Update]
"""Makes what a save does to an archive out of the keys, the metadata and dtypes of blocks, and the info."""


@dataclass(frozen=True)
class SaveRequest:
    """What one save is asked for: the data, where they go and how."""

    target: Location
    is_archive: bool
    data: Savable
    overwrite: bool
    update: MakeUpdate | None
    compressor: str
    provenance: dict[str, Any] | None
    durable: bool

    def writer(self, metadata: Sequence[BlockMetadata], outlines: Sequence[Outline]) -> Writer:
        """Choose the writer of the format; it refuses a target that exists."""
        data = self.data
        kind: ArchiveKind = "block"
        keys, info = Labels.single(), dict[str, str]()
        if isinstance(data, Labels):
            kind, keys = "labels", data
        elif isinstance(data, TensorMap):
            kind, keys, info = "map", data.keys, data.info()
        if self.is_archive or isinstance(self.target, StoreUrl):  # which check_suffix has seen to
            update: Update = Save(overwrite=self.overwrite)
            if self.update is not None:
                update = self.update(keys, metadata, [outline.dtype for outline in outlines], info)
            return ZarrWriter(
                open_store(self.target),
                Contents(keys, metadata, outlines),
                Description(kind, info, dict(self.provenance or {})),
                ChunkOptions(compressor=find_compressor(self.compressor)),
                update,
                durable=self.durable,
            )
        if isinstance(data, Labels):
            return LabelsWriter(self.target, data, self.overwrite, self.durable)
        return MtsWriter(
            self.target,
            keys,
            metadata,
            outlines,
            info=info,
            overwrite=self.overwrite,
            kind=kind,
            durable=self.durable,
        )


@dataclass(frozen=True)
class PlannedSave:
    """A map, a block or labels about to be written to ``path``, in which no links are left.

    The results of ``keys`` in ``graph`` are receipts, and texts that are kept with the map: :meth:`prepare`
    needs them. Nothing is visible before it is published.
    """

    path: Location
    writer: Writer
    tasks: StoreGraph
    blocks: LazyBlocks
    texts: Mapping[str, LazyText]

    @property
    def graph(self) -> Graph:
        return merge_graphs([self.tasks.graph, *(text.graph for text in self.texts.values())])

    @property
    def keys(self) -> tuple[Key, ...]:
        return (*self.tasks.keys, *(text.key for text in self.texts.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of values and gradients to write."""
        return self.blocks.nbytes

    def start(self) -> None:
        """Claim the path, and write the labels."""
        with reaching("save", self.path):
            self.writer.start()

    def prepare(self, results: Sequence[Any]) -> Unpublished:
        """Finish the output, and flush it to the disk; nothing is visible yet."""
        receipts, texts = results[: len(self.tasks.keys)], results[len(self.tasks.keys) :]
        prepared: Unpublished = self.writer.prepare(receipts, dict(zip(self.texts, texts, strict=True)))
        return prepared

    def abort(self) -> None:
        """Remove what was written; what was at the path before stays."""
        self.writer.abort()


def plan_save(
    path: str | PathLike[str] | Location,
    data: Savable,
    *,
    overwrite: bool = False,
    update: MakeUpdate | None = None,
    call: str = "save",
    compressor: str = DEFAULT_COMPRESSOR,
    provenance: dict[str, Any] | None = None,
    durable: bool | None = None,
) -> PlannedSave:
    """Plan to write ``data``; nothing is computed or written yet, but a path that exists is refused.

    ``update`` says what becomes of an archive that is there, if it is not replaced. ``durable`` says whether
    it is flushed to the disk; None leaves that to the configuration.
    """
    local = find_location(call, path)
    labels_only = (LABELS_SUFFIX,) if isinstance(data, Labels) else ()
    suffixes = (ZARR_SUFFIX, *MTS_SUFFIXES, *labels_only) if update is None else (ZARR_SUFFIX,)
    check_suffix(call, local, suffixes)
    target = target_path(call, local)
    blocks = (NOTHING if isinstance(data, Labels) else data._blocks()).to_lazy()
    lazy = blocks.data
    for number, (metadata, outline) in enumerate(zip(blocks.metadata, lazy.outlines, strict=True)):
        # Labels and data of an opened file come from different places: what is written must be readable.
        described = [(path, part.shape) for path, part in metadata.walk()]
        shapes = [(path, part.shape) for path, part in outline.walk()]
        if described != shapes:
            raise ValidationError(
                f"save: the labels of block {number} describe the shapes {described}, and its values have "
                f"{shapes}; verify the archive or file that they come from"
            )
    is_archive = local.suffix == ZARR_SUFFIX
    with reaching(call, local):
        settings = overwrite, update, compressor, provenance, config.durable(durable)
        writer = SaveRequest(target, is_archive, data, *settings).writer(blocks.metadata, lazy.outlines)
    texts = lazy_texts(data._info) if isinstance(data, TensorMap) else {}
    return PlannedSave(target, writer, store_blocks(lazy, writer), lazy, texts)


def execute(stores: Sequence[PlannedSave]) -> None:
    """Write several outputs in one computation: what they have in common is computed once.

    If anything fails, none of them changes what is at its path.

    Raises
    ------
    MemoryLimitError
        If the workers of a client do not have enough memory; no task was started.
    """
    names = ", ".join(store.path.name for store in stores)
    with stopping_cleanly(), removed_on_failure(stores):
        for store in stores:
            store.start()
        keys = [key for store in stores for key in store.keys]
        commit_all(stores, compute_keys(merged_graph(stores), keys, f"save {names}"))


@contextmanager
def removed_on_failure(stores: Sequence[PlannedSave]) -> Iterator[None]:
    """Remove outputs that were begun and cannot be finished."""
    try:
        yield
    except BaseException:
        with deferred():
            for store in stores:
                store.abort()
        raise


def merged_graph(stores: Sequence[PlannedSave]) -> Graph:
    """The graphs of all outputs as one."""
    return merge_graphs([store.graph for store in stores])


def commit_all(stores: Sequence[PlannedSave], receipts: Sequence[Written]) -> None:
    """Hand each output its receipts, which are in the order of all keys, and make them all visible.

    No output is visible before all of them are complete and on the disk.
    """
    remaining = iter(receipts)
    publish_all([store.prepare(list(islice(remaining, len(store.keys)))) for store in stores])
