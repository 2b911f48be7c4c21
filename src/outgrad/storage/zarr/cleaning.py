"""Removing what is left over at a path, step by step: commits first, then what only they named."""

from __future__ import annotations

import json
from contextlib import suppress

from outgrad.storage.store import Store, UnreadableError
from outgrad.storage.stores import open_store
from outgrad.storage.urls import Location, StoreUrl
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.leftovers import KeptVersions, LeftOver, left_over
from outgrad.storage.zarr.root import refresh_root


def clean_up(location: Location, kept: KeptVersions) -> list[LeftOver]:
    """Remove what killed writers have left, and versions that are not kept; return what was removed.

    Other writers may be at work. What is about to be removed is looked for again once the commits are gone:
    from then on nobody can begin to use it.
    """
    found = left_over(location, kept)
    versions = [each for each in found if each.is_version]
    for each in versions:
        each.remove()
    others = [each for each in found if not each.is_version]
    if versions:
        still = {each.key for each in left_over(location, kept)}
        others = [each for each in others if each.key in still]
    for each in others:
        each.remove()
    if isinstance(location, StoreUrl) or location.is_dir():
        _refresh_root(open_store(location), has_removed=bool(versions))
    return [*versions, *others]


def _refresh_root(store: Store, *, has_removed: bool) -> None:
    """Write the summary in the root again if versions are gone, now or before, whose segments it may name."""
    listed = commits.versions(store)
    with suppress(UnreadableError, ValueError, TypeError, KeyError):
        raw = store.get("zarr.json", commits.MOST_ROOT_BYTES)
        about = {} if raw is None else json.loads(raw.tobytes())["attributes"]["outgrad"]
        if listed and "version" in about and (has_removed or about["version"] not in listed):
            refresh_root(store, listed[-1], durable=False)
