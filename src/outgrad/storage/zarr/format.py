"""The archive format: names of files, sizes, and what a commit holds. docs/format.md specifies it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from outgrad.storage.zarr.codecs import Compressor, chain_to_json
from outgrad.tree import Tree

FORMAT = "outgrad-archive"
FORMAT_VERSION = 2

ArchiveKind = Literal["map", "block", "labels"]
ARCHIVE_KINDS: tuple[ArchiveKind, ...] = ("map", "block", "labels")

FillNumber = complex | float

Action = Literal["save", "append", "compact", "restore", "index"]
ACTIONS: tuple[Action, ...] = ("save", "append", "compact", "restore", "index")
"""How a version came about."""

COMMITS = "commits"
SEGMENTS = "segments"
PLAN = "plan.json"
"""What a segment will hold, for the tasks that write it; removed once a commit names the segment."""

MIB = 2**20

COMPRESSORS: dict[str, Compressor | None] = {
    "none": None,
    "lz4": Compressor("blosc", level=5, cname="lz4"),
    "zstd": Compressor("zstd", level=-1),
}
DEFAULT_COMPRESSOR = "lz4"


def find_compressor(name: str) -> Compressor | None:
    """The compressor of a name that users give."""
    if name not in COMPRESSORS:
        raise ValueError(f"save: compressor {name!r} is unknown; use one of {', '.join(COMPRESSORS)}")
    return COMPRESSORS[name]


ARRAY_DTYPES = frozenset(
    np.dtype(kind).name
    for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
)
LABEL_DTYPE = np.dtype("<i4")
OFFSET_DTYPE = np.dtype("<i8")
RECORD_DTYPE = np.dtype("<u4")

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_RESERVED = re.compile(r"\.$|\.\.$|__|zarr\.json$")
"""What a path component may not be, for a file system or for Zarr; its first character is encoded."""
_COMMIT_NAME = re.compile(r"([0-9]{10})\.json")


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """Sizes in bytes, before compression, that a writer aims at. Readers accept any.

    A shard is one object of the store. What is decoded at once is smaller: a reader of some rows decodes few
    others, and archives still have few objects.
    """

    shard: int = 4 * MIB
    """Values and gradients."""
    chunk: int = MIB // 4
    """Values and gradients that are decoded at once."""
    span: int = 16 * MIB
    """Bytes of a block, gradients included, of which a shard of any of its arrays has the rows. Values are
    much smaller than gradients: without this, a shard of values would be written by many tasks."""
    table_shard: int = MIB
    """Label tables and offsets; also what is decoded at once of the list of all chunks."""
    table_chunk: int = MIB // 16
    """Labels and offsets that are decoded at once."""
    share_below: int = MIB
    """Smaller arrays may share a Zarr array: an access costs the same whatever the size."""
    share_from: int = 100
    """How many such arrays of one kind there have to be before they do: a person finds what stands alone."""
    fine_chunk: int = 8 * MIB
    """Distance of the chunk edges in a commit: values and gradients together."""
    whole_system: int = 64 * MIB
    """Systems up to this size are never cut."""


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How arrays are cut into storage chunks, and how these are compressed."""

    sizes: ChunkSizes = ChunkSizes()
    compressor: Compressor | None = COMPRESSORS[DEFAULT_COMPRESSOR]


def commit_name(version: int) -> str:
    """File name of an archive version: ``0000000001.json``."""
    return f"{version:010d}.json"


def commit_version(name: str) -> int | None:
    """The archive version of a file name in ``commits/``; None for other files."""
    match = _COMMIT_NAME.fullmatch(name)
    return int(match[1]) if match else None


def encode_name(parameter: str) -> str:
    """Make a gradient parameter, which may be any text, one component of a path.

    Examples
    --------
    >>> encode_name("positions"), encode_name("a/b"), encode_name(".."), encode_name("")
    ('positions', 'a%2Fb', '%2E.', '%')
    """
    if _PLAIN.fullmatch(parameter) and not _RESERVED.match(parameter):
        return parameter
    is_reserved = _RESERVED.match(parameter) is not None
    encoded = [
        chr(byte) if _PLAIN.fullmatch(chr(byte)) and (index or not is_reserved) else f"%{byte:02X}"
        for index, byte in enumerate(parameter.encode("utf-8", "surrogatepass"))
    ]
    return "".join(encoded) or "%"


def path_in_block(parameters: tuple[str, ...]) -> str:
    """``""`` for a block itself, ``gradients/positions/`` for a gradient, and so on downwards."""
    return "".join(f"gradients/{encode_name(parameter)}/" for parameter in parameters)


class FirstRow(NamedTuple):
    """Where consecutive rows of a segment start: the number of a Zarr array, and the row in it."""

    array: int
    row: int


class PieceRange(NamedTuple):
    """Which rows of a segment's table of pieces belong to an array."""

    first: int
    length: int


class FileTables(NamedTuple):
    """Numbers of the arrays that say which files the rows of other arrays are in.

    ``root`` is the folder to which paths are relative, and in which all files are; itself relative to the
    archive, or absolute. ``paths`` (bytes,) uint8 has the paths in UTF-8, each ended by a zero byte;
    ``files`` (F, 2) int64 the size and the time of the last change in ns; ``pieces`` (N, 6) int64 for each
    piece its first row in its array, the file, where its bytes begin, where the member of the ZIP file begins
    that they end, how many bytes that member has, and its CRC-32.
    """

    root: str
    paths: int
    files: int
    pieces: int


@dataclass(frozen=True)
class ArraySpec:
    """One Zarr array of a segment: all that is needed to read it.

    Only rows are cut. ``chunk_rows`` are decoded and checked at once; a *shard* of some such chunks is an
    object of the store.
    """

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk_rows: int
    compressor: Compressor | None
    chunks_per_shard: int = 1
    pieces: PieceRange | None = None
    """Of an array whose rows are in other files: then there are no chunks."""

    @cached_property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a chunk. Zarr asks for at least 1 along each axis."""
        return (self.chunk_rows, *(max(1, size) for size in self.shape[1:]))

    @cached_property
    def shard_shape(self) -> tuple[int, ...]:
        return (self.shard_rows, *self.chunk_shape[1:])

    @property
    def shard_rows(self) -> int:
        return self.chunk_rows * self.chunks_per_shard

    @cached_property
    def chunk_count(self) -> int:
        return -(-self.shape[0] // self.chunk_rows) if all(self.shape) and self.pieces is None else 0

    @cached_property
    def shard_count(self) -> int:
        return -(-self.chunk_count // self.chunks_per_shard)

    @cached_property
    def row_bytes(self) -> int:
        return prod(self.shape[1:]) * self.dtype.itemsize

    @cached_property
    def chunk_nbytes(self) -> int:
        """Bytes of a decoded chunk."""
        return prod(self.chunk_shape) * self.dtype.itemsize

    def shard_key(self, number: int) -> str:
        """Path of a shard below the segment.

        With dots: all shards of an array lie in one folder, where slashes would make several folders a shard.
        """
        return f"{self.path}/c.{number}{'.0' * (len(self.shape) - 1)}"

    def chunk_range(self, number: int) -> tuple[int, int]:
        """The rows of a chunk."""
        start = number * self.chunk_rows
        return start, min(start + self.chunk_rows, self.shape[0])

    def shard_range(self, number: int) -> tuple[int, int]:
        """The rows of a shard."""
        start = number * self.shard_rows
        return start, min(start + self.shard_rows, self.shape[0])

    def chunks_of(self, start: int, stop: int) -> range:
        """Numbers of the chunks that hold rows [start, stop)."""
        return self._numbers(self.chunk_rows, start, stop)

    def shards_of(self, start: int, stop: int) -> range:
        """Numbers of the shards that hold rows [start, stop)."""
        return self._numbers(self.shard_rows, start, stop)

    def _numbers(self, rows: int, start: int, stop: int) -> range:
        if start >= stop or not self.chunk_count:
            return range(0)
        return range(start // rows, -(-stop // rows))

    def chunks_in(self, shard: int) -> range:
        """Numbers of the chunks in a shard."""
        first = shard * self.chunks_per_shard
        return range(first, min(first + self.chunks_per_shard, self.chunk_count))

    def chain(self) -> list[dict[str, Any]]:
        """The codecs of a chunk as in ``zarr.json``."""
        return chain_to_json(self.compressor, self.dtype.itemsize)


def fitted(array: ArraySpec, shape: tuple[int, ...]) -> ArraySpec:
    """The same array with another number of rows, no larger than a shard: as few chunks as hold them."""
    chunk_rows = max(1, min(array.chunk_rows, shape[0]))
    per_shard = max(1, min(array.chunks_per_shard, -(-shape[0] // chunk_rows)))
    return replace(array, shape=shape, chunk_rows=chunk_rows, chunks_per_shard=per_shard)


class TableSpec(NamedTuple):
    """A table of labels: where its rows are, how many, the names of its columns, and its digest.

    Samples of blocks also have ``bounds``, the smallest and the largest number in each column, and if they
    have rows in several chunks ``ranges``: where these two numbers are for each chunk, in the column that
    identifies systems.
    """

    first: FirstRow
    rows: int
    names: tuple[str, ...]
    digest: str
    bounds: tuple[tuple[int, int], ...] | None = None
    ranges: FirstRow | None = None


@dataclass(frozen=True, slots=True)
class BlockSpec(Tree):
    """A block or a gradient: where its arrays are, the numbers of its tables, and its chunk edges.

    ``edges`` are rows at which a reader may cut: on whole samples, the same number in values and gradients.
    """

    values: FirstRow
    samples: int
    components: tuple[int, ...]
    properties: int
    edges: tuple[int, ...]
    offsets: FirstRow | None = None
    gradients: dict[str, BlockSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The array that lists all chunks with their CRC32C and size, and the CRC32C of its own chunks."""

    array: ArraySpec
    checksums: tuple[int, ...]

    def records(self, first: int, last: int) -> npt.NDArray[np.uint32]:
        """CRC32C of its own chunks [first, last), each of which is an object; sizes are not known."""
        return np.array([(checksum, 0) for checksum in self.checksums[first:last]], RECORD_DTYPE)


@dataclass(frozen=True)
class SegmentSpec:
    """All data of one map. ``manifest`` is None while they are being written."""

    name: str
    arrays: tuple[ArraySpec, ...]
    tables: tuple[TableSpec, ...]
    blocks: tuple[BlockSpec, ...]
    keys: int
    key_values: tuple[tuple[int, ...], ...] | None
    manifest: Manifest | None = None
    files: FileTables | None = None
    """Of a segment whose values are in other files."""
    archive: str | None = None
    """Of a segment that is in another archive: where that is, relative to this one or absolute."""

    @property
    def is_foreign(self) -> bool:
        """Whether anything of it is outside of the archive."""
        return self.files is not None or self.archive is not None

    @property
    def prefix(self) -> str:
        return f"{SEGMENTS}/{self.name}/"

    @property
    def is_version_1(self) -> bool:
        """Whether it was written as format version 1 has it."""
        return self.manifest is not None and len(self.manifest.array.shape) == 1

    @property
    def added(self) -> Added:
        """What it holds."""
        rows = [self.tables[block.samples].rows for block in self.blocks]
        nbytes = sum(
            self.tables[each.samples].rows * self.arrays[each.values.array].row_bytes
            for block in self.blocks
            for _, each in block.walk()
        )
        return Added(sum(rows), nbytes)

    @cached_property
    def schema(self) -> tuple[Any, ...]:
        """Keys, and names, dtypes, components and properties of all blocks: equal ones fit together."""
        tables = self.tables

        def labels(block: BlockSpec) -> list[Any]:
            return [
                (
                    path,
                    self.arrays[spec.values.array].dtype,
                    tables[spec.samples].names,
                    [(tables[n].names, tables[n].digest) for n in (*spec.components, spec.properties)],
                )
                for path, spec in block.walk()
            ]

        keys = tables[self.keys]
        return keys.names, keys.digest, self.key_values, [labels(block) for block in self.blocks]

    @cached_property
    def chunk_bases(self) -> tuple[int, ...]:
        """Position in the manifest of each array's first chunk; last the number of all chunks."""
        return tuple(accumulate((array.chunk_count for array in self.arrays), initial=0))


class Added(NamedTuple):
    """What a version has that the one before had not."""

    samples: int
    nbytes: int
    """Of values and gradients, before compression."""


class SegmentList(NamedTuple):
    """A file that describes segments of earlier commits, so that no commit repeats them all."""

    name: str
    sha256: str
    segments: int


@dataclass(frozen=True)
class Commit:
    """One version of an archive: ``segments`` are all of them, of which the first are in ``lists``."""

    version: int
    kind: ArchiveKind
    writer: str
    created: str
    software: str
    info: dict[str, str]
    provenance: dict[str, Any]
    segments: tuple[SegmentSpec, ...]
    action: Action = "save"
    who: str = ""
    added: Added | None = None
    format_version: int = FORMAT_VERSION
    lists: tuple[SegmentList, ...] = ()
    fill: FillNumber | None = None
    """What takes the place of properties that a segment does not have. Without it all segments of a block
    have the same ones."""
    since: int = 0
    """The version that last replaced what was there before."""
