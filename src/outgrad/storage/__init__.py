"""Storage: Zarr archives and metatensor's own files. The only room that knows Zarr."""

from outgrad.storage.api import clean, open, save, save_all, verify
from outgrad.storage.archive_writer import ArchiveWriter
from outgrad.storage.buffers import (
    load_block_buffer,
    load_buffer,
    load_labels_buffer,
    save_buffer,
)
from outgrad.storage.loading import load, load_block, load_labels
from outgrad.storage.save_plan import Store, commit_all, execute, merged, plan_save, removed_on_failure

__all__ = [
    "ArchiveWriter",
    "Store",
    "clean",
    "commit_all",
    "execute",
    "load",
    "load_block",
    "load_block_buffer",
    "load_buffer",
    "load_labels",
    "load_labels_buffer",
    "merged",
    "open",
    "plan_save",
    "removed_on_failure",
    "save",
    "save_all",
    "save_buffer",
    "verify",
]
