"""What a writer does to an archive: make or replace it, append to it, or put segments together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from outgrad.errors import (
    ArchiveConflictError,
    ArchiveError,
    ArchiveExistsError,
    NotAnArchiveError,
)
from outgrad.storage.store import Store
from outgrad.storage.zarr import commits, leftovers
from outgrad.storage.zarr.format import (
    COMMITS,
    SEGMENTS,
    Action,
    Added,
    Commit,
    FillNumber,
    SegmentList,
    SegmentSpec,
)
from outgrad.storage.zarr.opened import OpenArchive, open_version
from outgrad.storage.zarr.revision import Base, VersionContent, lost


class Update(ABC):
    """What becomes of the newest version of an archive."""

    call: str
    """What a user called, for messages."""
    replaces: bool = False
    """Whether older versions go when the new one is there."""
    keeps_refused: bool = False
    """Whether data that are complete are kept if they do not fit to what other writers have committed."""

    def require(self, store: Store) -> None:
        """Refuse what is there, if it cannot be changed like this; asked at planning time, and at the
        start."""
        kinds = {entry.name: entry.kind for entry in store.entries("")}
        links = [folder for folder in (COMMITS, SEGMENTS) if kinds.get(folder) == "other"]
        if links and is_ours(store):
            raise ArchiveError(
                f"{self.call} {store.name}: {store.name}/{links[0]} is a link; nothing is written or removed "
                "through links inside an archive: put the folder itself there, or save to another path"
            )

    @abstractmethod
    def revise(self, base: Base, content: VersionContent) -> VersionContent:
        """Make the next version on top of ``base``; ``content`` is that of the new segment alone.

        Raises
        ------
        ArchiveConflictError
            If the newest version is not one that can be changed like this.
        """


def is_ours(store: Store) -> bool:
    """Whether a root is empty, or that of an archive."""
    return leftovers.is_empty(store) or commits.is_archive(store)


class Save(Update):
    """Make an archive, or replace it: what is there when the writer begins must be there when it ends."""

    call = "save"
    replaces = True

    def __init__(self, *, overwrite: bool) -> None:
        self._overwrite = overwrite
        self._base_version = 0

    def require(self, store: Store) -> None:
        super().require(store)
        self._base_version = commits.newest_version(store)
        is_empty = leftovers.is_empty(store)
        ours = is_empty or commits.is_archive(store)
        if self._overwrite and not ours:
            raise NotAnArchiveError(
                f"save {store.name}: the path exists and is not an Outgrad archive, and overwrite=True "
                "replaces only archives; remove it yourself, or choose another path"
            )
        if self._overwrite or is_empty:
            return
        if not ours or self._base_version:
            raise ArchiveExistsError(
                f"save {store.name}: the path exists; choose another one, pass overwrite=True to replace it, "
                "or add to it with append"
            )
        if leftovers.at_work(store):
            raise ArchiveExistsError(
                f"save {store.name}: another writer is at work there, and has not finished; wait for it, "
                "choose another path, or pass overwrite=True: then the first to finish wins"
            )

    def revise(self, base: Base, content: VersionContent) -> VersionContent:
        if base.version != self._base_version:
            raise lost(base.store, base.version)
        return content


class Append(Update):
    """Add a segment to whatever is there, or make an archive of it if nothing is.

    ``check`` raises if the segment does not fit to an archive.
    """

    call = "append"
    keeps_refused = True

    def __init__(
        self,
        check: Callable[[OpenArchive], None],
        fill: FillNumber | None = None,
        action: Literal["append", "index"] = "append",
    ) -> None:
        self._check = check
        self._fill = fill
        self._action = action
        self._since = 0

    def require(self, store: Store) -> None:
        super().require(store)
        if not is_ours(store):
            raise NotAnArchiveError(
                f"append {store.name}: the path exists and is not an Outgrad archive; choose another path"
            )
        while (base := commits.read_newest_if_any(store)) is not None:
            try:
                self._check(OpenArchive(store, base))
            except ArchiveError:
                if commits.versions(store)[-1:] == [base.commit.version]:
                    raise
                continue  # it was replaced and removed meanwhile
            self.begin(base.commit)
            return

    def begin(self, commit: Commit) -> None:
        """Take a version as the one that is appended to."""
        self._since = commit.since

    def revise(self, base: Base, content: VersionContent) -> VersionContent:
        commit = base.commit
        if commit is None:
            first: Action = "save" if self._action == "append" else self._action
            return replace(content, action=first, fill=self._fill)
        # Other writers may have appended too, or put segments together; or have begun the archive.
        if commit.since != (self._since or 1):
            raise ArchiveConflictError(
                f"append {base.store.name}: version {commit.since} has replaced the archive since this "
                "append began, so nothing was added to it; `outgrad log` says who made it"
            )
        self._check(open_version(base.store, base.version))
        return replace(
            content,
            action=self._action,
            info={**commit.info, **content.info},
            segments=(*commit.segments, *content.segments),
            fill=commit.fill if self._fill is None else self._fill,
            lists=commit.lists,
        )


class Compact(Update):
    """Put a segment in the place of some neighbouring ones that hold the same data."""

    call = "compact"

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def revise(self, base: Base, content: VersionContent) -> VersionContent:
        segments: tuple[SegmentSpec, ...] = () if base.commit is None else base.commit.segments
        names = tuple(segment.name for segment in segments)
        first = names.index(self._names[0]) if self._names[0] in names else 0
        if base.commit is None or names[first : first + len(self._names)] != self._names:
            raise ArchiveConflictError(
                f"compact {base.store.name}: another writer has replaced the segments that were put "
                "together; nothing was changed: compact again if there are still many of them"
            )
        lists: list[SegmentList] = []
        for each in base.commit.lists:
            if sum(before.segments for before in lists) + each.segments > first:
                break
            lists.append(each)
        return replace(
            content,
            action="compact",
            info=base.commit.info,
            provenance={"versions": made_of(base)},
            segments=(*segments[:first], *content.segments, *segments[first + len(self._names) :]),
            added=Added(0, 0),
            fill=base.commit.fill,
            lists=tuple(lists),
        )


def made_of(base: Base) -> list[dict[str, Any]]:
    """The saves and appends that the data of a version come from, the oldest first: they are known even when
    the versions are gone."""
    found: list[dict[str, Any]] = []
    number = base.version
    while number:
        try:
            commit = commits.read_alone(base.store, number).commit
        except (ArchiveError, FileNotFoundError):
            break
        if commit.action == "compact":
            known = commit.provenance.get("versions")
            found.extend(reversed(known) if isinstance(known, list) else [])
            break
        if commit.action == "restore":
            restored = commit.provenance.get("restored")
            number = restored if isinstance(restored, int) and 0 < restored < number else 0
            continue
        entry = {"version": number, "created": commit.created, "who": commit.who, "action": commit.action}
        added = (
            {} if commit.added is None else {"samples": commit.added.samples, "bytes": commit.added.nbytes}
        )
        found.append({**entry, **added, "provenance": commit.provenance})
        number = 0 if commit.action == "save" else number - 1
    return found[::-1]
