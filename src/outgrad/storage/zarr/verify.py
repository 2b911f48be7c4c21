"""Check every byte of an archive against its commits, and mend what a copy has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from outgrad.errors import DamagedArchiveError
from outgrad.graph.mapping import map_in_order
from outgrad.storage.store import Store, UnreadableError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.damage import Damage
from outgrad.storage.zarr.documents import (
    Document,
    above_segments,
    documents,
    root_document,
    segment_documents,
)
from outgrad.storage.zarr.format import SEGMENTS, ArraySpec, Commit, SegmentSpec
from outgrad.storage.zarr.mend import Mender, tried
from outgrad.storage.zarr.opened import OpenArchive
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.parse import read_json
from outgrad.storage.zarr.reader import ZarrReader, remember
from outgrad.storage.zarr.scrub import (
    IN_SHARD,
    MOST_DAMAGES,
    BadShard,
    ShardUnit,
    TableUnit,
    bad_chunks,
    check_tables,
    scrub,
    shard_units,
    table_units,
)
from outgrad.storage.zarr.storage_chunks import Records
from outgrad.storage.zarr.touched import TouchedRows
from outgrad.storage.zarr.verify_commits import CheckedCommits
from outgrad.storage.zarr.verify_tables import readable_offsets, readable_tables
from outgrad.storage.zarr.zarr_json import document_mistake

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
        return sum(array.chunk_count * array.chunk_nbytes for array in self.spec.arrays)

    @property
    def unreadable(self) -> set[tuple[int, int | None]]:
        """Chunks that cannot be used."""
        lost: set[tuple[int, int | None]] = {(array, None) for array in self.given_up}
        for array, damage in self.damages:
            if damage.chunks is not None and not damage.mended and IN_SHARD not in damage.what:
                lost.update((array, chunk) for chunk in range(*damage.chunks))
        return lost


def verify_archive(
    store: Store, *, all_versions: bool = False, copy: Store | None = None, progress: Progress | None = None
) -> list[Damage]:
    """Read every chunk and every metadata file of an archive, and list what is damaged.

    Parameters
    ----------
    store : Store
        Where the archive is.
    all_versions : bool
        Whether to check all versions that are kept, and not the newest alone.
    copy : Store, optional
        Another archive, out of which what is damaged is mended.
    progress : callable, optional
        Is called as data are checked.

    Returns
    -------
    list of Damage
        Empty if all is well.

    Raises
    ------
    ArchiveError
        If there is no archive to check, or it is of a newer format.
    """
    mender = None if copy is None else Mender(store, copy)
    checked = CheckedCommits(store, mender, all_versions=all_versions)
    segments = list(_segments(checked.archives))
    _check_chunks(segments, mender, progress or (lambda _, total: None))
    _check_tables(segments)
    return [
        *checked.damages,
        *_document_damages(store, checked, mender),
        *_misfits(checked.archives, segments),
        *_touching(segments),
    ]


def _segments(archives: list[OpenArchive]) -> Iterator[CheckedSegment]:
    """Each segment once, in the newest version that has it."""
    known: dict[str, list[SegmentSpec]] = {}
    for archive in archives:
        version, token = archive.stored.commit.version, archive.stored.token
        reader = ZarrReader(remember(archive).store.name, version, token)
        for number, segment in enumerate(archive.segments):
            same = known.setdefault(segment.spec.name, [])
            if segment.spec not in same:  # two commits that say different things of one are checked both
                same.append(segment.spec)
                yield CheckedSegment(archive, number, reader)


# ---- chunks ----
def _check_chunks(segments: list[CheckedSegment], mender: Mender | None, progress: Progress) -> None:
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
def _check_tables(segments: list[CheckedSegment]) -> None:
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
        for unit, wrong in map_in_order(check_tables, units):
            checked = by_place[unit.reader, unit.segment]
            for number, mistake in wrong:
                checked.wrong_tables.add(number)
                path = checked.segment.table_paths(number)[0]
                checked.damages.append((number, _of_segment(checked, path, mistake)))


# ---- commits and zarr.json ----
def _misfits(archives: list[OpenArchive], segments: list[CheckedSegment]) -> Iterator[Damage]:
    """Versions whose segments do not make a map together; what cannot be read is reported already."""
    if any(not damage.mended for each in segments for _, damage in each.damages):
        return
    for archive in archives:
        try:
            _ = archive.joined.keys
            for block in archive.joined.blocks:
                _ = block.outline
        except DamagedArchiveError as error:
            version = archive.stored.commit.version
            key = commits.commit_key(version)
            yield Damage(key, f"is corrupted: {error}", file=key, version=version)


def _document_damages(store: Store, checked: CheckedCommits, mender: Mender | None) -> Iterator[Damage]:
    """Every ``zarr.json`` that is damaged, of segments and, as of the newest version, above them."""
    seen: set[str] = set()
    for archive in checked.archives:
        commit = archive.stored.commit
        groups: list[tuple[Iterable[str], dict[str, Document]]] = []
        if archive is checked.archives[0]:
            above = _documents_above(store, commit)
            keys = [key for key in above if not key.startswith(f"{SEGMENTS}/") or key.count("/") == 1]
            groups.append((keys[1:] if checked.is_newest_lost else keys, above))
        for segment in commit.segments:
            if segment.name not in seen:
                seen.add(segment.name)
                expected = dict(segment_documents(segment))
                groups.append((expected, expected))
        for keys_of_group, expected in groups:
            mistake = partial(_document_mistake, store, expected)
            for key, text in map_in_order(mistake, keys_of_group, here=True):
                if text:
                    is_mended, why = tried(mender, Mender.document, key, expected)
                    version = commit.version
                    yield Damage(key, text + why, file=key, version=version, mended=is_mended)


def _document_mistake(store: Store, expected: dict[str, Document], key: str) -> str:
    try:
        raw = store.get(key, commits.MOST_ROOT_BYTES)
        return "is missing" if raw is None else document_mistake(key, raw.tobytes(), expected)
    except UnreadableError as error:
        return str(error)


def _documents_above(store: Store, newest: Commit) -> dict[str, Document]:
    """The root and the two folders below it; all documents if a tool has put them into the root.

    What the root should say: a writer that is killed after its commit leaves it to that of the version
    before.
    """
    root = root_document(newest)
    has_others = False
    with suppress(UnreadableError, ValueError, KeyError, TypeError, RecursionError):
        raw = store.get("zarr.json", commits.MOST_ROOT_BYTES)
        document = {} if raw is None else read_json(raw.tobytes())
        has_others = "consolidated_metadata" in document
        about = document["attributes"]["outgrad"]
        if "version" not in about and newest.version == 1:
            root = root_document()
        elif about["version"] in commits.versions(store):
            root = root_document(commits.read_version(store, about["version"]).commit)
    listed = documents(newest) if has_others else above_segments(newest)
    return {**dict(listed), "zarr.json": root}


# ---- whose rows they are ----
def _touching(segments: list[CheckedSegment]) -> Iterator[Damage]:
    """The damages of segments, with the rows of blocks that are in their chunks."""
    touched: dict[int, TouchedRows] = {}
    for each in segments:
        for array, damage in each.damages:
            if damage.rows is None or array == MANIFEST:
                yield damage
                continue
            rows = touched.setdefault(id(each.archive), TouchedRows(each.archive))
            yield replace(damage, touches=tuple(rows.of(each.number, array, damage.rows)))
