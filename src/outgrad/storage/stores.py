"""The store of a location."""

from __future__ import annotations

from pathlib import Path

from outgrad.storage.local_store import LocalStore
from outgrad.storage.store import Store


def open_store(name: str | Path) -> Store:
    """Open a store by the name that it gives itself."""
    return LocalStore(name)
