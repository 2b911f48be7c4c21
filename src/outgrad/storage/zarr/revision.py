"""A new version of an archive: made of the newest one, and made visible by one commit."""

from __future__ import annotations

import getpass
import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from outgrad.errors import ArchiveConflictError, ArchiveError, UnknownOutcomeError
from outgrad.storage.publishing import attempted
from outgrad.storage.store import Staged, Store, UnreadableError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.documents import root_document, serialize
from outgrad.storage.zarr.format import (
    COMMITS,
    Action,
    Added,
    ArchiveKind,
    Commit,
    FillNumber,
    SegmentList,
    SegmentSpec,
)

REPEATED_BYTES = 2**18
"""Descriptions of segments that a commit repeats of the one before: more go into a list, which is written
once."""
PUBLISH_ATTEMPTS = 100
"""How often to commit on top of what other writers have committed in the meantime."""


@dataclass(frozen=True)
class VersionContent:
    """What a version holds: all but what says who made it and when."""

    action: Action
    kind: ArchiveKind
    info: dict[str, str]
    provenance: dict[str, Any]
    segments: tuple[SegmentSpec, ...]
    added: Added
    fill: FillNumber | None = None
    lists: tuple[SegmentList, ...] = ()
    """Lists that have the first of the segments."""


@dataclass(frozen=True)
class Base:
    """The newest version, on top of which the next one is made; its commit is read when it is asked for."""

    store: Store
    version: int
    """0 if there is none."""

    @cached_property
    def commit(self) -> Commit | None:
        """What it says; None if there is none."""
        return commits.read_version(self.store, self.version).commit if self.version else None


Revise = Callable[[Base, VersionContent], VersionContent]
"""Makes the content of the next version, of the newest one and of what is new; an error if it does not
fit."""


class Revision:
    """The next version of an archive, until it is visible.

    If another writer is faster, it is made again, on top of the version of that writer.
    """

    def __init__(
        self, store: Store, content: VersionContent, revise: Revise, token: str, *, durable: bool
    ) -> None:
        self.store = store
        self.content = content
        """Of the new segment alone."""
        self.writer = uuid.uuid4().hex
        self.version = 0
        """The number that it gets; 0 as long as it is not known."""
        self._revise = revise
        self._token = token
        self._durable = durable
        self._staged: Staged | None = None
        self._list: str | None = None
        self._is_publishing = False
        self._is_unknown = False
        """Whether the commit may appear even if it is not there now."""

    def stage(self) -> None:
        """Write the commit under another name; nothing is visible yet."""
        base = Base(self.store, commits.newest_version(self.store))
        content = self._revise(base, self.content)
        self.version = base.version + 1
        self._staged = self.store.stage(
            commits.commit_key(self.version),
            commits.commit_bytes(self._commit(content)),
            self._token,
            durable=self._durable,
        )

    def _commit(self, content: VersionContent) -> Commit:
        return Commit(
            version=self.version,
            kind=content.kind,
            writer=self.writer,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            software=commits.SOFTWARE,
            info=content.info,
            provenance=content.provenance,
            segments=content.segments,
            action=content.action,
            who=user_and_machine(),
            added=content.added,
            lists=self._lists(content),
            fill=content.fill,
        )

    def _lists(self, content: VersionContent) -> tuple[SegmentList, ...]:
        """Those of before, and one more if the descriptions that this commit would repeat are large."""
        listed = sum(each.segments for each in content.lists)
        new = {segment.name for segment in self.content.segments}
        repeated = [segment for segment in content.segments[listed:] if segment.name not in new]
        data = commits.list_bytes(repeated) if repeated else b""
        if len(data) < REPEATED_BYTES:
            return content.lists
        self._list = uuid.uuid4().hex
        self.store.put(commits.list_key(self._list), data, durable=self._durable)
        return (*content.lists, SegmentList(self._list, commits.sha256_of(data), len(repeated)))

    def publish(self) -> None:
        """Make the commit visible, in one step.

        Raises
        ------
        ArchiveConflictError
            If another writer was faster, and this version is not for what is there now.
        """
        for _ in range(PUBLISH_ATTEMPTS):
            assert self._staged is not None, "stage() comes before publish()"
            self._is_publishing = True
            try:
                self._staged.publish()
            except OSError as error:
                self._is_unknown = isinstance(error, UnknownOutcomeError)
                # The step may have been done, and only its answer lost: as after a time-out of a network's
                # disk.
                if not self.is_published():
                    if not isinstance(error, FileExistsError):
                        raise
                    self._is_publishing = False
                    self.discard()
                    self.stage()
                    continue
            newest = commits.newest_version(self.store)
            if newest > self.version and not self._is_ancestor(newest):
                # A faster writer has removed the version whose name this one then found free.
                raise lost(self.store, newest)
            return
        raise ArchiveConflictError(
            f"save {self.store.name}: other writers have made {PUBLISH_ATTEMPTS} versions while this one was "
            "to be made visible; nothing was changed: try again"
        )

    def _is_ancestor(self, newest: int) -> bool:
        """Whether newer versions were made on top of this one, and not instead of it."""
        try:
            commit = commits.read_version(self.store, newest).commit
        except FileNotFoundError:
            return False
        return commit.action != "save"

    def is_published(self) -> bool:
        """Whether the version with this number is this one."""
        return bool(self.version) and commits.writer_of(self.store, self.version) == self.writer

    def may_be_visible(self) -> bool:
        """Whether it was published, as far as is known; where it cannot be known, it may be."""
        try:
            return self._is_publishing and (self._is_unknown or self.is_published())
        except (OSError, ArchiveError):
            return True

    def withdraw(self) -> None:
        """Take the commit back: the version before, which nobody has removed yet, is the newest again."""
        if self.is_published():
            self.store.remove(commits.commit_key(self.version))

    def finish(self) -> Iterator[str]:
        """Flush the commit, and say in the root what is there now; yield what could not be done."""
        name = self.store.name
        if self._durable:
            yield from attempted(f"flush {name}/{COMMITS}", self.store.flush, (), [COMMITS])
        if self._staged is not None:
            yield from attempted(f"remove the partial file of {name}", self._staged.discard)
        yield from attempted(f"write {name}/zarr.json", refresh_root, self.store, self.version, self._durable)

    def discard(self) -> None:
        """Remove what was written and is not visible."""
        if self._staged is not None:
            self._staged.discard()
            self._staged = None
        if self._list is not None:
            self.store.remove(commits.list_key(self._list))
            self._list = None


def lost(store: Store, version: int) -> ArchiveConflictError:
    """The error for a version that would replace what another writer has saved in the meantime."""
    return ArchiveConflictError(
        f"save {store.name}: another writer has finished version {version} since this save began; "
        "its archive is there, and this one was not written: open it and decide, or save again"
    )


def refresh_root(store: Store, version: int, durable: bool) -> None:
    """Let the root say what is there now. Attributes of users stay; metadata that a tool has consolidated are
    those of the version before, and go."""
    while True:
        document = root_document(commits.read_version(store, version).commit)
        with suppress(UnreadableError, ValueError, TypeError, AttributeError, KeyError):
            found = store.get("zarr.json")
            if found is not None:
                attributes = json.loads(found.tobytes())["attributes"]
                document["attributes"] = {**attributes, **document["attributes"]}
        store.put("zarr.json", serialize(document), durable=durable)
        # Another writer may have said so before, with a newer version.
        newest = commits.newest_version(store)
        if newest <= version:
            return
        version = newest


def user_and_machine() -> str:
    """The user and the machine, for those who read the history."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a name for the user
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{platform.node()}"
