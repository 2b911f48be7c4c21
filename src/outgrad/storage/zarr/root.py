"""What stands above the segments of an archive: its root and two folders, and what they say to Zarr."""

from __future__ import annotations

import json
from contextlib import suppress

from outgrad.errors import ArchiveError
from outgrad.storage.store import Store, UnreadableError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.documents import (
    commits_document,
    group_document,
    root_consolidated,
    root_document,
    serialize,
)
from outgrad.storage.zarr.format import COMMITS, SEGMENTS


def make_root(store: Store, token: str, *, durable: bool) -> None:
    """Make the root and the folders that every archive has, where they are not there."""
    with suppress(FileExistsError):
        store.make_folder("")
    # First what shows that this is an archive: other writers may look at any moment.
    if not store.exists("zarr.json"):
        # A writer that was faster has made it: that one stays, since it may say more.
        staged = store.stage("zarr.json", serialize(root_document()), token, durable=durable)
        try:
            with suppress(FileExistsError):
                staged.publish()
        finally:
            staged.discard()
    for folder in (COMMITS, SEGMENTS):
        with suppress(FileExistsError):
            store.make_folder(folder)


def describe_folders(store: Store, *, durable: bool) -> None:
    """Say to Zarr what the folders are, where nothing says it."""
    for folder, document in ((SEGMENTS, group_document()), (COMMITS, commits_document())):
        key = f"{folder}/zarr.json"
        if not store.exists(key):
            store.put(key, serialize(document), durable=durable)


def refresh_root(store: Store, version: int, durable: bool) -> None:
    """Let the root say what is there now. Attributes of users stay; consolidated metadata, which are those of
    the version before, are made again or go."""
    while True:
        try:
            commit = commits.read_version(store, version).commit
            document = root_document(commit)
            consolidated = root_consolidated(commit)
            named = {segment.name for segment in commit.segments}
            # With it, Zarr sees nothing else: no segment that only an older version has.
            if consolidated and all(
                entry.name in named for entry in store.entries(SEGMENTS) if entry.kind == "folder"
            ):
                document |= consolidated
        except FileNotFoundError:  # another writer has replaced it
            newest = commits.newest_version(store)
            if newest <= version:
                return
            version = newest
            continue
        except ArchiveError:
            return  # whoever has made it, maybe with a later release, says so itself
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


def refresh_stale_root(store: Store, *, has_removed: bool) -> None:
    """Write the root again if versions are gone, now or before, whose segments it may name."""
    listed = commits.versions(store)
    with suppress(UnreadableError, ValueError, TypeError, KeyError):
        raw = store.get("zarr.json", commits.MOST_ROOT_BYTES)
        about = {} if raw is None else json.loads(raw.tobytes())["attributes"]["outgrad"]
        if listed and "version" in about and (has_removed or about["version"] not in listed):
            refresh_root(store, listed[-1], durable=False)
