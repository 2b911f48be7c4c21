"""Segments that are complete and that no commit names, because the archive was not what they were made for.

``refused.json`` in such a segment has all that a commit needs: it can be committed later, without computing
its data again.
"""

from __future__ import annotations

from functools import partial

from outgrad.storage.store import Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.appendable import Addition, require_appendable
from outgrad.storage.zarr.changes import Append
from outgrad.storage.zarr.format import SEGMENTS, Commit
from outgrad.storage.zarr.leftovers import REFUSED
from outgrad.storage.zarr.opened_segment import OpenSegment
from outgrad.storage.zarr.revision import Base, Content

ADVICE = "the data are kept in {folder}: `outgrad commit {name}` adds them without computing them again"


def refused_key(name: str) -> str:
    """Where what is known of a refused segment is."""
    return f"{SEGMENTS}/{name}/{REFUSED}"


def keep(store: Store, content: Content, *, durable: bool) -> None:
    """Note all that is needed to commit a segment later."""
    (segment,) = content.segments
    commit = Commit(
        version=0,
        kind=content.kind,
        writer="",
        created="",
        software=commits.SOFTWARE,
        info=content.info,
        provenance=content.provenance,
        segments=content.segments,
        added=content.added,
        fill=content.fill,
    )
    store.put(refused_key(segment.name), commits.commit_bytes(commit), durable=durable)


def kept(store: Store) -> list[Content]:
    """Segments that may be committed, the oldest first."""
    found: list[tuple[float, Content]] = []
    for entry in store.entries(SEGMENTS):
        key = refused_key(entry.name)
        if entry.kind == "folder" and store.exists(key):
            commit = commits.read_refused(store, key)
            content = Content(
                action="append",
                kind=commit.kind,
                info=commit.info,
                provenance=commit.provenance,
                segments=commit.segments,
                added=commit.segments[0].added,
                fill=commit.fill,
            )
            found.append((entry.modified, content))
    return [content for _, content in sorted(found, key=lambda each: each[0])]


def revise(base: Base, content: Content) -> Content:
    """Append a segment that was refused to what is there now."""
    segment = OpenSegment(base.store, content.segments[0], lambda: None)
    metadata = segment.metadata()
    dtypes = [segment.spec.arrays[block.values.array].dtype for block in segment.spec.blocks]
    addition = Addition(segment.keys(), metadata, dtypes, content.info, content.fill)
    append = Append(partial(require_appendable, addition=addition), content.fill)
    append.begin(base.version)
    return append.revise(base, content)
