"""Saving, in steps: plan, start, write, commit. ``save`` does them all; a job runner does them one by one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dask.typing import Key

from outgrad.archive.mts_write import MtsWriter
from outgrad.archive.spec import DEFAULT_COMPRESSOR
from outgrad.archive.write import ZarrWriter
from outgrad.config import chunk_bytes
from outgrad.errors import ArchiveError
from outgrad.labels import Labels
from outgrad.lazy import LazyBlocks, StoreGraph, store_blocks
from outgrad.lazy.collection import compute_keys
from outgrad.lazy.store import Graph, merge_graphs
from outgrad.lazy.tasks import Writer
from outgrad.plan.requests import Written
from outgrad.tensor import TensorBlock, TensorMap
from outgrad.tensor.blocks import Blocks, to_lazy

ZARR_SUFFIX = ".zarr"
MTS_SUFFIXES = (".mts", ".npz")
Data = TensorMap | TensorBlock | Labels


def require_data(call: str, data: Any) -> None:
    """Only maps, blocks and labels are written."""
    if not isinstance(data, Data):
        raise TypeError(
            f"{call}: `data` must be one of 'Labels', 'TensorBlock' or 'TensorMap', not {type(data)}; "
            "the file comes first"
        )


@dataclass(frozen=True)
class Store:
    """A map or block that is about to be written to ``path``.

    The results of ``keys`` in ``graph`` are receipts, which :meth:`commit` needs; nothing is visible before.
    """

    path: Path
    writer: Writer
    tasks: StoreGraph
    blocks: LazyBlocks

    @property
    def graph(self) -> Graph:
        return self.tasks.graph

    @property
    def keys(self) -> tuple[Key, ...]:
        return self.tasks.keys

    @property
    def nbytes(self) -> int:
        """Bytes of values and gradients to write."""
        return self.blocks.nbytes

    def start(self) -> None:
        """Claim the path, and write the labels."""
        self.writer.start()

    def commit(self, receipts: Sequence[Written]) -> None:
        """Make the whole output visible."""
        self.writer.commit(receipts)

    def abort(self) -> None:
        """Remove what was written; what was at the path before stays."""
        self.writer.abort()


def plan_save(
    path: str | Path,
    data: TensorMap | TensorBlock,
    *,
    overwrite: bool = False,
    compressor: str = DEFAULT_COMPRESSOR,
    provenance: dict[str, Any] | None = None,
    durable: bool = True,
) -> Store:
    """Plan to write ``data``; nothing is computed or written yet, but a path that exists is refused.

    ``durable=False`` is for temporary files: they are not flushed to disk.
    """
    path = Path(path)
    blocks = to_lazy(data._blocks(), chunk_bytes())
    lazy = blocks.lazy
    assert lazy is not None, "it was made lazy"
    writer = _writer(path, data, blocks, lazy, overwrite, compressor, provenance, durable)
    return Store(path, writer, store_blocks(lazy, writer, uuid.uuid4().hex), lazy)


def _writer(
    path: Path,
    data: TensorMap | TensorBlock,
    blocks: Blocks,
    lazy: LazyBlocks,
    overwrite: bool,
    compressor: str,
    provenance: dict[str, Any] | None,
    durable: bool,
) -> Writer:
    is_map = isinstance(data, TensorMap)
    keys = data.keys if isinstance(data, TensorMap) else Labels.single()
    info = data.info() if isinstance(data, TensorMap) else {}
    kind: Any = "map" if is_map else "block"
    if path.suffix == ZARR_SUFFIX:
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
        )
    check_suffix("save", path)
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


def check_suffix(call: str, path: Path) -> None:
    """Only known suffixes are written and read, since the suffix chooses the format."""
    if path.suffix not in (ZARR_SUFFIX, *MTS_SUFFIXES):
        raise ArchiveError(
            f"{call} {path}: the suffix {path.suffix!r} names no format; use .zarr for an archive, "
            "or .mts (.npz) for metatensor's own file"
        )


def execute(stores: Sequence[Store]) -> None:
    """Write several outputs in one computation: what they have in common is computed once.

    If anything fails, none of them changes what is at its path.

    Raises
    ------
    MemoryLimitError
        If the workers of a client have not enough memory; no task was started.
    """
    started: list[Store] = []
    try:
        for store in stores:
            started.append(store)
            store.start()
        keys = [key for store in stores for key in store.keys]
        names = ", ".join(store.path.name for store in stores)
        receipts = compute_keys(merged(stores), keys, f"save {names}")
        commit_all(stores, receipts)
    except BaseException:
        for store in started:
            store.abort()
        raise


def merged(stores: Sequence[Store]) -> Graph:
    """The graphs of all outputs as one."""
    return merge_graphs([store.graph for store in stores])


def commit_all(stores: Sequence[Store], receipts: Sequence[Written]) -> None:
    """Hand each output its receipts, which are in the order of all keys."""
    at = 0
    for store in stores:
        store.commit(receipts[at : at + len(store.keys)])
        at += len(store.keys)
