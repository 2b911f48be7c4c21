"""Storage: Zarr archives and metatensor's own files. The only room that knows Zarr."""

from outgrad.labels.labels import Labels
from outgrad.labels.saving import REGISTERED
from outgrad.storage.api import clean, open, save, save_all, verify
from outgrad.storage.archive_writer import ArchiveWriter
from outgrad.storage.buffers import (
    load_block_buffer,
    load_buffer,
    load_labels_buffer,
    load_map_buffer,
    save_buffer,
)
from outgrad.storage.loading import load, load_block, load_labels, load_map
from outgrad.storage.save_plan import Store, commit_all, execute, merged, plan_save, removed_on_failure
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

REGISTERED.update(
    {
        **{(kind, "save"): save for kind in (TensorMap, TensorBlock, Labels)},
        **{(kind, "save_buffer"): save_buffer for kind in (TensorMap, TensorBlock, Labels)},
        (TensorMap, "load"): load_map,
        (TensorMap, "load_buffer"): load_map_buffer,
        (TensorBlock, "load"): load_block,
        (TensorBlock, "load_buffer"): load_block_buffer,
        (Labels, "load"): load_labels,
        (Labels, "load_buffer"): load_labels_buffer,
    }
)

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
