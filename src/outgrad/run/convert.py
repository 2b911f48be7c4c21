"""Convert between archives and metatensor's files."""

from __future__ import annotations

from pathlib import Path

from outgrad.archive import open as open_path
from outgrad.archive import save


def convert(source: str | Path, target: str | Path, *, overwrite: bool = False) -> None:
    """Write what is at ``source`` to ``target``, chunk by chunk; the suffixes choose the formats.

    Parameters
    ----------
    source, target
        A ``.zarr`` archive, or a ``.mts`` or ``.npz`` file.
    overwrite
        Replace what is at ``target``; it stays until the new file is whole.

    Raises
    ------
    ArchiveError
        If ``source`` cannot be opened, ``target`` exists, or a suffix names no format.
    """
    save(target, open_path(source), overwrite=overwrite)
