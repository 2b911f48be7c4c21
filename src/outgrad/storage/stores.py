"""The store of a location."""

from __future__ import annotations

from outgrad.storage.local_store import LocalStore
from outgrad.storage.object_store import ObjectStore
from outgrad.storage.store import Store
from outgrad.storage.urls import Location, StoreUrl, is_store_url, store_url


def open_store(location: str | Location) -> Store:
    """Open a store, also by the name that it gives itself; nothing is asked of it yet."""
    if isinstance(location, str) and is_store_url(location):
        location = store_url("open", location)
    return ObjectStore(location) if isinstance(location, StoreUrl) else LocalStore(location)
