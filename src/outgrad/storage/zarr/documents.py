"""The ``zarr.json`` files of an archive, for readers that know Zarr alone. Outgrad reads only commits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from outgrad.storage.zarr.commits import root_document
from outgrad.storage.zarr.format import SEGMENTS, ArraySpec, SegmentSpec

Document = dict[str, Any]

FILL_VALUES: dict[str, Any] = {"b": False, "i": 0, "u": 0, "f": 0.0, "c": [0.0, 0.0]}


def group_document() -> Document:
    return {"zarr_format": 3, "node_type": "group", "attributes": {}}


def array_document(array: ArraySpec, attributes: Document) -> Document:
    """The metadata of a Zarr v3 array on a regular grid."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(array.chunk_shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": FILL_VALUES[array.dtype.kind],
        "codecs": array.chain(),
        "attributes": attributes,
        "storage_transformers": [],
    }


def documents(segment: SegmentSpec) -> Iterator[tuple[str, Document]]:
    """Yield ``(key, document)`` of every ``zarr.json`` of an archive with this segment, the root first."""
    arrays = [*segment.arrays, *([segment.manifest.array] if segment.manifest else [])]
    groups = {"": None}  # in order: the segment itself, and every folder above an array
    for array in arrays:
        parts = array.path.split("/")[:-1]
        groups.update((f"{'/'.join(parts[: n + 1])}/", None) for n in range(len(parts)))
    names: dict[int, set[tuple[str, ...]]] = {}
    for table in segment.tables:
        names.setdefault(table.first.array, set()).add(table.names)

    yield "zarr.json", root_document()
    yield f"{SEGMENTS}/zarr.json", group_document()
    for path in groups:
        yield f"{segment.prefix}{path}zarr.json", group_document()
    for number, array in enumerate(arrays):
        # Names of columns, where all tables in the array have the same ones.
        columns = names.get(number, set())
        attributes = {"names": list(next(iter(columns)))} if len(columns) == 1 else {}
        yield f"{segment.prefix}{array.path}/zarr.json", array_document(array, attributes)


def serialize(document: Document) -> bytes:
    return json.dumps(document, indent=1).encode()
