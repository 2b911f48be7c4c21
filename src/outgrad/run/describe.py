"""Describe what a file holds without reading its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.labels.labels import Labels
from outgrad.storage import open as open_path
from outgrad.storage.places import is_file, source_path
from outgrad.storage.stores import open_store
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
        ``path``, ``kind``, ``bytes_on_disk`` (None where it cannot be known), ``versions`` (of an archive)
        and by kind ``keys``, ``blocks``, ``bytes``, ``info``; of labels ``names`` and ``rows``. Sizes are in
        bytes.

    Raises
    ------
    ArchiveError
        If it cannot be opened.
    """
    location = source_path("open", path)
    opened = open_path(path)
    kind = "labels" if isinstance(opened, Labels) else "map" if isinstance(opened, TensorMap) else "block"
    out: FileDescription = {"path": str(location), "kind": kind, "bytes_on_disk": None}
    if is_file(location):
        out["bytes_on_disk"] = location.stat().st_size
    else:
        store = open_store(location)
        if store.lists:
            out["bytes_on_disk"] = sum(entry.nbytes for _, entry in store.walk(""))
        commit = open_archive(store).commit
        out["versions"] = {
            "format": commit.format_version,
            "archive": commit.version,
            "created": commit.created,
            "software": commit.software,
            "provenance": commit.provenance,
        }
    if isinstance(opened, Labels):
        return {**out, "names": list(opened.names), "rows": len(opened)}
    blocks = opened._blocks()
    if isinstance(opened, TensorMap):
        keys = {"names": list(opened.keys.names), "values": opened.keys.values.tolist()}
        out |= {"keys": keys, "info": opened.info()}
    described = [
        {
            **fold(_described_array, outline, metadata),
            "chunk_rows": list(outline.chunk_rows),
            "largest_chunk_bytes": int(outline.chunk_bytes.max(initial=0)),
        }
        for metadata, outline in zip(blocks.metadata, blocks.data.outlines, strict=True)
    ]
    return {**out, "bytes": blocks.nbytes, "blocks": described}


def _described_array(
    outline: Outline, metadata: BlockMetadata, gradients: dict[str, FileDescription]
) -> FileDescription:
    """Describe values or a gradient; ``bytes`` include its gradients."""
    return {
        "shape": list(outline.shape),
        "dtype": outline.dtype.name,
        "bytes": outline.nbytes,
        "samples": list(metadata.samples.names),
        "components": [name for component in metadata.components for name in component.names],
        "properties": list(metadata.properties.names),
        "gradients": gradients,
    }
