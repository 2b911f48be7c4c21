"""Which array of a map goes where: big arrays have a Zarr array each, small ones of one kind share one."""

from __future__ import annotations

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
    DTYPES,
    LABEL_DTYPE,
    ArraySpec,
    BlockSpec,
    Place,
    SegmentSpec,
    Sizes,
    TableSpec,
    path_in_block,
)
from outgrad.tree import GradientPath, fold_down

KEYS_INLINE = 100_000
"""Keys of a map are written into the commit up to this number, so that opening reads nothing else."""


class Wish(NamedTuple):
    """An array that needs a place: its own path, and the path of the array to share if it is small."""

    path: str
    shared_path: str
    dtype: np.dtype[Any]
    rows: int
    trailing: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return self.rows * prod(self.trailing) * self.dtype.itemsize


def grid_rows(rows: int, row_bytes: int, chunk_bytes: int) -> int:
    """Rows of a storage chunk: about ``chunk_bytes``, and such that the last chunk is nearly full."""
    most = max(1, chunk_bytes // max(1, row_bytes))
    count = max(1, -(-rows // most))
    return max(1, -(-rows // count))


def array_spec(
    path: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    chunk_bytes: int,
    compressor: Compressor | None,
) -> ArraySpec:
    """Describe a Zarr array on a grid of about ``chunk_bytes``."""
    storage = dtype.newbyteorder("<")
    row_bytes = prod(shape[1:]) * storage.itemsize
    array = ArraySpec(path, storage, shape, grid_rows(shape[0], row_bytes, chunk_bytes), compressor)
    mistake = array_mistake(array)
    if mistake:
        raise ValidationError(
            f"save: {path} has rows of {array.row_bytes} bytes, but an archive needs {mistake}; "
            "divide the properties, or write with compressor='none'"
        )
    return array


def place(
    wishes: Sequence[Wish], sizes: Sizes, chunk_bytes: int, compressor: Compressor | None, first: int = 0
) -> tuple[list[ArraySpec], list[Place]]:
    """Give each wish a place; arrays are numbered from ``first``.

    Arrays smaller than ``sizes.share_below`` share one, in the order of the wishes, if another small one has
    the same dtype, trailing shape and shared path: parts of neighbouring blocks are then neighbours on disk.
    """
    groups: dict[Any, list[int]] = {}
    for number, wish in enumerate(wishes):
        alone = (wish.path,) if wish.nbytes >= sizes.share_below else ()
        groups.setdefault((wish.shared_path, wish.dtype, wish.trailing, alone), []).append(number)
    arrays: list[ArraySpec] = []
    places = [Place(0, 0) for _ in wishes]
    counters: dict[str, int] = {}
    for members in groups.values():
        wish = wishes[members[0]]
        path = wish.path
        if len(members) > 1:
            counters[wish.shared_path] = counters.get(wish.shared_path, -1) + 1
            path = f"{wish.shared_path}/{counters[wish.shared_path]}"
        rows = 0
        for number in members:
            places[number] = Place(first + len(arrays), rows)
            rows += wishes[number].rows
        arrays.append(array_spec(path, wish.dtype, (rows, *wish.trailing), chunk_bytes, compressor))
    return arrays, places


@dataclass
class Tables:
    """Label tables by content: each is stored once, at the path of its first use."""

    labels: list[Labels] = field(default_factory=list)
    places: dict[int, Place] = field(default_factory=dict)
    wishes: dict[int, Wish] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, labels: Labels, path: str) -> int:
        """The number of a table; a new one gets a wish for a place."""
        found = self._numbers.setdefault(labels.digest, len(self.labels))
        if found == len(self.labels):
            width = len(labels.names)
            self.labels.append(labels)
            self.wishes[found] = Wish(path, "shared/labels", LABEL_DTYPE, len(labels), (width,))
        return found

    def add_stored(self, labels: Labels, at: Place) -> None:
        """Add a table whose rows were written already."""
        if labels.digest not in self._numbers:
            self._numbers[labels.digest] = len(self.labels)
            self.places[len(self.labels)] = at
            self.labels.append(labels)


@dataclass(frozen=True)
class Layout:
    """Places of all values and label tables of a map: known from its metadata alone, without any read."""

    arrays: tuple[ArraySpec, ...]
    tables: tuple[TableSpec, ...]
    labels: tuple[Labels, ...]
    blocks: tuple[BlockSpec, ...]
    keys: int
    unwritten: tuple[int, ...]
    """Numbers of the tables whose rows are still to be written."""


def block_path(number: int, path: GradientPath) -> str:
    """``blocks/3/gradients/positions/``: metatensor's path, and where arrays are that do not share one."""
    return f"blocks/{number}/{path_in_block(path)}"


def lay_out(
    keys: Labels,
    metadata: Sequence[BlockMetadata],
    outlines: Sequence[Outline],
    sizes: Sizes,
    compressor: Compressor | None,
) -> Layout:
    """Decide where everything goes but offsets, which depend on what is in the tables."""
    wishes = [
        _values_wish(number, path, array)
        for number, outline in enumerate(outlines)
        for path, array in outline.walk()
    ]
    arrays, places = place(wishes, sizes, sizes.storage_chunk, compressor)
    tables = Tables()
    tables.number(keys, "keys")
    return lay_out_tables(tables, metadata, arrays, places, sizes, compressor)


def lay_out_tables(
    tables: Tables,
    metadata: Sequence[BlockMetadata],
    arrays: Sequence[ArraySpec],
    places: Iterable[Place],
    sizes: Sizes,
    compressor: Compressor | None,
) -> Layout:
    """Lay out label tables behind ``arrays``; ``places`` are those of the values, in the order of ``walk()``.

    Table 0, the keys, has an array of its own, for whoever looks with Zarr alone.
    """
    remaining = iter(places)
    blocks = tuple(_block(number, block, tables, remaining) for number, block in enumerate(metadata))
    everything = list(arrays)
    found = dict(tables.places)
    unwritten = sorted(tables.wishes)
    for numbers in (unwritten[:1], unwritten[1:]):
        wishes = [tables.wishes[number] for number in numbers]
        added, at = place(wishes, sizes, sizes.table_chunk, compressor, len(everything))
        everything.extend(added)
        found.update(zip(numbers, at, strict=True))
    specs = tuple(
        TableSpec(found[number], len(labels), tuple(labels.names), labels.digest)
        for number, labels in enumerate(tables.labels)
    )
    mistake = arrays_mistake(everything)
    if mistake:
        raise ValidationError(f"save: {mistake}; save fewer blocks at once")
    return Layout(tuple(everything), specs, tuple(tables.labels), blocks, 0, tuple(unwritten))


def _values_wish(number: int, path: GradientPath, outline: Outline) -> Wish:
    own = f"{block_path(number, path)}values"
    check_dtype(outline.dtype, own)
    return Wish(own, f"shared/{path_in_block(path)}values", outline.dtype, outline.shape[0], outline.trailing)


def check_dtype(dtype: np.dtype[Any], path: str) -> None:
    """Refuse what Zarr v3 cannot hold or what must not be read from files of others, such as objects."""
    if dtype.newbyteorder("<").name not in DTYPES:
        raise ValidationError(
            f"save: {path} has dtype {dtype}, which an archive cannot hold; "
            f"convert it to one of {sorted(DTYPES)}"
        )


def _block(number: int, metadata: BlockMetadata, tables: Tables, places: Iterator[Place]) -> BlockSpec:
    """The places of one block and its gradients; edges and offsets are added by :func:`finish_block`."""
    found: dict[GradientPath, BlockSpec] = {}
    for path, own in metadata.walk():  # in this order tables get their numbers
        prefix = block_path(number, path)
        if len(path) > MAXIMUM_DEPTH:
            raise ValidationError(
                f"save: {prefix} are gradients of gradients of …, more than the {MAXIMUM_DEPTH} levels of an "
                "archive; remove_gradients leaves some out"
            )
        found[path] = BlockSpec(
            values=next(places),
            samples=tables.number(own.samples, f"{prefix}samples"),
            components=tuple(
                tables.number(component, f"{prefix}components/{axis}")
                for axis, component in enumerate(own.components)
            ),
            properties=tables.number(own.properties, f"{prefix}properties"),
            edges=(0, len(own.samples)),
        )
        if path:
            found[path[:-1]].gradients[path[-1]] = found[path]
    return found[()]


def finish_block(
    block: BlockSpec, edges: dict[GradientPath, Edges], offsets: dict[GradientPath, Place | None]
) -> BlockSpec:
    """Add chunk edges and the places of offsets."""

    def finished(path: GradientPath, _: object, own: BlockSpec, gradients: dict[str, BlockSpec]) -> BlockSpec:
        own_edges = tuple(edges[path].tolist())
        return replace(own, edges=own_edges, offsets=offsets.get(path), gradients=gradients)

    return fold_down(finished, block)


def key_values(keys: Labels, is_inline: bool) -> tuple[tuple[int, ...], ...] | None:
    """The keys as they stand in a commit; None where they are only read from their array."""
    if not is_inline or len(keys) > KEYS_INLINE:
        return None
    return tuple(tuple(row) for row in keys.values.tolist())


class Users(NamedTuple):
    """Rows [start, stop) of a Zarr array, and the path under which metatensor's format has them."""

    start: int
    stop: int
    path: str


def users(segment: SegmentSpec) -> list[list[Users]]:
    """For each array of a segment, who has rows in it: to say what a damaged chunk is needed for."""
    found: list[list[Users]] = [[] for _ in segment.arrays]

    def add(at: Place, rows: int, path: str) -> None:
        found[at.array].append(Users(at.first, at.first + rows, path))

    def add_table(number: int, path: str) -> None:
        table = segment.tables[number]
        add(table.place, table.rows, path)

    add_table(segment.keys, "keys")
    for number, block in enumerate(segment.blocks):
        for path, spec in block.walk():
            prefix = block_path(number, path)
            add(spec.values, segment.tables[spec.samples].rows, f"{prefix}values")
            add_table(spec.samples, f"{prefix}samples")
            for axis, component in enumerate(spec.components):
                add_table(component, f"{prefix}components/{axis}")
            if not path:
                add_table(spec.properties, f"{prefix}properties")
            if spec.offsets is not None:
                parent = segment.tables[block.at(path[:-1]).samples]
                add(spec.offsets, parent.rows + 1, f"{prefix}offsets")
    return found
