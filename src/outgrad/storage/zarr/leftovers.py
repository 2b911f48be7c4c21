"""What may be removed from an archive, and what must be there before it is committed."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from outgrad.errors import ArchiveError, NewerFormatError
from outgrad.storage import leases
from outgrad.storage.local_store import LocalStore
from outgrad.storage.publishing import attempted
from outgrad.storage.store import Entry, Store
from outgrad.storage.stores import open_store
from outgrad.storage.urls import Location, StoreUrl
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.coming import coming, free_versions
from outgrad.storage.zarr.format import COMMITS, SEGMENTS, Commit, SegmentSpec, commit_version

_SEGMENT = re.compile(r"[0-9a-f]{32}")
_LIST = re.compile(r"([0-9a-f]{32})\.json")
_READINGS = 5
SHOWN_FILES = 5
REFUSED = "refused.json"
"""What is known of a segment that is complete and was refused: it may still be committed."""
OF_ZARR_AND_SYSTEMS = ("zarr.json", ".")
"""How names begin that are not ours and not odd."""


def is_empty(store: Store) -> bool:
    """Whether a root is there and holds nothing, or only the beginning of a writer's first file."""
    entries = store.entries("")
    begun = [partial.entry for partial in leases.partials(entries) if partial.target == "zarr.json"]
    return store.is_folder() and begun == entries


def _is_segment(entry: Entry) -> bool:
    return _SEGMENT.fullmatch(entry.name) is not None and entry.kind == "folder"


def list_name(name: str) -> str | None:
    """The name of a list of segments, by that of its file; None for other files."""
    match = _LIST.fullmatch(name)
    return match[1] if match else None


def at_work(store: Store) -> bool:
    """Whether anybody is writing a segment of this archive."""
    return bool(leases.names_at_work(store.entries(SEGMENTS)))


def odd_entries(store: Store) -> list[str]:
    """What no writer puts among the segments and commits: it is never followed or removed."""
    segments = [f"{SEGMENTS}/{each.name}" for each in store.entries(SEGMENTS) if not _is_segment(each)]
    listed = [
        f"{COMMITS}/{each.name}" for each in store.entries(COMMITS) if commit_version(each.name) is None
    ]
    return [key for key in (*segments, *listed) if not key.partition("/")[2].startswith(OF_ZARR_AND_SYSTEMS)]


def named_by_commits(store: Store, dropped: Container[int] = ()) -> set[str] | None:
    """The segments and lists of all commits but those that are ``dropped``, and of those that are coming.

    None if one of them cannot be read, and so what it names is not known.
    """
    for _ in range(_READINGS):
        with suppress(FileNotFoundError):  # a commit that was replaced after it was listed: list again
            try:
                found = [commit for _, commit in coming(store) if commit is not None]
                listed = [version for version in commits.versions(store) if version not in dropped]
                found += [commits.read_version(store, version).commit for version in listed]
            except ArchiveError:
                return None
            segments = {segment.name for commit in found for segment in commit.segments}
            return segments | {each.name for commit in found for each in commit.lists}
    return None


def unnamed(store: Store, dropped: Container[int] = (), *, keeps_refused: bool = True) -> list[LeftOver]:
    """Segments and lists that no commit names, apart from those that are ``dropped``, and nobody writes.

    A writer removes its lease after its commit is there. So commits are read after the leases: a segment
    that has neither then belongs to no writer. What was refused stays, for a week at least.
    """
    entries, listed = store.entries(SEGMENTS), store.entries(COMMITS)
    leased = leases.names_at_work(entries) | leases.names_at_work(listed)
    free = [
        (entry.name, LeftOver(store, f"{SEGMENTS}/{entry.name}", is_folder=True))
        for entry in entries
        if _is_segment(entry) and entry.name not in leased
    ]
    lists = [(list_name(entry.name), f"{COMMITS}/{entry.name}") for entry in listed]
    free += [(name, LeftOver(store, key)) for name, key in lists if name and name not in leased]
    named = named_by_commits(store, dropped) if free else set()
    if named is None:
        return []
    # What is kept with a refused segment is like a lease: it goes after the commit, so it is looked at first.
    free = [
        (name, each)
        for name, each in free
        if name not in named
        and not (
            each.is_folder
            and (since := refused_since(store, name)) is not None
            and (keeps_refused or leases.is_young(since))
        )
    ]
    named = named_by_commits(store, dropped) if free else set()
    return [] if named is None else [each for name, each in free if name not in named]


def refused_since(store: Store, name: str) -> float | None:
    """When a segment was complete and refused; None if it was not."""
    entries = store.entries(f"{SEGMENTS}/{name}")
    return next((entry.modified for entry in entries if entry.name == REFUSED), None)


def abandoned_files(store: Store) -> list[LeftOver]:
    """Unfinished files of the archive itself whose writers are gone, and claims on names."""
    found = []
    for prefix in ("", f"{COMMITS}/", f"{SEGMENTS}/"):
        entries = store.entries(prefix.rstrip("/"))
        found += [LeftOver(store, f"{prefix}{name}") for name in leases.abandoned_partials(entries)]
        claims = leases.abandoned_claims(entries)
        found += [LeftOver(store, f"{prefix}{name}", is_claim=True) for name in claims]
    return found


def remove_superseded(store: Store, version: int) -> Iterator[str]:
    """Remove older commits, and then what no commit names; yield what could not be removed, or is odd."""
    older = [older for older in commits.versions(store) if older < version]
    with suppress(NewerFormatError):
        for each in free_versions(store, older):
            key = commits.commit_key(each)
            yield from attempted(f"remove {store.name}/{key}", store.remove, key)
    yield from _remove_unnamed(store)
    for key in odd_entries(store):
        yield f"{store.name}/{key} is not Outgrad's, and was left alone"


def remove_abandoned(store: Store) -> Iterator[str]:
    """Remove what writers that were killed have left, if there is any; older versions stay."""
    # What no commit names has a lease, or had one: nothing else needs to be looked at.
    if any(leases.abandoned_partials(store.entries(folder)) for folder in (SEGMENTS, COMMITS)):
        yield from _remove_unnamed(store)


def _remove_unnamed(store: Store) -> Iterator[str]:
    """Leases of writers that are gone go last: they show that there may be something."""
    for each in (*unnamed(store), *abandoned_files(store)):
        yield from attempted(f"remove {each}", each.remove)


def remove_if_without_segments(store: Store) -> bool:
    """Remove the folders of an archive that has no segment and no commit; return whether they are gone."""
    for folder in (SEGMENTS, COMMITS):
        if [entry.name for entry in store.entries(folder)] == ["zarr.json"]:
            store.remove(f"{folder}/zarr.json")
    if not all([store.remove_folder_if_empty(SEGMENTS), store.remove_folder_if_empty(COMMITS)]):
        return False
    if [entry.name for entry in store.entries("")] == ["zarr.json"] and commits.is_archive(store):
        store.remove("zarr.json")
    return not store.entries("")


def require_whole(store: Store, segment: SegmentSpec) -> None:
    """Check that all files of a segment are there, and remove what tasks that were killed left among them.

    Raises
    ------
    ArchiveError
        If something is missing, which then somebody has removed.
    """
    missing: list[str] = []
    keys = {key.removeprefix(segment.prefix) for key, _ in store.walk(segment.prefix.rstrip("/"))}
    for key in keys:
        if key.endswith(".partial"):
            store.remove(segment.prefix + key)
    manifest = [] if segment.manifest is None else [segment.manifest.array]
    for array in (*segment.arrays, *manifest):
        if array.pieces is not None:
            continue
        expected = {array.shard_key(number) for number in range(array.shard_count)}
        missing.extend(sorted(expected - keys))
    if missing:
        listed = ", ".join(missing[:SHOWN_FILES]) + (", …" if len(missing) > SHOWN_FILES else "")
        raise ArchiveError(
            f"save {store.name}: {len(missing)} file(s) that were written are gone, somebody has removed "
            f"them: {listed}; nothing was changed: save again"
        )


class LeftOver(NamedTuple):
    """What may be removed: an object, or a folder with all that is in it."""

    store: Store
    key: str
    is_folder: bool = False
    is_version: bool = False
    is_claim: bool = False
    """A folder of ours is empty; one of this name that is not is somebody else's."""

    def __str__(self) -> str:
        return f"{self.store.name}/{self.key}" if self.key else self.store.name

    def remove(self) -> None:
        if self.is_claim:
            self.store.remove_folder_if_empty(self.key)
        else:
            (self.store.remove_folder if self.is_folder else self.store.remove)(self.key)


class KeptVersions(NamedTuple):
    """Which versions of an archive stay: the newest ``versions``, and those that are younger than
    ``seconds``."""

    versions: int | None = None
    seconds: float | None = None

    def drops(self, listed: Sequence[Commit]) -> list[int]:
        """The versions to be removed, of all that there are, in their order; never the newest one."""
        if self.versions is None and self.seconds is None:
            return []
        older = listed[: max(0, len(listed) - max(1, self.versions or 1))]
        if self.seconds is None:
            return [commit.version for commit in older]
        before = time.time() - self.seconds
        dropped = []
        for commit in older:
            with suppress(ValueError):  # of a time that cannot be read nothing is known: it stays
                if datetime.fromisoformat(commit.created).timestamp() < before:
                    dropped.append(commit.version)
        return dropped


def left_over(location: Location, kept: KeptVersions) -> list[LeftOver]:
    """What killed writers have left at a path, and versions that are not kept: of an archive, a file or a
    folder."""
    if not isinstance(location, StoreUrl) and not location.is_dir():
        folder = LocalStore(location.absolute().parent)
        entries = folder.entries("", leases.partial_prefix(location.name))
        claims = {leases.claim_name(location.name)}.intersection(leases.abandoned_claims(entries))
        return [
            *(LeftOver(folder, name) for name in leases.abandoned_partials(entries, location.name)),
            *(LeftOver(folder, name, is_claim=True) for name in claims),
        ]
    store = open_store(location)
    if not (is_empty(store) or commits.is_archive(store)):
        return [LeftOver(store, name) for name in leases.abandoned_partials(store.entries(""))]
    return left_over_in(store, kept)


def left_over_in(store: Store, kept: KeptVersions) -> list[LeftOver]:
    """What may be removed from an archive; segments that somebody writes stay, and what remaining commits
    name."""
    listed = commits.versions(store)
    if not listed:
        return _unfinished(store) if not at_work(store) else []
    files = abandoned_files(store)
    try:
        known = [commits.read_version(store, version).commit for version in listed]
        # A version that was saved and not added replaces all before: its writer was killed before it removed
        # them.
        saved = max(commit.version for commit in known if commit.action == "save" or commit is known[0])
        dropped = {*kept.drops(known), *(version for version in listed if version < saved)}
        free = free_versions(store, sorted(dropped))
    except (ArchiveError, FileNotFoundError):
        return files  # what else is named is not known
    return [
        *(LeftOver(store, commits.commit_key(version), is_version=True) for version in free),
        *files,
        *unnamed(store, free, keeps_refused=False),
    ]


def _unfinished(store: Store) -> list[LeftOver]:
    """An archive without a commit: if there is nothing in it but what its writer made, all of it may go."""
    found = [
        *abandoned_files(store),
        *unnamed(store),
    ]
    if not store.name.endswith(".zarr"):
        return found
    ours = {"zarr.json", COMMITS, SEGMENTS}
    others = [entry.name for entry in store.entries("") if entry.name not in ours]
    has_refused = any(refused_since(store, each.name) is not None for each in store.entries(SEGMENTS))
    if all(name.startswith(".") for name in others) and not odd_entries(store) and not has_refused:
        return [LeftOver(store, "", is_folder=True)]
    return found
