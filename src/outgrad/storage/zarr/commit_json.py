"""The JSON of a commit: the fields that docs/format.md specifies, their types, and the limits of numbers.

Fields that are not listed here are ignored, and null means that an optional one is absent. Whether the fields
agree with each other is checked in :mod:`outgrad.storage.zarr.parse`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, to_builtins

from outgrad.storage.zarr.format import (
    FORMAT,
    FORMAT_VERSION,
    ArraySpec,
    BlockSpec,
    Commit,
    FillNumber,
    SegmentSpec,
)
from outgrad.tree import GradientPath, fold_down

Count = Annotated[int, Meta(ge=0, lt=2**62)]
Hex128 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Int32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Numbers = tuple[Count, ...]
FirstRowJson = tuple[Count, Count]
"""Number of an array, and the first row in it."""


class HeaderJson(Struct, frozen=True):
    """What commits of every format version have."""

    format: str
    format_version: Count


class ArrayJson(Struct, frozen=True, omit_defaults=True):
    path: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.%-]+(/[A-Za-z0-9_.%-]+)*\Z")]
    dtype: str
    shape: Numbers
    chunk_rows: Count
    codecs: Count
    """Number of a chain of codecs."""
    chunks_per_shard: Annotated[int, Meta(ge=1, lt=2**31)] = 1
    pieces: tuple[Count, Count] | None = None


class ManifestJson(ArrayJson, frozen=True, kw_only=True):
    crc32c: Numbers


class TableJson(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    array: Count
    first: Count
    rows: Count
    names: Count
    """Number of a list of column names."""
    digest: Hex128
    bounds: tuple[tuple[Int32, Int32], ...] | None = None
    ranges: FirstRowJson | None = None


class KeysJson(Struct, frozen=True):
    table: Count
    values: tuple[tuple[Int32, ...], ...] | None = None


class GradientJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    values: FirstRowJson
    samples: Count
    components: Numbers | None = None
    edges: Numbers | None = None
    offsets: FirstRowJson | None = None
    gradients: tuple[tuple[str, GradientJson], ...] | None = None


class BlockJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    values: FirstRowJson
    samples: Count
    components: Numbers | None = None
    properties: Count
    edges: Numbers | None = None
    gradients: tuple[tuple[str, GradientJson], ...] | None = None


class FilesJson(Struct, frozen=True):
    root: str
    paths: Count
    files: Count
    pieces: Count


class SegmentJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: Hex128
    keys: KeysJson
    arrays: tuple[ArrayJson, ...]
    tables: tuple[TableJson, ...]
    blocks: tuple[BlockJson, ...]
    chunks: ManifestJson | None = None
    checksums: ManifestJson | None = None
    """Instead of ``chunks`` in version 1."""
    codecs: list[list[Any]]
    names: list[list[str]]
    files: FilesJson | None = None
    archive: str | None = None


class SegmentListJson(Struct, frozen=True):
    segments: Annotated[tuple[SegmentJson, ...], Meta(min_length=1)]


FillNumberJson = int | float | Literal["NaN", "Infinity", "-Infinity"]
"""As in ``zarr.json``, where JSON has no such numbers; two of them are a complex one."""


def fill_to_json(fill: FillNumber | None) -> Any:
    """The number that fills as JSON."""
    if isinstance(fill, complex):
        return [fill_to_json(fill.real), fill_to_json(fill.imag)]
    if isinstance(fill, float) and not math.isfinite(fill):
        return "NaN" if fill != fill else "Infinity" if fill > 0 else "-Infinity"
    return fill


def fill_from_json(fill: Any) -> FillNumber | None:
    """The number that fills, read back."""
    if isinstance(fill, tuple):
        return complex(*map(float, fill))
    return float(fill) if isinstance(fill, str) else fill


class AddedJson(Struct, frozen=True):
    samples: Count
    bytes: Count


class ListJson(Struct, frozen=True):
    id: Hex128
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    segments: Annotated[int, Meta(ge=1, lt=2**31)]


class CommitJson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    format_version: Count
    version: Annotated[int, Meta(ge=0, lt=10**10)]
    kind: str
    writer: str
    created: str
    software: str
    info: dict[str, Any]
    """Texts by name: msgspec would not say which of them is none."""
    provenance: dict[str, Any]
    action: str = "save"
    who: str = ""
    added: AddedJson | None = None
    since: Count = 0
    fill: FillNumberJson | tuple[FillNumberJson, FillNumberJson] | None = None
    lists: tuple[ListJson, ...] = ()
    segments: Annotated[tuple[SegmentJson, ...], Meta(min_length=1)]


def commit_to_json(commit: Commit) -> dict[str, Any]:
    """The content of a commit as JSON; :func:`outgrad.storage.zarr.parse.commit_from_json` reads it back."""
    listed = sum(each.segments for each in commit.lists)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": commit.version,
        "kind": commit.kind,
        "writer": commit.writer,
        "created": commit.created,
        "software": commit.software,
        "info": commit.info,
        "provenance": commit.provenance,
        "action": commit.action,
        "who": commit.who,
        "added": None
        if commit.added is None
        else {"samples": commit.added.samples, "bytes": commit.added.nbytes},
        "since": commit.since,
        "fill": fill_to_json(commit.fill),
        "lists": [
            {"id": each.name, "sha256": each.sha256, "segments": each.segments} for each in commit.lists
        ],
        "segments": [segment_to_json(segment) for segment in commit.segments[listed:]],
    }


def segment_to_json(segment: SegmentSpec) -> dict[str, Any]:
    """A segment as JSON. Chains of codecs and names of columns are listed once and referred to by number."""
    chains: list[Any] = []
    names: list[Any] = []

    def fields_of(array: ArraySpec) -> dict[str, Any]:
        return {
            "path": array.path,
            "dtype": array.dtype.name,
            "shape": array.shape,
            "chunk_rows": array.chunk_rows,
            "codecs": _number_of(array.chain(), chains),
            "chunks_per_shard": array.chunks_per_shard,
            "pieces": array.pieces,
        }

    listed = None
    if segment.manifest is not None:
        listed = ManifestJson(**fields_of(segment.manifest.array), crc32c=segment.manifest.checksums)
    document = SegmentJson(
        id=segment.name,
        keys=KeysJson(segment.keys, segment.key_values),
        arrays=tuple(ArrayJson(**fields_of(array)) for array in segment.arrays),
        tables=tuple(
            TableJson(
                *table.first,
                table.rows,
                _number_of(list(table.names), names),
                table.digest,
                table.bounds,
                table.ranges,
            )
            for table in segment.tables
        ),
        blocks=tuple(fold_down(_block_to_json, block) for block in segment.blocks),
        chunks=None if segment.is_version_1 else listed,
        checksums=listed if segment.is_version_1 else None,
        codecs=chains,
        names=names,
        files=None if segment.files is None else FilesJson(*segment.files),
        archive=segment.archive,
    )
    plain: dict[str, Any] = to_builtins(document)
    for table in plain["tables"]:
        while table[-1] is None:  # bounds and ranges, which few tables have
            table.pop()
    return plain


def _number_of(item: Any, items: list[Any]) -> int:
    if item not in items:
        items.append(item)
    return items.index(item)


def _block_to_json(path: GradientPath, _: object, block: BlockSpec, gradients: dict[str, Any]) -> Any:
    """Left out: what a gradient shares with its block, and edges of a single chunk."""
    shared: dict[str, Any] = {
        "values": block.values,
        "samples": block.samples,
        "components": block.components or None,
        "edges": block.edges if len(block.edges) > 2 else None,
        "gradients": tuple(gradients.items()) or None,
    }
    if path:
        return GradientJson(**shared, offsets=block.offsets)
    return BlockJson(**shared, properties=block.properties)
