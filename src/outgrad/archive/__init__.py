"""Storage: Zarr archives and metatensor's own files. The only room that knows Zarr."""

from outgrad.archive.api import load, open, save, save_all, verify
from outgrad.archive.store import Store, commit_all, execute, merged, plan_save
from outgrad.archive.streaming import ArchiveWriter

__all__ = [
    "ArchiveWriter",
    "Store",
    "commit_all",
    "execute",
    "load",
    "merged",
    "open",
    "plan_save",
    "save",
    "save_all",
    "verify",
]
