"""Segments that are complete and that no commit names, because the archive was not what they were made for.

``refused.json`` in such a segment has all that a commit needs: it can be committed later, without computing
its data again.
"""

from __future__ import annotations

from outgrad.storage.store import Store
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import SEGMENTS
from outgrad.storage.zarr.leftovers import REFUSED
from outgrad.storage.zarr.revision import VersionContent

KEPT_ADVICE = "the data are kept in {folder}: `outgrad commit {name}` adds them without computing them again"


def refused_key(name: str) -> str:
    """Where what is known of a refused segment is."""
    return f"{SEGMENTS}/{name}/{REFUSED}"


def keep(store: Store, content: VersionContent, *, durable: bool) -> None:
    """Note all that is needed to commit a segment later."""
    (segment,) = content.segments
    store.put(refused_key(segment.name), commits.commit_bytes(content.commit()), durable=durable)
