"""Reading all chunks and tables of segments, in units that run at once: here on threads, or on workers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from outgrad.storage.zarr.format import MIB, ArraySpec
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.reader import ZarrReader
from outgrad.storage.zarr.storage_chunks import ChunkError, Records, SegmentStore
from outgrad.storage.zarr.verify_tables import OffsetsCheck, has_right_offsets, table_mistake

UNIT_BYTES = 32 * MIB
"""What is read before the next unit begins, decoded: a task of Dask should take longer than it costs."""
UNIT_SHARDS = 256
MOST_DAMAGES = 1000
"""Of an array, that are listed: a commit may name millions of chunks that never existed."""
IN_SHARD = "in their shard, are not found by other readers of Zarr: it"


class BadChunks(NamedTuple):
    """Chunks [start, stop) of a shard that cannot be used, for one reason."""

    start: int
    stop: int
    reason: str


def bad_chunks(
    chunks: SegmentStore, array: ArraySpec, records: Records | None, shard: int
) -> list[BadChunks]:
    """What cannot be used of a shard: neighbours are one if only numbers in their reasons differ."""
    found: list[BadChunks] = []
    for number, content in chunks.examine(array, records, shard):
        if not isinstance(content, ChunkError):
            continue
        last = found[-1] if found else None
        if last and last.stop == number and _kind(last.reason) == _kind(content.reason):
            found[-1] = last._replace(stop=number + 1)
        else:
            found.append(BadChunks(number, number + 1, content.reason))
    mistake = "" if found else chunks.index_mistake(array, records, shard)
    inside = array.chunks_in(shard)
    return [BadChunks(inside.start, inside.stop, f"{IN_SHARD} {mistake}")] if mistake else found


def _kind(reason: str) -> str:
    return re.sub(r"\d+", "", reason)


class ShardRange(NamedTuple):
    """Shards [first, last) of an array of a segment."""

    array: int
    first: int
    last: int


class BadShard(NamedTuple):
    """A shard with chunks that cannot be used."""

    array: int
    shard: int
    bad: list[BadChunks]


@dataclass(frozen=True)
class ShardUnit:
    """Shards of a segment to be read; light, as it travels to workers."""

    reader: ZarrReader
    segment: int
    has_records: bool
    """Whether the list of all chunks can be read; without it, each chunk still has its own checksum."""
    ranges: Sequence[ShardRange]
    nbytes: int


def scrub(unit: ShardUnit) -> list[BadShard]:
    """Read shards; return those that are damaged."""
    segment = unit.reader.segment(unit.segment)
    found: list[BadShard] = []
    for number, first, last in unit.ranges:
        array = segment.spec.arrays[number]
        damages = 0
        for shard in range(first, last):
            bad = bad_chunks(
                segment.chunks, array, segment.records_of(number) if unit.has_records else None, shard
            )
            if bad:
                found.append(BadShard(number, shard, bad))
                damages += len(bad)
            if damages >= MOST_DAMAGES:
                break
    return found


def shard_units(
    reader: ZarrReader, number: int, segment: OpenSegment, has_records: bool, given_up: set[int]
) -> Iterator[ShardUnit]:
    """Divide the shards of a segment; arrays in ``given_up``, which may grow meanwhile, are left out."""
    ranges: list[ShardRange] = []
    nbytes = shards = 0
    for index, array in enumerate(segment.spec.arrays):
        shard_bytes = array.chunk_nbytes * array.chunks_per_shard
        first = 0
        is_here = array.pieces is None and index not in given_up
        while first < array.shard_count and is_here:
            fitting = max(1, min((UNIT_BYTES - nbytes) // shard_bytes, UNIT_SHARDS - shards))
            last = min(array.shard_count, first + fitting)
            ranges.append(ShardRange(index, first, last))
            shards += last - first
            chunk_count = array.chunks_in(last - 1).stop - array.chunks_in(first).start
            nbytes += chunk_count * array.chunk_nbytes
            first = last
            if nbytes >= UNIT_BYTES or shards >= UNIT_SHARDS:
                yield ShardUnit(reader, number, has_records, tuple(ranges), nbytes)
                ranges, nbytes, shards = [], 0, 0
    if ranges:
        yield ShardUnit(reader, number, has_records, tuple(ranges), nbytes)


@dataclass(frozen=True)
class OutsideUnit:
    """An array of a segment whose rows are in other files, to be read."""

    reader: ZarrReader
    segment: int
    array: int


def outside_problems(unit: OutsideUnit) -> list[str]:
    """What is wrong with the files of an array."""
    segment = unit.reader.segment(unit.segment)
    return list(segment.outside_problems(segment.spec.arrays[unit.array]))


@dataclass(frozen=True)
class TableUnit:
    """Tables and offsets of a segment, whose chunks are whole, to be compared with what the commit says."""

    reader: ZarrReader
    segment: int
    tables: Sequence[int] = ()
    offsets: Sequence[OffsetsCheck] = ()


def compare_tables(unit: TableUnit) -> list[tuple[int, str]]:
    """Number of each table that is wrong, and why."""
    segment = unit.reader.segment(unit.segment)
    found = [(number, table_mistake(segment, number)) for number in unit.tables]
    wrong = [(number, f"is not what the commit says: {mistake}") for number, mistake in found if mistake]
    return wrong + [
        (each.samples, "does not fit its offsets")
        for each in unit.offsets
        if not has_right_offsets(segment, each)
    ]


def table_units(
    reader: ZarrReader, number: int, segment: OpenSegment, tables: Sequence[int]
) -> Iterator[TableUnit]:
    """Divide tables, so that none of the units is very small."""
    chosen: list[int] = []
    nbytes = 0
    for table in tables:
        spec = segment.spec.tables[table]
        chosen.append(table)
        nbytes += 4 * spec.rows * len(spec.names)
        if nbytes >= UNIT_BYTES or len(chosen) >= UNIT_SHARDS:
            yield TableUnit(reader, number, tuple(chosen))
            chosen, nbytes = [], 0
    if chosen:
        yield TableUnit(reader, number, tuple(chosen))
