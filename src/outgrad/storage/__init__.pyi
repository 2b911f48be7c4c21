"""Storage: Zarr archives and metatensor's own files. The only room that knows Zarr."""

from .api import append as append
from .api import clean as clean
from .api import open as open
from .api import save as save
from .api import save_all as save_all
from .api import verify as verify
from .archive_writer import ArchiveWriter as ArchiveWriter
from .buffers import load_block_buffer as load_block_buffer
from .buffers import load_buffer as load_buffer
from .buffers import load_labels_buffer as load_labels_buffer
from .buffers import save_buffer as save_buffer
from .loading import load as load
from .loading import load_block as load_block
from .loading import load_labels as load_labels
from .save_plan import PlannedSave as PlannedSave
from .save_plan import commit_all as commit_all
from .save_plan import execute as execute
from .save_plan import merged_graph as merged_graph
from .save_plan import plan_save as plan_save
from .save_plan import removed_on_failure as removed_on_failure
from .versions import ArchiveVersion as ArchiveVersion
from .versions import commit as commit
from .versions import compact as compact
from .versions import history as history
from .versions import restore as restore
