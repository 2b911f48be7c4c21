"""Versions that writers are about to make visible: what these need must not be removed under them.

A writer stages its commit, then checks that what it is made of is still there, and then publishes it. Who
removes something takes the commits away first, then looks for what is coming, and then removes what neither
commits nor this names. So either the writer sees that something is gone, or who removes it sees the writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from outgrad.errors import DamagedArchiveError, NotAnArchiveError
from outgrad.storage import leases
from outgrad.storage.store import Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import COMMITS, Commit, commit_version


def coming(store: Store) -> Iterator[tuple[int, Commit | None]]:
    """The commits that writers at work have staged, by number; None if one is not written to its end yet.

    Raises
    ------
    NewerFormatError
        If a later release is about to publish one: what it names is not known.
    """
    for partial in leases.partials(store.entries(COMMITS)):
        version = commit_version(partial.target)
        if version is not None and partial.is_at_work:
            commit = None
            with suppress(DamagedArchiveError, NotAnArchiveError, FileNotFoundError):
                commit = commits.read_unpublished(store, f"{COMMITS}/{partial.entry.name}")
            yield version, commit


def free_versions(store: Store, listed: list[int]) -> list[int]:
    """Those of the versions whose numbers nobody is about to take; they were listed before.

    Otherwise a writer that was held up would find the number free again, and its version would be older than
    ones that are not made on top of it.
    """
    taken = min((version for version, _ in coming(store)), default=None)
    return [version for version in listed if taken is None or version < taken]
