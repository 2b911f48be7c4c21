"""Committing segments that were refused before."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from outgrad.storage.store import Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.appendable import Addition, require_appendable
from outgrad.storage.zarr.format import SEGMENTS
from outgrad.storage.zarr.leftovers import refused_since
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.refused import refused_key
from outgrad.storage.zarr.revision import Base, VersionContent
from outgrad.storage.zarr.updates import Append


def kept(store: Store) -> list[VersionContent]:
    """Segments that may be committed, the oldest first."""
    found: list[tuple[float, VersionContent]] = []
    for entry in store.entries(SEGMENTS):
        since = refused_since(store, entry.name) if entry.kind == "folder" else None
        if since is not None:
            try:
                commit = commits.read_unpublished(store, refused_key(entry.name))
            except FileNotFoundError:
                if refused_since(store, entry.name) is None:
                    continue  # somebody else has just committed it
                raise  # a store that answers wrongly for a moment
            content = replace(VersionContent.of(commit), added=commit.segments[0].added)
            found.append((since, content))
    return [content for _, content in sorted(found, key=lambda each: each[0])]


def revise(base: Base, content: VersionContent) -> VersionContent:
    """Append a segment that was refused to what is there now."""
    segment = OpenSegment(base.store, content.segments[0])
    metadata = segment.metadata()
    dtypes = [segment.spec.arrays[block.values.array].dtype for block in segment.spec.blocks]
    addition = Addition(segment.keys(), metadata, dtypes, content.info, content.fill)
    append = Append(partial(require_appendable, addition=addition), content.fill)
    if base.commit is not None:
        append.begin(base.commit)
    return append.revise(base, content)
