"""Removing what is left over at a path, step by step: commits first, then what only they named."""

from __future__ import annotations

from outgrad.storage.stores import open_store
from outgrad.storage.urls import Location, StoreUrl
from outgrad.storage.zarr.leftovers import KeptVersions, LeftOver, left_over
from outgrad.storage.zarr.root import refresh_stale_root


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
        refresh_stale_root(open_store(location), has_removed=bool(versions))
    return [*versions, *others]
