"""Saving, in steps: plan, start, write, prepare, publish. A job runner does them one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from outgrad import config
from outgrad._foreign import kind_of
from outgrad._signals import deferred, stopping_cleanly
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Written
from outgrad.engine.content import NOTHING, Blocks
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
    local_path,
    reaching,
)
from outgrad.storage.places import target_path
from outgrad.storage.publishing import Unpublished, publish_all
from outgrad.storage.zarr.format import DEFAULT_COMPRESSOR
from outgrad.storage.zarr.writer import ZarrWriter
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Data = TensorMap | TensorBlock | Labels


def require_data(call: str, data: Any) -> None:
    """Only maps, blocks and labels are written."""
    if not isinstance(data, Data):
        raise TypeError(
            f"{call}: `data` must be one of 'Labels', 'TensorBlock' or 'TensorMap', not {kind_of(data)}; "
            "the file comes first"
        )


@dataclass(frozen=True)
class Store:
    """A map, a block or labels about to be written to ``path``, in which no links are left.

    The results of ``keys`` in ``graph`` are receipts, and texts that are kept with the map: :meth:`prepare`
    needs them. Nothing is visible before it is published.
    """

    path: Path
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
    path: str | PathLike[str],
    data: Data,
    *,
    overwrite: bool = False,
    compressor: str = DEFAULT_COMPRESSOR,
    provenance: dict[str, Any] | None = None,
    durable: bool | None = None,
) -> Store:
    """Plan to write ``data``; nothing is computed or written yet, but a path that exists is refused.

    ``durable`` tells whether it is flushed to the disk; None leaves that to the setting.
    """
    given = local_path("save", path)
    is_labels = isinstance(data, Labels)
    check_suffix("save", given, (ZARR_SUFFIX, *MTS_SUFFIXES, *([LABELS_SUFFIX] if is_labels else [])))
    target = target_path("save", given)
    blocks = (NOTHING if isinstance(data, Labels) else data._blocks()).to_lazy(config.chunk_bytes())
    lazy = blocks.data
    for number, (metadata, outline) in enumerate(zip(blocks.metadata, lazy.outlines, strict=True)):
        _check_fits(number, metadata, outline)
    is_zarr = given.suffix == ZARR_SUFFIX
    with reaching("save", given):
        is_durable = config.durable(durable)
        writer = _writer(target, is_zarr, data, blocks, lazy, overwrite, compressor, provenance, is_durable)
    texts = lazy_texts(data._info) if isinstance(data, TensorMap) else {}
    return Store(target, writer, store_blocks(lazy, writer), lazy, texts)


def _check_fits(number: int, metadata: BlockMetadata, outline: Outline) -> None:
    """Refuse labels that do not describe the values: what is written must be read back."""
    labels = [(path, own.shape) for path, own in metadata.walk()]
    values = [(path, own.shape) for path, own in outline.walk()]
    if labels != values:
        raise ValidationError(
            f"save: the labels of block {number} describe the shapes {labels}, and its values have {values}; "
            "verify the archive or file that they come from"
        )


def _writer(
    path: Path,
    is_zarr: bool,
    data: Data,
    blocks: Blocks,
    lazy: LazyBlocks,
    overwrite: bool,
    compressor: str,
    provenance: dict[str, Any] | None,
    durable: bool,
) -> Writer:
    keys, kind = _keys_and_kind(data)
    info = data.info() if isinstance(data, TensorMap) else {}
    if is_zarr:
        return ZarrWriter(
            path,
            keys,
            blocks.metadata,
            lazy.outlines,
            info=info,
            overwrite=overwrite,
            kind=kind,
            compressor=compressor,
            provenance=provenance,
            durable=durable,
        )
    if isinstance(data, Labels):
        return LabelsWriter(path, data, overwrite, durable)
    return MtsWriter(
        path,
        keys,
        blocks.metadata,
        lazy.outlines,
        info=info,
        overwrite=overwrite,
        kind=kind,
        durable=durable,
    )


def _keys_and_kind(data: Data) -> tuple[Labels, Any]:
    if isinstance(data, Labels):
        return data, "labels"
    return (data.keys, "map") if isinstance(data, TensorMap) else (Labels.single(), "block")


def execute(stores: Sequence[Store]) -> None:
    """Write several outputs in one computation: what they have in common is computed once.

    If anything fails, none of them changes what is at its path.

    Raises
    ------
    MemoryLimitError
        If the workers of a client have not enough memory; no task was started.
    """
    names = ", ".join(store.path.name for store in stores)
    with stopping_cleanly(), removed_on_failure(stores):
        for store in stores:
            store.start()
        keys = [key for store in stores for key in store.keys]
        commit_all(stores, compute_keys(merged(stores), keys, f"save {names}"))


@contextmanager
def removed_on_failure(stores: Sequence[Store]) -> Iterator[None]:
    """Leave nothing of outputs that were begun and are not finished."""
    try:
        yield
    except BaseException:
        with deferred():
            for store in stores:
                store.abort()
        raise


def merged(stores: Sequence[Store]) -> Graph:
    """The graphs of all outputs as one."""
    return merge_graphs([store.graph for store in stores])


def commit_all(stores: Sequence[Store], receipts: Sequence[Written]) -> None:
    """Hand each output its receipts, which are in the order of all keys, and make them all visible.

    No output is visible before all are whole and on the disk.
    """
    prepared: list[Unpublished] = []
    at = 0
    for store in stores:
        prepared.append(store.prepare(receipts[at : at + len(store.keys)]))
        at += len(store.keys)
    publish_all(prepared)
