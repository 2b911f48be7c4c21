"""Check every byte of an archive against its commits, and mend what a copy has."""

from __future__ import annotations

from collections.abc import Iterator

from outgrad.errors import DamagedArchiveError
from outgrad.labels.display import row_text
from outgrad.labels.labels import Labels
from outgrad.storage.store import Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.common_samples import repeated_sample
from outgrad.storage.zarr.damage import Damage
from outgrad.storage.zarr.joined_blocks import JoinedBlock
from outgrad.storage.zarr.mend import Mender
from outgrad.storage.zarr.opened import OpenArchive, overwritten
from outgrad.storage.zarr.reader import ArchiveTable, reader_of
from outgrad.storage.zarr.verify_commits import CheckedCommits
from outgrad.storage.zarr.verify_documents import document_damages
from outgrad.storage.zarr.verify_segments import (
    CheckedSegment,
    Progress,
    check_chunks,
    check_tables,
    checked_segments,
    with_touched,
)


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
        If there is no archive to check, it is of a newer format, or it was overwritten meanwhile.
    """
    mender = None if copy is None else Mender(store, copy)
    checked = CheckedCommits(store, mender, all_versions=all_versions)
    segments = list(checked_segments(checked.archives))
    check_chunks(segments, mender, progress or (lambda _, total: None))
    check_tables(segments)
    versions = [archive.stored.commit for archive in checked.archives]
    found = [
        *checked.damages,
        *document_damages(store, versions, mender, has_root=not checked.is_newest_lost),
        *_misfits(checked.archives, segments),
        *with_touched(segments),
    ]
    kept = commits.versions(store) if found else []
    for archive in checked.archives if found else ():
        version = archive.stored.commit.version
        if version not in kept:  # its segments were removed while they were read: that is no damage
            raise overwritten(store, version)
    return found


def _misfits(archives: list[OpenArchive], segments: list[CheckedSegment]) -> Iterator[Damage]:
    """Versions whose segments do not make a map together; what cannot be read is reported already."""
    if any(damage.chunks and not damage.mended for each in segments for _, damage in each.damages):
        return
    for archive in archives:
        try:
            _ = archive.joined.keys
            for block in archive.joined.blocks:
                _ = block.outline
                if len(block.parts) > 1:
                    _require_distinct(archive, block)
        except DamagedArchiveError as error:
            version = archive.stored.commit.version
            key = commits.commit_key(version)
            yield Damage(key, f"is corrupted: {error}", file=key, version=version)


def _require_distinct(archive: OpenArchive, block: JoinedBlock) -> None:
    """Refuse a block with a sample twice: no writer makes one, but whoever edits a commit can."""
    reader = reader_of(archive)

    def labels(segment: int, number: int) -> Labels:
        table, source = archive.segments[segment].spec.tables[number], ArchiveTable(reader, segment, number)
        return Labels.from_source(table.names, table.rows, table.digest, source)

    found = repeated_sample(block, labels)
    if found is not None:
        earlier, later, sample = found
        one, other = (archive.segments[block.parts[part][0]].spec.name for part in (earlier, later))
        raise DamagedArchiveError(
            f"sample {row_text(list(block.names(())), sample)} is in segment {one}, and again in {other}"
        )
