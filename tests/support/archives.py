"""Archives by their path, below the functions that users call."""

from __future__ import annotations

from pathlib import Path

from outgrad.storage.local_store import LocalStore
from outgrad.storage.zarr import reader, verify


def open_archive(path: str | Path) -> reader.Opened:
    return reader.open_archive(LocalStore(path))


def verify_archive(path: str | Path) -> list[verify.Damage]:
    return verify.verify_archive(LocalStore(path))
