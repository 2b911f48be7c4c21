"""Check the chunks and tables of segments against what commits say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from outgrad.graph.mapping import map_in_order
from outgrad.storage.zarr.damage import Damage
from outgrad.storage.zarr.format import ArraySpec, SegmentSpec
from outgrad.storage.zarr.mend import Mender, tried
from outgrad.storage.zarr.opened import OpenArchive
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.reader import ZarrReader, reader_of
from outgrad.storage.zarr.scrub import (
    IN_SHARD,
    MOST_DAMAGES,
    BadShard,
    OutsideUnit,
    ShardUnit,
    TableUnit,
    bad_chunks,
    compare_tables,
    outside_problems,
    scrub,
    shard_units,
    table_units,
)
from outgrad.storage.zarr.storage_chunks import Records
from outgrad.storage.zarr.touched import TouchedRows
from outgrad.storage.zarr.verify_tables import readable_offsets, readable_tables

Progress = Callable[[int, int], None]
"""Is called with the bytes that were checked since the last call, and those that there are in all."""

MANIFEST = -1


@dataclass
class CheckedSegment:
    """A segment of a version, and what is damaged in it."""

    archive: OpenArchive
    number: int
    reader: ZarrReader
    has_records: bool = True
    damages: list[tuple[int, Damage]] = field(default_factory=list)
    """With the number of the array."""
    given_up: set[int] = field(default_factory=set)
    """Arrays with so much damage that no more of them was read."""
    wrong_tables: set[int] = field(default_factory=set)

    @property
    def segment(self) -> OpenSegment:
        return self.archive.segments[self.number]

    @property
    def spec(self) -> SegmentSpec:
        return self.segment.spec

    @property
    def nbytes(self) -> int:
        """Decoded bytes of all chunks."""
        return sum(
            array.chunk_count * array.chunk_nbytes for array in self.spec.arrays if array.pieces is None
        )

    @property
    def has_lost_files(self) -> bool:
        """Whether the tables that say where arrays in other files are cannot be read."""
        files = self.spec.files
        return files is not None and any(array in files[1:] for array, _ in self.unreadable)

    @property
    def unreadable(self) -> set[tuple[int, int | None]]:
        """Chunks that cannot be used."""
        lost: set[tuple[int, int | None]] = {(array, None) for array in self.given_up}
        for array, damage in self.damages:
            if damage.chunks is not None and not damage.mended and IN_SHARD not in damage.what:
                lost.update((array, chunk) for chunk in range(*damage.chunks))
        return lost


def checked_segments(archives: list[OpenArchive]) -> Iterator[CheckedSegment]:
    """Each segment once, in the newest version that has it."""
    known: dict[str, list[SegmentSpec]] = {}
    for archive in archives:
        reader = reader_of(archive)
        for number, segment in enumerate(archive.segments):
            same = known.setdefault(segment.spec.name, [])
            if segment.spec not in same:  # two commits that say different things of one are checked both
                same.append(segment.spec)
                yield CheckedSegment(archive, number, reader)


# ---- chunks ----
def check_chunks(segments: list[CheckedSegment], mender: Mender | None, progress: Progress) -> None:
    total = sum(segment.nbytes for segment in segments)
    by_place = {(each.reader, each.number): each for each in segments}

    def units() -> Iterator[ShardUnit]:
        for each in segments:
            _check_manifest(each, mender)
            yield from shard_units(each.reader, each.number, each.segment, each.has_records, each.given_up)

    for unit, found in map_in_order(scrub, units()):
        checked = by_place[unit.reader, unit.segment]
        for bad in found:
            if bad.array not in checked.given_up:
                array = checked.spec.arrays[bad.array]
                records = checked.segment.records_of(bad.array) if checked.has_records else None
                checked.damages.extend(_shard_damages(checked, array, bad, records, mender))
                count = sum(number == bad.array for number, _ in checked.damages)
                if count >= MOST_DAMAGES:
                    checked.given_up.add(bad.array)
                    text = f"has {count} such damages up to here; no more of it was read"
                    checked.damages.append((bad.array, _of_segment(checked, array.path, text)))
        progress(unit.nbytes, total)
    outside = (
        OutsideUnit(each.reader, each.number, number)
        for each in segments
        for number, array in enumerate(each.spec.arrays)
        if array.pieces is not None and each.has_records and not each.has_lost_files
    )
    for unit_outside, problems in map_in_order(outside_problems, outside):
        checked = by_place[unit_outside.reader, unit_outside.segment]
        path = checked.spec.arrays[unit_outside.array].path
        for text in problems:
            checked.damages.append(
                (unit_outside.array, _of_segment(checked, path, f"cannot be read: {text}"))
            )
            checked.given_up.add(unit_outside.array)


def _check_manifest(checked: CheckedSegment, mender: Mender | None) -> None:
    manifest = checked.spec.manifest
    assert manifest is not None, "a commit has a manifest"
    for shard in range(manifest.array.shard_count):
        bad = bad_chunks(checked.segment.chunks, manifest.array, manifest.records, shard)
        if bad:
            found = BadShard(MANIFEST, shard, bad)
            damages = list(_shard_damages(checked, manifest.array, found, manifest.records, mender))
            checked.damages.extend(damages)
            checked.has_records = checked.has_records and all(damage.mended for _, damage in damages)


def _shard_damages(
    checked: CheckedSegment, array: ArraySpec, bad: BadShard, records: Records | None, mender: Mender | None
) -> Iterator[tuple[int, Damage]]:
    prefix = checked.spec.prefix
    if checked.spec.archive is not None:
        mender = None  # what is in another archive is mended there
    is_mended, why = tried(mender, Mender.shard, prefix, array, records, bad.shard)
    for start, stop, reason in bad.bad:
        yield (
            bad.array,
            Damage(
                array.path,
                reason + why,
                file=prefix + array.shard_key(bad.shard),
                segment=checked.spec.name,
                version=checked.reader.version,
                chunks=(start, stop),
                rows=(array.chunk_range(start)[0], array.chunk_range(stop - 1)[1]),
                mended=is_mended,
            ),
        )


def _of_segment(checked: CheckedSegment, array: str, what: str) -> Damage:
    return Damage(array, what, segment=checked.spec.name, version=checked.reader.version)


# ---- tables ----
def check_tables(segments: list[CheckedSegment]) -> None:
    """Compare tables, and then offsets, with what commits say; each is read by the list of chunks."""
    by_place = {(each.reader, each.number): each for each in segments}
    readable = [each for each in segments if each.has_records]

    def tables() -> Iterator[TableUnit]:
        for each in readable:
            numbers = readable_tables(each.segment, each.unreadable)
            yield from table_units(each.reader, each.number, each.segment, numbers)

    def offsets() -> Iterator[TableUnit]:
        for each in readable:
            right = set(readable_tables(each.segment, each.unreadable)) - each.wrong_tables
            found = readable_offsets(each.segment, right, each.unreadable)
            if found:
                yield TableUnit(each.reader, each.number, offsets=tuple(found))

    for units in (tables(), offsets()):
        for unit, wrong in map_in_order(compare_tables, units):
            checked = by_place[unit.reader, unit.segment]
            for number, mistake in wrong:
                checked.wrong_tables.add(number)
                path = checked.segment.table_paths(number)[0]
                checked.damages.append((number, _of_segment(checked, path, mistake)))


# ---- whose rows they are ----
def with_touched(segments: list[CheckedSegment]) -> Iterator[Damage]:
    """The damages of segments, with the rows of blocks that are in their chunks."""
    touched: dict[int, TouchedRows] = {}
    for each in segments:
        for array, damage in each.damages:
            if damage.rows is None or array == MANIFEST:
                yield damage
                continue
            rows = touched.setdefault(id(each.archive), TouchedRows(each.archive))
            yield replace(damage, touches=tuple(rows.of(each.number, array, damage.rows)))
