"""The archive format: names of files, sizes, and what a commit holds. docs/format.md specifies it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np

from outgrad.storage.zarr.codecs import Compressor, chain_to_json
from outgrad.tree import Tree

FORMAT = "outgrad-archive"
FORMAT_VERSION = 1

ArchiveKind = Literal["map", "block", "labels"]
ARCHIVE_KINDS: tuple[ArchiveKind, ...] = ("map", "block", "labels")

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
CHECKSUM_DTYPE = np.dtype("<u4")

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_RESERVED = re.compile(r"\.$|\.\.$|__|zarr\.json$")
"""What a path component may not be, for a file system or for Zarr; its first character is encoded."""
_COMMIT_NAME = re.compile(r"([0-9]{10})\.json")


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """Sizes in bytes, before compression, that a writer aims at. Readers accept any."""

    storage_chunk: int = 4 * MIB
    """Values and gradients."""
    table_chunk: int = MIB
    """Label tables, offsets and checksums."""
    share_below: int = MIB
    """Smaller arrays of one kind share a Zarr array: an access costs the same whatever the size."""
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


@dataclass(frozen=True)
class ArraySpec:
    """One Zarr array of a segment: all that is needed to read it."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk_rows: int
    compressor: Compressor | None

    @cached_property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a storage chunk: only rows are cut. Zarr asks for at least 1 along each axis."""
        return (self.chunk_rows, *(max(1, size) for size in self.shape[1:]))

    @cached_property
    def chunk_count(self) -> int:
        return -(-self.shape[0] // self.chunk_rows) if all(self.shape) else 0

    @cached_property
    def row_bytes(self) -> int:
        return prod(self.shape[1:]) * self.dtype.itemsize

    @cached_property
    def chunk_nbytes(self) -> int:
        """Bytes of a decoded storage chunk."""
        return prod(self.chunk_shape) * self.dtype.itemsize

    def chunk_key(self, number: int) -> str:
        """Path of a storage chunk below the segment.

        With dots: all chunks of an array lie in one folder, where slashes would make several folders a chunk.
        """
        return f"{self.path}/c.{number}{'.0' * (len(self.shape) - 1)}"

    def chunk_range(self, number: int) -> tuple[int, int]:
        """The rows of a storage chunk."""
        start = number * self.chunk_rows
        return start, min(start + self.chunk_rows, self.shape[0])

    def chunks_of(self, start: int, stop: int) -> range:
        """Numbers of the storage chunks that hold rows [start, stop)."""
        if start >= stop or not self.chunk_count:
            return range(0)
        return range(start // self.chunk_rows, -(-stop // self.chunk_rows))

    def chain(self) -> list[dict[str, Any]]:
        """The codecs as in ``zarr.json``."""
        return chain_to_json(self.compressor, self.dtype.itemsize)


class TableSpec(NamedTuple):
    """A table of labels: where its rows are, how many, the names of its columns, and its digest."""

    first: FirstRow
    rows: int
    names: tuple[str, ...]
    digest: str


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
    """The array that holds the CRC32C of every storage chunk, and the CRC32C of its own chunks."""

    array: ArraySpec
    checksums: tuple[int, ...]


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

    @property
    def prefix(self) -> str:
        return f"{SEGMENTS}/{self.name}/"

    @cached_property
    def chunk_bases(self) -> tuple[int, ...]:
        """Position in the manifest of each array's first chunk; last the number of all chunks."""
        return tuple(accumulate((array.chunk_count for array in self.arrays), initial=0))


@dataclass(frozen=True)
class Commit:
    """One version of an archive."""

    version: int
    kind: ArchiveKind
    writer: str
    created: str
    software: str
    info: dict[str, str]
    provenance: dict[str, Any]
    segments: tuple[SegmentSpec, ...]
