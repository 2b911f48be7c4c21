"""Archives in buckets, below the functions that users call: what is in one, and copies of it."""

from __future__ import annotations

from typing import Any

from outgrad.storage import stores
from outgrad.storage.zarr.commits import versions


def objects(url: str) -> dict[str, bytes]:
    """All objects whose names begin with a URL, by the rest of their names."""
    store = stores.open_store(url)
    return {key: bytes(found) for key, _ in store.walk("") if (found := store.get(key)) is not None}


def copy(content: dict[str, bytes], url: str) -> str:
    """Put objects at another URL."""
    store = stores.open_store(url)
    for key, data in content.items():
        store.put(key, data)
    return url


def segments(url: str) -> int:
    return sum(entry.kind == "folder" for entry in stores.open_store(url).entries("segments"))


def partials(url: str) -> list[str]:
    """What unfinished writers have left."""
    return [key for key, _ in stores.open_store(url).walk("") if key.endswith(".partial")]


def numbers(url: str) -> list[int]:
    return versions(stores.open_store(url))


def remove(url: str, *keys: str) -> None:
    for key in keys:
        stores.open_store(url).remove(key)


def chunk_keys(url: str, array: str) -> Any:
    """The names of the shards of an array."""
    return sorted(key for key in objects(url) if f"/{array}/c." in f"/{key}")
