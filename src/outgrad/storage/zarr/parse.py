"""A commit's JSON into checked dataclasses: the result is sound, or the error names the place."""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from outgrad.errors import ValidationError
from outgrad.labels.checks import normalize_names
from outgrad.storage.zarr.codecs import CodecError, Compressor, chain_from_json
from outgrad.storage.zarr.consistent import (
    MAXIMUM_DEPTH,
    array_mistake,
    arrays_mistake,
    gradient_mistake,
    kind_mistake,
    segment_mistake,
)
from outgrad.storage.zarr.format import (
    CHECKSUM_DTYPE,
    DTYPES,
    KINDS,
    LABEL_DTYPE,
    OFFSET_DTYPE,
    ArraySpec,
    BlockSpec,
    Commit,
    Manifest,
    Place,
    SegmentSpec,
    TableSpec,
)

MAXIMUM_BYTES = 2**62

_SEGMENT_NAME = re.compile(r"[0-9a-f]{32}")
_ARRAY_PATH = re.compile(r"[A-Za-z0-9_.%-]+(/[A-Za-z0-9_.%-]+)*")
_DIGEST = re.compile(r"[0-9a-f]{32}")


class ParseError(ValueError):
    """JSON that is no commit; the message names the place."""


def read_json(raw: bytes) -> Any:
    """Read JSON as its standard has it: no NaN, and no name twice in an object, where readers differ.

    Raises
    ------
    ValueError
        If it is none; RecursionError if it nests deeper than Python can follow.
    """
    return json.loads(raw.decode(), parse_constant=_refuse, object_pairs_hook=_object)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {name!r} is there twice")
    return found


class Node:
    """A JSON value and where it stands."""

    __slots__ = ("name", "parent", "value")

    def __init__(self, value: Any, name: str | int = "", parent: Node | None = None) -> None:
        self.value = value
        self.name = name
        self.parent = parent

    @property
    def where(self) -> str:
        if self.parent is None:
            return str(self.name)
        before = self.parent.where
        if isinstance(self.name, int):
            return f"{before}[{self.name}]"
        return f"{before}.{self.name}" if before else self.name

    def wrong(self, expected: str) -> ParseError:
        shown = reprlib.repr(self.value) if isinstance(self.value, (list, dict)) else repr(self.value)
        return ParseError(
            f"{self.where} should be {expected}, found {shown if len(shown) < 80 else shown[:77] + '...'}"
        )

    def get(self, name: str) -> Node:
        """A field that must be there."""
        found = self.find(name)
        if found is None:
            raise ParseError(f"{self.where or 'the commit'} has no field {name!r}")
        return found

    def find(self, name: str) -> Node | None:
        """A field, or None if it is absent or null."""
        if type(self.value) is not dict:
            raise self.wrong("an object")
        value = self.value.get(name)
        return None if value is None else Node(value, name, self)

    def items(self) -> Iterator[Node]:
        return (Node(value, number, self) for number, value in enumerate(self.list()))

    def list(self, length: int | None = None) -> list[Any]:
        if type(self.value) is not list or (length is not None and len(self.value) != length):
            raise self.wrong("a list" if length is None else f"a list of {length}")
        return self.value

    def dict(self) -> dict[str, Any]:
        if type(self.value) is not dict:
            raise self.wrong("an object")
        return self.value

    def text(self, pattern: re.Pattern[str] | None = None) -> str:
        if type(self.value) is not str:
            raise self.wrong("text")
        if pattern is not None and pattern.fullmatch(self.value) is None:
            raise self.wrong(f"text like {pattern.pattern}")
        return self.value

    def integer(self, below: int = MAXIMUM_BYTES) -> int:
        if type(self.value) is not int or not 0 <= self.value < below:
            raise self.wrong(
                "an integer from 0 up" if below == MAXIMUM_BYTES else f"an integer in [0, {below})"
            )
        return self.value

    def integers(
        self, length: int | None = None, minimum: int = 0, below: int = MAXIMUM_BYTES
    ) -> tuple[int, ...]:
        values = self.list(length)
        # In bulk: an archive of thousands of blocks holds tens of thousands of such lists.
        if values and (set(map(type, values)) != {int} or min(values) < minimum or max(values) >= below):
            raise self.wrong("a list of integers" if length is None else f"a list of {length} integers")
        return tuple(values)


def commit_from_json(data: Any) -> Commit:
    """Check and convert the content of a commit of this format version.

    Raises
    ------
    ParseError
        If anything in it is missing, of the wrong type, or does not fit the rest.
    """
    root = Node(data)
    kind = root.get("kind")
    if kind.value not in KINDS:
        raise kind.wrong(f"one of {', '.join(KINDS)}")
    segments = tuple(_committed(node) for node in root.get("segments").items())
    if not segments:
        raise root.get("segments").wrong("at least one segment")
    if len(segments) == 1:
        _require(kind_mistake(kind.value, segments[0]), next(root.get("segments").items()))
    return Commit(
        version=root.get("version").integer(10**10),
        kind=kind.value,
        writer=root.get("writer").text(),
        created=root.get("created").text(),
        software=root.get("software").text(),
        info={
            name: Node(text, name, root.get("info")).text() for name, text in root.get("info").dict().items()
        },
        provenance=root.get("provenance").dict(),
        segments=segments,
    )


def _committed(node: Node) -> SegmentSpec:
    segment = segment_from_json(node)
    if segment.manifest is None:
        raise ParseError(f"{node.where} has no checksums")
    return segment


def _require(mistake: str, node: Node) -> None:
    if mistake:
        raise ParseError(f"{node.where}: {mistake}")


def segment_from_json(node: Node) -> SegmentSpec:
    """Check and convert one segment."""
    names = [_column_names(item) for item in node.get("names").items()]
    chains = [_chain(item) for item in node.get("codecs").items()]
    arrays = tuple(_array(item, chains) for item in node.get("arrays").items())
    _require(arrays_mistake(arrays), node.get("arrays"))
    tables = tuple(_table(item, arrays, names) for item in node.get("tables").items())
    blocks = _Blocks(arrays, tables)
    keys = node.get("keys")
    table = keys.get("table").integer(len(tables))
    manifest = node.find("checksums")
    segment = SegmentSpec(
        name=node.get("id").text(_SEGMENT_NAME),
        arrays=arrays,
        tables=tables,
        blocks=tuple(blocks.parse(item) for item in node.get("blocks").items()),
        keys=table,
        key_values=_key_values(keys, tables[table]),
        manifest=None if manifest is None else _manifest(manifest, chains),
    )
    if segment.manifest and segment.manifest.array.shape != (segment.chunk_bases[-1],):
        raise node.get("checksums").wrong(f"an array of shape [{segment.chunk_bases[-1]}]")
    _require(segment_mistake(segment), node.get("blocks"))
    return segment


def _column_names(node: Node) -> tuple[str, ...]:
    try:
        return normalize_names([item.text() for item in node.items()])
    except ValidationError as error:
        raise ParseError(f"{node.where}: {error}") from error


def _chain(node: Node) -> Compressor | None:
    try:
        return chain_from_json(node.list())
    except CodecError as error:
        raise ParseError(f"{node.where}: {error}") from error


def _array(node: Node, chains: list[Compressor | None]) -> ArraySpec:
    dtype = node.get("dtype").text()
    if dtype not in DTYPES:
        raise node.get("dtype").wrong("the name of a number type")
    path = node.get("path").text(_ARRAY_PATH)
    if any(part in (".", "..", "zarr.json") for part in path.split("/")):
        raise node.get("path").wrong("a path inside the segment")
    storage = np.dtype(dtype).newbyteorder("<")
    shape = node.get("shape").integers()
    chunk_rows = node.get("chunk_rows").integer()
    compressor = chains[node.get("codecs").integer(len(chains))]
    array = ArraySpec(path, storage, shape, chunk_rows, compressor)
    mistake = array_mistake(array)
    if mistake:
        raise node.wrong(mistake)
    return array


def _place(numbers: tuple[int, ...], count: int, arrays: tuple[ArraySpec, ...], node: Node) -> Place:
    place = Place(numbers[0], numbers[1])
    if place.array >= len(arrays) or place.first + count > arrays[place.array].shape[0]:
        raise node.wrong(f"{count} rows inside one of {len(arrays)} arrays")
    return place


def _table(node: Node, arrays: tuple[ArraySpec, ...], names: list[tuple[str, ...]]) -> TableSpec:
    array, first, count, named, digest = node.list(5)
    if not all(type(number) is int and number >= 0 for number in (array, first, count, named)):
        raise node.wrong("array, first row, rows, names and digest of a table")
    place = _place((array, first), count, arrays, node)
    if named >= len(names) or type(digest) is not str or _DIGEST.fullmatch(digest) is None:
        raise node.wrong("array, first row, rows, names and digest of a table")
    spec = arrays[array]
    if spec.dtype != LABEL_DTYPE or spec.shape[1:] != (len(names[named]),):
        raise node.wrong(f"a table of {len(names[named])} columns of int32")
    if count and not names[named]:
        raise node.wrong("a table without rows, since it has no columns")
    return TableSpec(place, count, names[named], digest)


def _key_values(node: Node, table: TableSpec) -> tuple[tuple[int, ...], ...] | None:
    values = node.find("values")
    if values is None:
        return None
    rows = values.list(table.rows)
    width = len(table.names)
    return tuple(Node(row, n, values).integers(width, -(2**31), 2**31) for n, row in enumerate(rows))


def _manifest(node: Node, chains: list[Compressor | None]) -> Manifest:
    array = _array(node, chains)
    checksums = node.get("crc32c").integers(array.chunk_count)
    if array.dtype != CHECKSUM_DTYPE:
        raise node.wrong("an array of uint32")
    return Manifest(array, checksums)


class _Blocks:
    """Parser of blocks and their gradients, which refer to arrays and tables."""

    def __init__(self, arrays: tuple[ArraySpec, ...], tables: tuple[TableSpec, ...]) -> None:
        self._arrays = arrays
        self._tables = tables

    def parse(self, node: Node, parent: BlockSpec | None = None, depth: int = 0) -> BlockSpec:
        if depth > MAXIMUM_DEPTH:
            raise ParseError(f"{node.where}: gradients nest deeper than {MAXIMUM_DEPTH}")
        samples = self._number(node, "samples")
        properties = self._number(node, "properties") if parent is None else parent.properties
        components = node.find("components")
        spec = BlockSpec(
            values=self._rows_at(node.get("values"), self._tables[samples].rows),
            samples=samples,
            components=() if components is None else components.integers(),
            properties=properties,
            edges=self._edges(node, samples, parent),
            offsets=self._offsets(node, samples, parent),
        )
        self._check_trailing(node, spec)
        gradients = node.find("gradients")
        if gradients is not None:
            self._add_gradients(gradients, spec, depth)
        mistake = "" if parent is None else gradient_mistake(spec, parent, self._arrays, self._tables)
        if mistake:
            raise node.wrong(mistake)
        return spec

    def _number(self, node: Node, name: str) -> int:
        return node.get(name).integer(len(self._tables))

    def _rows_at(self, node: Node, count: int) -> Place:
        array, first = node.list(2)
        if type(array) is not int or type(first) is not int or array < 0 or first < 0:
            raise node.wrong("a list of 2 integers")
        return _place((array, first), count, self._arrays, node)

    def _edges(self, node: Node, samples: int, parent: BlockSpec | None) -> tuple[int, ...]:
        count = self._tables[samples].rows
        found = node.find("edges")
        edges = (0, count) if found is None else found.integers()
        ordered = edges[:1] == (0,) and edges[-1] == count and sorted(edges) == list(edges)
        if not ordered or len(edges) < 2 or (parent is not None and len(edges) != len(parent.edges)):
            raise node.wrong("a block with edges from 0 to its number of rows, as many as its parent has")
        return edges

    def _offsets(self, node: Node, samples: int, parent: BlockSpec | None) -> Place | None:
        found = node.find("offsets")
        if found is None or parent is None:
            return None
        place = self._rows_at(found, self._tables[parent.samples].rows + 1)
        if self._arrays[place.array].dtype != OFFSET_DTYPE or len(self._arrays[place.array].shape) != 1:
            raise found.wrong("a place in an array of int64")
        return place

    def _check_trailing(self, node: Node, spec: BlockSpec) -> None:
        if spec.components and max(spec.components) >= len(self._tables):
            raise node.get("components").wrong(f"numbers of some of {len(self._tables)} tables")
        counts = tuple([self._tables[number].rows for number in (*spec.components, spec.properties)])
        if any(len(self._tables[number].names) != 1 for number in spec.components):
            raise node.get("components").wrong("numbers of tables of one column")
        if self._arrays[spec.values.array].shape[1:] != counts:
            raise node.get("values").wrong(f"a place in an array whose rows have shape {list(counts)}")

    def _add_gradients(self, node: Node, spec: BlockSpec, depth: int) -> None:
        for item in node.items():
            name = Node(item.list(2)[0], 0, item).text()
            if name in spec.gradients:
                raise item.wrong("a gradient of another name")
            spec.gradients[name] = self.parse(Node(item.value[1], name, item), spec, depth + 1)
