"""A commit's JSON into checked dataclasses: the result is sound, or the error names the place.

Msgspec checks each field by itself, as :mod:`outgrad.storage.zarr.commit_json` lists them; here is what the
fields say of each other.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import numpy as np

from outgrad.errors import ValidationError
from outgrad.labels.checks import normalize_names
from outgrad.storage.zarr.codecs import CodecError, Compressor, chain_from_json
from outgrad.storage.zarr.commit_json import (
    ArrayJson,
    BlockJson,
    CommitJson,
    GradientJson,
    HeaderJson,
    SegmentJson,
    SegmentListJson,
    TableJson,
    fill_from_json,
)
from outgrad.storage.zarr.consistent import (
    MAXIMUM_DEPTH,
    array_mistake,
    arrays_mistake,
    files_mistake,
    gradient_mistake,
    kind_mistake,
    segment_mistake,
)
from outgrad.storage.zarr.format import (
    ACTIONS,
    ARCHIVE_KINDS,
    ARRAY_DTYPES,
    LABEL_DTYPE,
    OFFSET_DTYPE,
    RECORD_DTYPE,
    Added,
    ArchiveKind,
    ArraySpec,
    BlockSpec,
    Commit,
    FileTables,
    FirstRow,
    Manifest,
    PieceRange,
    SegmentList,
    SegmentSpec,
    TableSpec,
)

Converted = TypeVar("Converted")

SHOWN_CHARACTERS = 80


class ParseError(ValueError):
    """JSON that is not a commit; the message names the place."""


class _Unexpected(Exception):
    """A value is not what it should be; ``where`` is its path in msgspec's form, ``.segments[0].id``."""

    def __init__(self, where: str, expected: str) -> None:
        super().__init__(where, expected)
        self.where = where
        self.expected = expected


def read_json(raw: bytes) -> Any:
    """Read JSON by its standard: no NaN, and no name twice in an object, where readers differ.

    Msgspec's own decoder keeps the last of two equal names, so Python's reads the text.

    Raises
    ------
    ValueError
        If it is not JSON; RecursionError if it nests deeper than Python can follow.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not a number of JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            name = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"the name {name!r} occurs twice")
        return fields

    return json.loads(raw.decode(), parse_constant=refuse, object_pairs_hook=unique)


def header_from_json(data: Any) -> HeaderJson:
    """Read the fields that commits of every format version have."""
    with _naming_places(data):
        return msgspec.convert(data, HeaderJson)


def commit_from_json(data: Any) -> Commit:
    """Check and convert the content of a commit of this format version, or an older one.

    Its segments are those that are not in lists.

    Raises
    ------
    ParseError
        If anything in it is missing, of the wrong type, or does not fit the rest.
    """
    with _naming_places(data):
        commit = msgspec.convert(data, CommitJson)
        if commit.kind not in ARCHIVE_KINDS:
            raise _Unexpected(".kind", f"one of {', '.join(ARCHIVE_KINDS)}")
        for name, text in commit.info.items():
            if type(text) is not str:
                raise ParseError(f"info.{name} should be text, found {_value_text(text)}")
        if commit.action not in ACTIONS:
            raise _Unexpected(".action", f"one of {', '.join(ACTIONS)}")
        return Commit(
            version=commit.version,
            kind=commit.kind,
            writer=commit.writer,
            created=commit.created,
            software=commit.software,
            info=commit.info,
            provenance=commit.provenance,
            segments=_whole_segments(commit.segments, commit.kind),
            action=commit.action,
            who=commit.who,
            added=None if commit.added is None else Added(commit.added.samples, commit.added.bytes),
            lists=tuple(SegmentList(each.id, each.sha256, each.segments) for each in commit.lists),
            fill=fill_from_json(commit.fill),
            format_version=commit.format_version,
            since=commit.since or commit.version,  # in version 1 each commit replaces the one before
        )


def segments_from_json(data: Any, kind: ArchiveKind) -> tuple[SegmentSpec, ...]:
    """Check and convert the content of a list of segments."""
    with _naming_places(data):
        return _whole_segments(msgspec.convert(data, SegmentListJson).segments, kind)


def _whole_segments(items: Sequence[SegmentJson], kind: ArchiveKind) -> tuple[SegmentSpec, ...]:
    segments = tuple(_segment_spec(item, f".segments[{number}]") for number, item in enumerate(items))
    for number, segment in enumerate(segments):
        if segment.manifest is None:
            raise ParseError(f"segments[{number}] has no list of its chunks")
        _require(kind_mistake(kind, segment), f".segments[{number}]")
    return segments


def segment_from_json(data: Any) -> SegmentSpec:
    """Check and convert one segment, whose manifest may still be missing."""
    with _naming_places(data):
        return _segment_spec(msgspec.convert(data, SegmentJson), "")


@contextmanager
def _naming_places(data: Any) -> Iterator[None]:
    """Turn what is wrong with ``data`` into a ParseError: its place, what was expected, what was found."""
    try:
        yield
    except _Unexpected as error:
        raise _parse_error(data, error.where, error.expected) from error
    except msgspec.ValidationError as error:
        # "Expected `int`, got `bool` - at `$.segments[0].keys.table`", or another text with a place.
        text, _, path = str(error).partition(" - at `$")
        where = path.rstrip("`")
        if text.startswith("Expected "):
            expected = text.removeprefix("Expected ").partition(", got ")[0].replace("`", "")
            raise _parse_error(data, where, expected) from error
        raise ParseError(f"{_readable_place(where)}: {text[:1].lower()}{text[1:]}") from error
    except RecursionError as error:
        raise ParseError(f"gradients nest deeper than {MAXIMUM_DEPTH}") from error
    except UnicodeEncodeError as error:
        raise ParseError(f"the name {error.object!r} of a field is not valid Unicode") from error


def _parse_error(data: Any, where: str, expected: str) -> ParseError:
    value = data
    for name, number in re.findall(r"\.([^.[]+)|\[(\d+)\]", where):
        value = value[int(number) if number else name]
    return ParseError(f"{_readable_place(where)} should be {expected}, found {_value_text(value)}")


def _value_text(value: Any) -> str:
    shown = reprlib.repr(value) if isinstance(value, (list, dict)) else repr(value)
    return shown if len(shown) < SHOWN_CHARACTERS else f"{shown[: SHOWN_CHARACTERS - 3]}..."


def _readable_place(where: str) -> str:
    return where.removeprefix(".") or "the commit"


def _require(mistake: str, where: str) -> None:
    if mistake:
        raise ParseError(f"{_readable_place(where)}: {mistake}")


def _converted(convert: Callable[[list[Any]], Converted], item: list[Any], where: str) -> Converted:
    try:
        return convert(item)
    except (ValidationError, CodecError) as error:
        raise ParseError(f"{_readable_place(where)}: {error}") from error


def _segment_spec(segment: SegmentJson, where: str) -> SegmentSpec:
    names = [_converted(normalize_names, item, f"{where}.names[{n}]") for n, item in enumerate(segment.names)]
    chains = [
        _converted(chain_from_json, item, f"{where}.codecs[{n}]") for n, item in enumerate(segment.codecs)
    ]
    arrays = tuple(
        _array_spec(array, chains, f"{where}.arrays[{n}]") for n, array in enumerate(segment.arrays)
    )
    _require(arrays_mistake(arrays), f"{where}.arrays")
    tables = tuple(
        _table_spec(table, arrays, names, f"{where}.tables[{n}]") for n, table in enumerate(segment.tables)
    )
    keys = segment.keys
    _check_number(keys.table, len(tables), f"{where}.keys.table")
    if keys.values is not None:
        rows, width = tables[keys.table].rows, len(tables[keys.table].names)
        if len(keys.values) != rows or any(len(row) != width for row in keys.values):
            raise _Unexpected(f"{where}.keys.values", f"a list of {rows} lists of {width} integers")
    blocks = tuple(
        _block_spec(block, arrays, tables, f"{where}.blocks[{n}]") for n, block in enumerate(segment.blocks)
    )
    files = None
    if segment.files is not None:
        files = FileTables(segment.files.root, segment.files.paths, segment.files.files, segment.files.pieces)
        _require(files_mistake(arrays, files), f"{where}.files")
    elif any(array.pieces is not None for array in arrays):
        raise ParseError(f"{_readable_place(where)}: arrays with pieces need 'files'")
    spec = SegmentSpec(
        segment.id, arrays, tables, blocks, keys.table, keys.values, files=files, archive=segment.archive
    )
    _require(segment_mistake(spec), f"{where}.blocks")
    manifest, name = segment.chunks, "chunks"
    if manifest is None:  # as in version 1
        manifest, name = segment.checksums, "checksums"
    if manifest is None:
        return spec
    array = _array_spec(manifest, chains, f"{where}.{name}")
    shape = (spec.chunk_bases[-1], 2) if name == "chunks" else (spec.chunk_bases[-1],)
    if array.dtype != RECORD_DTYPE or array.shape != shape or array.chunks_per_shard > 1:
        raise _Unexpected(f"{where}.{name}", f"an array without shards of uint32 and of shape {list(shape)}")
    if len(manifest.crc32c) != array.chunk_count:
        raise _Unexpected(f"{where}.{name}.crc32c", f"a list of {array.chunk_count}")
    if name == "checksums" and any(each.chunks_per_shard > 1 for each in arrays):
        raise ParseError(f"{_readable_place(where)}: arrays with shards need 'chunks' instead of 'checksums'")
    return replace(spec, manifest=Manifest(array, manifest.crc32c))


def _check_number(number: int, count: int, where: str) -> None:
    if number >= count:
        raise _Unexpected(where, f"an integer in [0, {count})")


def _array_spec(array: ArrayJson, chains: Sequence[Compressor | None], where: str) -> ArraySpec:
    if array.dtype not in ARRAY_DTYPES:
        raise _Unexpected(f"{where}.dtype", "the name of a number type")
    if any(part in (".", "..", "zarr.json") for part in array.path.split("/")):
        raise _Unexpected(f"{where}.path", "a path inside the segment")
    _check_number(array.codecs, len(chains), f"{where}.codecs")
    dtype = np.dtype(array.dtype).newbyteorder("<")
    chain, per_shard = chains[array.codecs], array.chunks_per_shard
    pieces = None if array.pieces is None else PieceRange(*array.pieces)
    spec = ArraySpec(array.path, dtype, array.shape, array.chunk_rows, chain, per_shard, pieces)
    mistake = array_mistake(spec)
    if mistake:
        raise _Unexpected(where, mistake)
    return spec


def _first_row(first: tuple[int, int], rows: int, arrays: Sequence[ArraySpec], where: str) -> FirstRow:
    array, row = first
    if array >= len(arrays) or row + rows > arrays[array].shape[0]:
        raise _Unexpected(where, f"{rows} rows inside one of {len(arrays)} arrays")
    return FirstRow(array, row)


def _table_spec(
    table: TableJson, arrays: Sequence[ArraySpec], names: Sequence[tuple[str, ...]], where: str
) -> TableSpec:
    first = _first_row((table.array, table.first), table.rows, arrays, where)
    _check_number(table.names, len(names), f"{where}[3]")
    columns = names[table.names]
    array = arrays[table.array]
    if array.dtype != LABEL_DTYPE or array.shape[1:] != (len(columns),):
        raise _Unexpected(where, f"a table of {len(columns)} columns of int32")
    if table.rows and not columns:
        raise _Unexpected(where, "a table without rows, since it has no columns")
    if table.bounds is not None and len(table.bounds) != len(columns):
        raise _Unexpected(f"{where}[5]", f"a list of {len(columns)} pairs")
    ranges = None
    if table.ranges is not None:
        chunks = len(array.chunks_of(first.row, first.row + table.rows))
        ranges = _first_row(table.ranges, chunks, arrays, f"{where}[6]")
        if arrays[ranges.array].dtype != LABEL_DTYPE or arrays[ranges.array].shape[1:] != (2,):
            raise _Unexpected(f"{where}[6]", "the first row in a table of two columns of int32")
    return TableSpec(first, table.rows, columns, table.digest, table.bounds, ranges)


def _block_spec(
    block: BlockJson | GradientJson,
    arrays: Sequence[ArraySpec],
    tables: Sequence[TableSpec],
    where: str,
    parents: tuple[BlockSpec, ...] = (),
) -> BlockSpec:
    """Check a block, or a gradient of the last of ``parents``, and all gradients inside it."""
    if len(parents) > MAXIMUM_DEPTH:
        raise ParseError(f"{_readable_place(where)}: gradients nest deeper than {MAXIMUM_DEPTH}")
    parent = parents[-1] if parents else None
    components = block.components or ()
    properties = block.properties if isinstance(block, BlockJson) else parents[-1].properties
    _check_number(block.samples, len(tables), f"{where}.samples")
    if max(components, default=-1) >= len(tables):
        raise _Unexpected(f"{where}.components", f"numbers of some of {len(tables)} tables")
    _check_number(properties, len(tables), f"{where}.properties")
    rows = tables[block.samples].rows
    values = _first_row(block.values, rows, arrays, f"{where}.values")
    if any(len(tables[number].names) != 1 for number in components):
        raise _Unexpected(f"{where}.components", "numbers of tables of one column")
    trailing = tuple([tables[number].rows for number in (*components, properties)])
    if arrays[values.array].shape[1:] != trailing:
        raise _Unexpected(f"{where}.values", f"the first row in an array of rows of shape {list(trailing)}")

    edges = (0, rows) if block.edges is None else block.edges
    is_sorted = len(edges) > 1 and edges[0] == 0 and edges[-1] == rows and sorted(edges) == list(edges)
    if not is_sorted or (parent is not None and len(edges) != len(parent.edges)):
        raise _Unexpected(where, "a block with edges from 0 to its number of rows, as many as its parent has")

    offsets = None
    if isinstance(block, GradientJson) and block.offsets is not None:
        offsets = _offsets(block.offsets, tables[parents[-1].samples].rows, arrays, f"{where}.offsets")
    spec = BlockSpec(values, block.samples, components, properties, edges, offsets)
    for number, (name, gradient) in enumerate(block.gradients or ()):
        if name in spec.gradients:
            raise _Unexpected(f"{where}.gradients[{number}]", "a gradient of another name")
        inside = f"{where}.gradients[{number}][1]"
        spec.gradients[name] = _block_spec(gradient, arrays, tables, inside, (*parents, spec))
    mistake = "" if parent is None else gradient_mistake(spec, parent, arrays, tables)
    if mistake:
        raise _Unexpected(where, mistake)
    return spec


def _offsets(first: tuple[int, int], parent_rows: int, arrays: Sequence[ArraySpec], where: str) -> FirstRow:
    offsets = _first_row(first, parent_rows + 1, arrays, where)
    if arrays[offsets.array].dtype != OFFSET_DTYPE or len(arrays[offsets.array].shape) != 1:
        raise _Unexpected(where, "the first row in an array of int64")
    return offsets
