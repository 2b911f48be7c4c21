"""Which array of a map goes where: big arrays have a Zarr array each, small ones of one kind share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.zarr.codecs import Compressor
from outgrad.storage.zarr.consistent import MAXIMUM_DEPTH, array_mistake, arrays_mistake
from outgrad.storage.zarr.format import (
    ARRAY_DTYPES,
    LABEL_DTYPE,
    RECORD_DTYPE,
    ArraySpec,
    BlockSpec,
    ChunkOptions,
    ChunkSizes,
    FirstRow,
    TableSpec,
    fitted,
    path_in_block,
)
from outgrad.storage.zarr.row_names import block_path
from outgrad.tree import GradientPath, fold_down

KEYS_INLINE = 100_000
"""Keys of a map are written into the commit up to this number, so that opening reads nothing else."""


@dataclass(frozen=True)
class Contents:
    """What is saved, apart from the numbers in its blocks.

    Parameters
    ----------
    keys : Labels
        Keys of the map; ``Labels.single()`` for a block; the labels themselves for kind "labels".
    metadata : sequence of BlockMetadata
        Labels of each block.
    outlines : sequence of Outline
        Shape and dtype of each block; its edges do not matter here.
    """

    keys: Labels
    metadata: Sequence[BlockMetadata]
    outlines: Sequence[Outline]


class ChunkGrid(NamedTuple):
    """About how many bytes of an array are an object of the store, and are decoded at once."""

    shard: int
    chunk: int


class UnplacedArray(NamedTuple):
    """An array without a Zarr array yet: a path of its own, and the path to share if it is small."""

    path: str
    shared_path: str
    dtype: np.dtype[Any]
    rows: int
    trailing: tuple[int, ...]
    grid: ChunkGrid

    @property
    def nbytes(self) -> int:
        return self.rows * prod(self.trailing) * self.dtype.itemsize


def array_spec(
    path: str, dtype: np.dtype[Any], shape: tuple[int, ...], grid: ChunkGrid, compressor: Compressor | None
) -> ArraySpec:
    """Describe a Zarr array on a grid."""
    storage = dtype.newbyteorder("<")
    row_bytes = max(1, prod(shape[1:]) * storage.itemsize)
    chunk_rows = max(1, min(grid.chunk, grid.shard) // row_bytes)
    per_shard = max(1, grid.shard // (chunk_rows * row_bytes))
    array = ArraySpec(path, storage, shape, chunk_rows, compressor, per_shard)
    if shape[0] <= array.shard_rows:
        array = fitted(array, shape)
    mistake = array_mistake(array)
    if mistake:
        raise ValidationError(
            f"save: {path} has rows of {array.row_bytes} bytes, but an archive needs {mistake}; "
            "divide the properties, or write with compressor='none'"
        )
    return array


def manifest_spec(chunks: int, sizes: ChunkSizes) -> ArraySpec:
    """Describe the array that lists all chunks of a segment."""
    return array_spec(
        "chunks", RECORD_DTYPE, (chunks, 2), ChunkGrid(sizes.table_shard, sizes.table_shard), None
    )


def values_grid(nbytes: int, block_bytes: int, sizes: ChunkSizes) -> ChunkGrid:
    """The grid of an array of ``nbytes`` in a block of ``block_bytes``, gradients included.

    A shard of each array of a block has the rows of about as many samples, ``sizes.span`` bytes in all: a
    task writes whole shards of all of them, and shares few with its neighbours.
    """
    share = int(sizes.span * nbytes / max(1, block_bytes))
    shard = min(sizes.shard, max(share, sizes.table_chunk))
    return ChunkGrid(shard, min(sizes.chunk, max(shard // 16, sizes.table_chunk)))


def table_grid(sizes: ChunkSizes) -> ChunkGrid:
    """The grid of label tables and offsets."""
    return ChunkGrid(sizes.table_shard, sizes.table_chunk)


def place_arrays(
    unplaced: Sequence[UnplacedArray], options: ChunkOptions, first_number: int = 0
) -> tuple[list[ArraySpec], list[FirstRow]]:
    """Give each array its rows in a Zarr array; these are numbered from ``first_number``.

    Arrays smaller than ``sizes.share_below`` share one, in their order, if there are ``sizes.share_from`` of
    the same dtype, trailing shape and shared path: parts of neighbouring blocks are then neighbours on disk.
    """
    kinds: dict[Any, list[int]] = {}
    for number, array in enumerate(unplaced):
        if array.nbytes < options.sizes.share_below:
            kinds.setdefault((array.shared_path, array.dtype, array.trailing), []).append(number)
    shared = {members[0]: members for members in kinds.values() if len(members) >= options.sizes.share_from}
    taken = {number for members in shared.values() for number in members}
    specs: list[ArraySpec] = []
    first_rows = [FirstRow(0, 0) for _ in unplaced]
    shared_counts: Counter[str] = Counter()
    for number, array in enumerate(unplaced):
        if number in taken and number not in shared:
            continue
        path, members, grid = array.path, shared.get(number, [number]), array.grid
        if number in shared:
            path = f"{array.shared_path}/{shared_counts[array.shared_path]}"
            shared_counts[array.shared_path] += 1
            grid = max(unplaced[member].grid for member in members)
        rows = 0
        for member in members:
            first_rows[member] = FirstRow(first_number + len(specs), rows)
            rows += unplaced[member].rows
        specs.append(array_spec(path, array.dtype, (rows, *array.trailing), grid, options.compressor))
    return specs, first_rows


@dataclass
class Tables:
    """Label tables by content: each is stored once, at the path of its first use."""

    grid: ChunkGrid
    labels: list[Labels] = field(default_factory=list)
    written: dict[int, FirstRow] = field(default_factory=dict)
    unwritten: dict[int, UnplacedArray] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, labels: Labels, path: str) -> int:
        """The number of a table; a new one is to be written."""
        number = self._numbers.setdefault(labels.digest, len(self.labels))
        if number == len(self.labels):
            shape = len(labels), (len(labels.names),)
            self.labels.append(labels)
            self.unwritten[number] = UnplacedArray(path, "shared/labels", LABEL_DTYPE, *shape, self.grid)
        return number

    def add_written(self, labels: Labels, first: FirstRow) -> None:
        """Add a table whose rows were written already."""
        if labels.digest not in self._numbers:
            self._numbers[labels.digest] = len(self.labels)
            self.written[len(self.labels)] = first
            self.labels.append(labels)


@dataclass(frozen=True)
class Layout:
    """Where all values and label tables of a map go: known from its metadata alone, without any read."""

    arrays: tuple[ArraySpec, ...]
    tables: tuple[TableSpec, ...]
    labels: tuple[Labels, ...]
    blocks: tuple[BlockSpec, ...]
    keys: int
    unwritten: tuple[int, ...]
    """Numbers of the tables whose rows are still to be written."""


def lay_out(contents: Contents, options: ChunkOptions) -> Layout:
    """Decide where everything goes but offsets, which depend on what is in the tables."""
    unplaced = []
    for number, block in enumerate(contents.outlines):
        for path, outline in block.walk():
            values = f"{block_path(number, path)}values"
            check_dtype(outline.dtype, values)
            shared = f"shared/{path_in_block(path)}values"
            rows, trailing = outline.shape[0], outline.trailing
            grid = values_grid(rows * outline.row_bytes, block.nbytes, options.sizes)
            unplaced.append(UnplacedArray(values, shared, outline.dtype, rows, trailing, grid))
    arrays, first_rows = place_arrays(unplaced, options)
    tables = Tables(table_grid(options.sizes))
    tables.number(contents.keys, "keys")
    return lay_out_tables(tables, contents.metadata, arrays, first_rows, options)


def lay_out_tables(
    tables: Tables,
    metadata: Sequence[BlockMetadata],
    arrays: Sequence[ArraySpec],
    first_rows: Iterable[FirstRow],
    options: ChunkOptions,
) -> Layout:
    """Lay out label tables after ``arrays``; ``first_rows`` are those of values, in the order of ``walk()``.

    Table 0, the keys, has an array of its own, for those who read with Zarr alone.
    """
    remaining = iter(first_rows)
    blocks = tuple(_lay_out_block(number, block, tables, remaining) for number, block in enumerate(metadata))
    everything = list(arrays)
    firsts = dict(tables.written)
    unwritten = sorted(tables.unwritten)
    for numbers in (unwritten[:1], unwritten[1:]):
        unplaced = [tables.unwritten[number] for number in numbers]
        added, table_firsts = place_arrays(unplaced, options, len(everything))
        everything.extend(added)
        firsts.update(zip(numbers, table_firsts, strict=True))
    specs = tuple(
        TableSpec(firsts[number], len(labels), tuple(labels.names), labels.digest)
        for number, labels in enumerate(tables.labels)
    )
    mistake = arrays_mistake(everything)
    if mistake:
        raise ValidationError(f"save: {mistake}; save fewer blocks at once")
    return Layout(tuple(everything), specs, tuple(tables.labels), blocks, 0, tuple(unwritten))


def check_dtype(dtype: np.dtype[Any], path: str) -> None:
    """Refuse what Zarr v3 cannot hold or what must not be read from untrusted files, such as objects."""
    if dtype.newbyteorder("<").name not in ARRAY_DTYPES:
        raise ValidationError(
            f"save: {path} has dtype {dtype}, which an archive cannot hold; "
            f"convert it to one of {sorted(ARRAY_DTYPES)}"
        )


def _lay_out_block(
    number: int, metadata: BlockMetadata, tables: Tables, first_rows: Iterator[FirstRow]
) -> BlockSpec:
    """One block and its gradients; edges and offsets are added by :func:`finish_block`."""
    specs: dict[GradientPath, BlockSpec] = {}
    for path, block in metadata.walk():  # tables get their numbers in this order
        prefix = block_path(number, path)
        if len(path) > MAXIMUM_DEPTH:
            raise ValidationError(
                f"save: {prefix} is nested deeper than the {MAXIMUM_DEPTH} levels of gradients that an "
                "archive can hold; leave some out with remove_gradients"
            )
        specs[path] = BlockSpec(
            values=next(first_rows),
            samples=tables.number(block.samples, f"{prefix}samples"),
            components=tuple(
                tables.number(component, f"{prefix}components/{axis}")
                for axis, component in enumerate(block.components)
            ),
            properties=tables.number(block.properties, f"{prefix}properties"),
            edges=(0, len(block.samples)),
        )
        if path:
            specs[path[:-1]].gradients[path[-1]] = specs[path]
    return specs[()]


def finish_block(
    block: BlockSpec, edges: dict[GradientPath, Edges], offsets: dict[GradientPath, FirstRow | None]
) -> BlockSpec:
    """Add chunk edges, and where the offsets are."""

    def finished(
        path: GradientPath, _: object, spec: BlockSpec, gradients: dict[str, BlockSpec]
    ) -> BlockSpec:
        chunk_edges = tuple(edges[path].tolist())
        return replace(spec, edges=chunk_edges, offsets=offsets.get(path), gradients=gradients)

    return fold_down(finished, block)


def key_values(keys: Labels, is_inline: bool) -> tuple[tuple[int, ...], ...] | None:
    """The keys as a commit has them; None where they are only read from their array."""
    if not is_inline or len(keys) > KEYS_INLINE:
        return None
    return tuple(tuple(row) for row in keys.values.tolist())
