"""Tell what a file holds without reading its values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.labels.labels import Labels
from outgrad.storage import open as open_path
from outgrad.storage.places import source_path
from outgrad.storage.zarr.format import FORMAT_VERSION
from outgrad.storage.zarr.reader import open_archive
from outgrad.tensor.map import TensorMap
from outgrad.tree import fold

FileDescription = dict[str, Any]


def describe(path: str | Path) -> FileDescription:
    """Describe an archive or file as data that JSON can hold.

    Parameters
    ----------
    path
        A ``.zarr`` archive, or a ``.mts`` or ``.npz`` file.

    Returns
    -------
    dict
        ``path``, ``kind``, ``bytes_on_disk``, ``versions`` (of an archive) and by kind ``keys``, ``blocks``,
        ``bytes``, ``info``; of labels ``names`` and ``rows``. Sizes are in bytes.

    Raises
    ------
    ArchiveError
        If it cannot be opened.
    """
    path = source_path("open", path)
    opened = open_path(path)
    kind = "labels" if isinstance(opened, Labels) else "map" if isinstance(opened, TensorMap) else "block"
    files = path.rglob("*") if path.is_dir() else (path,)
    bytes_on_disk = sum(file.stat().st_size for file in files if file.is_file())
    out: FileDescription = {"path": str(path), "kind": kind, "bytes_on_disk": bytes_on_disk}
    if path.is_dir():
        archive = open_archive(path)
        out["versions"] = {
            "format": FORMAT_VERSION,
            "archive": archive.version,
            "created": archive.created,
            "software": archive.software,
            "provenance": archive.provenance,
        }
    if isinstance(opened, Labels):
        return {**out, "names": list(opened.names), "rows": len(opened)}
    blocks = opened._blocks()
    if isinstance(opened, TensorMap):
        values = opened.keys.values.tolist()
        out |= {"keys": {"names": list(opened.keys.names), "values": values}, "info": opened.info()}
    return {**out, "bytes": blocks.nbytes, "blocks": _blocks(blocks.metadata, blocks.data)}


def _blocks(metadata: Sequence[BlockMetadata], lazy: LazyBlocks) -> list[FileDescription]:
    return [
        {
            **fold(_array, outline, own),
            "chunk_rows": list(outline.chunk_rows),
            "largest_chunk_bytes": int(outline.chunk_bytes.max(initial=0)),
        }
        for own, outline in zip(metadata, lazy.outlines, strict=True)
    ]


def _array(
    outline: Outline, metadata: BlockMetadata, gradients: dict[str, FileDescription]
) -> FileDescription:
    """Values or a gradient: ``bytes`` are with the gradients below."""
    return {
        "shape": list(outline.shape),
        "dtype": outline.dtype.name,
        "bytes": outline.nbytes,
        "samples": list(metadata.samples.names),
        "components": [name for component in metadata.components for name in component.names],
        "properties": list(metadata.properties.names),
        "gradients": gradients,
    }
