"""A new version of an archive: made of the newest one, and made visible by one commit."""

from __future__ import annotations

import getpass
import os
import platform
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import takewhile
from typing import Any

from outgrad import config
from outgrad._signals import deferred, stopping_cleanly
from outgrad.errors import ArchiveConflictError, ArchiveError, UnknownOutcomeError
from outgrad.storage import leases
from outgrad.storage.leases import partial_name
from outgrad.storage.publishing import attempted, publish_all, warn_of
from outgrad.storage.store import Staged, Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.coming import coming
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
from outgrad.storage.zarr.root import describe_folders, make_root, refresh_root

REPEATED_BYTES = 2**16
"""Descriptions of segments that a commit repeats of the one before: more go into a list, which is written
once."""
WAIT_SECONDS = 0.02
"""How long to wait, more each time, for a number that is taken and not there; with all attempts a minute."""
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

    @classmethod
    def of(cls, commit: Commit) -> VersionContent:
        """What a version holds that is there."""
        return cls(
            action=commit.action,
            kind=commit.kind,
            info=commit.info,
            provenance=commit.provenance,
            segments=commit.segments,
            added=commit.added or Added(0, 0),
            fill=commit.fill,
            lists=commit.lists,
        )

    def commit(self, **by: Any) -> Commit:
        """The commit of this content, ``by`` somebody and at some time; not one yet without them."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        return Commit(
            **{"version": 0, "writer": "", "created": "", "software": commits.SOFTWARE, **known, **by}
        )


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
        self,
        store: Store,
        content: VersionContent,
        revise: Revise,
        token: str,
        *,
        durable: bool,
        sources: Sequence[int] = (),
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
        self._sources = tuple(sources)
        self._staged: Staged | None = None
        self._list: str | None = None
        self._is_publishing = False
        self._is_unknown = False
        """Whether the commit may appear even if it is not there now."""

    def stage(self) -> None:
        """Write the commit under another name; nothing is visible yet.

        What it is made of must be there after that: from then on nobody removes what a staged commit names,
        nor frees a number from its own on (:mod:`outgrad.storage.zarr.coming`).

        Raises
        ------
        ArchiveConflictError
            If it is not for what is there now, or a version that it brings back is gone.
        """
        for _ in range(PUBLISH_ATTEMPTS):
            version = commits.newest_version(self.store)
            frame = commits.commit_frame(self.store, version)
            try:
                self._stage_on(Base(self.store, version))
            except (ArchiveError, FileNotFoundError):
                if self._is_newest(version, frame):
                    raise
            else:
                gone = [each for each in self._sources if not self.store.exists(commits.commit_key(each))]
                if gone:
                    raise ArchiveConflictError(
                        f"restore {self.store.name}: somebody has removed version {gone[0]} in the meantime; "
                        "nothing was changed"
                    )
                if self._is_newest(version, frame):
                    return
            self.discard()
        raise self._too_many()

    def _is_newest(self, version: int, frame: bytes) -> bool:
        newest = commits.newest_version(self.store)
        return newest == version and commits.commit_frame(self.store, version) == frame

    def _stage_on(self, base: Base) -> None:
        content = self._revise(base, self.content)
        self.version = base.version + 1
        self._staged = self.store.stage(
            commits.commit_key(self.version),
            commits.commit_bytes(self._commit(base, content)),
            self._token,
            durable=self._durable,
        )

    def _too_many(self) -> ArchiveConflictError:
        return ArchiveConflictError(
            f"save {self.store.name}: other writers were faster {PUBLISH_ATTEMPTS} times, or one that was "
            "stopped is in the way; nothing was changed: try again"
        )

    def _commit(self, base: Base, content: VersionContent) -> Commit:
        grown = base.commit if content.action in ("append", "compact", "index") else None
        return content.commit(
            version=self.version,
            writer=self.writer,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            who=user_and_machine(),
            lists=self._lists(content),
            since=self.version if grown is None else grown.since,
        )

    def _lists(self, content: VersionContent) -> tuple[SegmentList, ...]:
        """Those of before, and one more if the descriptions that this commit would repeat are large."""
        listed = sum(each.segments for each in content.lists)
        new = {segment.name for segment in self.content.segments}
        # A list has the segments after those of the lists before: it ends where a new one comes between.
        repeated = list(takewhile(lambda segment: segment.name not in new, content.segments[listed:]))
        data = commits.list_bytes(repeated) if repeated else b""
        if len(data) < REPEATED_BYTES:
            return content.lists
        self._list = uuid.uuid4().hex
        self.store.create(self._list_lease)
        self.store.put(commits.list_key(self._list), data, durable=self._durable)
        return (*content.lists, SegmentList(self._list, commits.sha256_of(data), len(repeated)))

    def publish(self) -> None:
        """Make the commit visible, in one step.

        Raises
        ------
        ArchiveConflictError
            If another writer was faster, and this version is not for what is there now.
        """
        for attempt in range(PUBLISH_ATTEMPTS):
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
                    if self.version not in commits.versions(self.store):
                        # Another writer is about to take the number, or a network's disk lists what was.
                        time.sleep(min(WAIT_SECONDS * 1.1**attempt, 1.0) * random.random())
                    self.stage()
                    continue
            # Refuse a version that another writer has replaced already; what was made on top of it is right.
            while (newest := commits.newest_version(self.store)) > self.version:
                with suppress(FileNotFoundError):  # it was removed, since there is an even newer one
                    if commits.read_version(self.store, newest).commit.action == "save":
                        raise lost(self.store, newest)
                    return
            return
        raise self._too_many()

    @property
    def was_tried(self) -> bool:
        """Whether it has been visible, or may have been."""
        return self._is_publishing

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
        """Take the commit back: the version before, which nobody has removed yet, is the newest again.

        Raises
        ------
        ArchiveConflictError
            If another writer has made a version on top of it, or is about to.
        """
        if not self.is_published():
            return
        is_base = commits.versions(self.store)[-1] > self.version
        if not is_base:
            self.store.remove(commits.commit_key(self.version))
            is_base = any(version > self.version for version, _ in coming(self.store))
        if is_base:
            raise ArchiveConflictError(
                f"save {self.store.name}: another writer has added to version {self.version} already"
            )

    def finish(self) -> Iterator[str]:
        """Flush the commit, and say in the root what is there now; yield what could not be done."""
        name = self.store.name
        if self._durable:
            yield from attempted(f"flush {name}/{COMMITS}", self.store.flush, (), [COMMITS])
        if self._staged is not None:
            yield from attempted(f"remove the partial file of {name}", self._staged.discard)
        if self._list is not None:
            yield from attempted(f"remove {name}/{self._list_lease}", self.store.remove, self._list_lease)
        yield from attempted(f"write {name}/zarr.json", refresh_root, self.store, self.version, self._durable)

    def discard(self) -> None:
        """Remove what was written and is not visible."""
        if self._staged is not None:
            self._staged.discard()
            self._staged = None
        if self._list is not None:
            self.store.remove(commits.list_key(self._list))
            self.store.remove(self._list_lease)
            self._list = None

    @property
    def _list_lease(self) -> str:
        """Made before a list, removed after the commit that names it."""
        return f"{COMMITS}/{partial_name(self._list or '', self._token)}"


def lost(store: Store, version: int) -> ArchiveConflictError:
    """The error for a version that would replace what another writer has saved in the meantime."""
    return ArchiveConflictError(
        f"save {store.name}: another writer has finished version {version} since this save began; "
        "its archive is there, and this one was not written: open it and decide, or save again"
    )


def user_and_machine() -> str:
    """The user and the machine, for those who read the history."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a name for the user
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{platform.node()}"


class _Publication:
    """A version without new data, as :func:`publish_all` takes it."""

    def __init__(self, revision: Revision, superseded: str | None) -> None:
        self._revision = revision
        self._superseded = superseded
        self.name = revision.store.name
        self.publish = revision.publish
        self.withdraw = revision.withdraw

    def finish(self) -> Iterator[str]:
        """Flush the commit, and remove what it makes needless; yield what could not be done."""
        yield from self._revision.finish()
        if self._superseded is not None:
            key = self._superseded
            yield from attempted(f"remove {self.name}/{key}", self._revision.store.remove, key)

    def abort(self) -> None:
        """Remove the unfinished commit."""
        with deferred():
            if not self._revision.may_be_visible():
                step = f"remove the unfinished commit of {self.name}"
                warn_of(list(attempted(step, self._revision.discard)))


def make_version(
    store: Store,
    content: VersionContent,
    revise: Revise,
    *,
    sources: Sequence[int] = (),
    superseded: str | None = None,
) -> None:
    """Make a version of segments that are there, those of the versions ``sources``; then remove an object.

    An archive without versions may not be there yet.
    """
    token = leases.new_token()
    durable = config.durable(None)
    revision = Revision(store, content, revise, token, durable=durable, sources=sources)
    publication = _Publication(revision, superseded)
    try:
        with stopping_cleanly():
            try:
                make_root(store, token, durable=durable)
                describe_folders(store, durable=durable)
                revision.stage()
                publish_all([publication])
            except BaseException:
                publication.abort()
                raise
    finally:
        leases.release(token)
