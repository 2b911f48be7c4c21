"""Saving and opening archives and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask

from outgrad.archive.mts_read import open_mts, verify_mts
from outgrad.archive.mts_write import write_labels
from outgrad.archive.read import open_archive
from outgrad.archive.spec import DEFAULT_COMPRESSOR
from outgrad.archive.store import ZARR_SUFFIX, check_suffix, execute, plan_save
from outgrad.archive.verify import verify as verify_archive
from outgrad.archive.write import ZarrWriter
from outgrad.config import chunk_bytes
from outgrad.errors import ArchiveNotFoundError
from outgrad.labels import Labels
from outgrad.lazy import read_blocks
from outgrad.plan.chunks import coarsen, pack
from outgrad.tensor import TensorBlock, TensorMap
from outgrad.tensor.blocks import Blocks

Data = TensorMap | TensorBlock | Labels


def save(
    path: str | Path,
    data: Data,
    *,
    overwrite: bool = False,
    compressor: str = DEFAULT_COMPRESSOR,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a map, a block or labels; lazy data are computed chunk by chunk on the way.

    With a ``distributed.Client`` the tasks run on its workers, which must see the same path. The result
    appears when it is whole: if anything fails, what was at ``path`` before is still there.

    Parameters
    ----------
    path : str or Path
        ``.zarr`` for an archive; ``.mts`` or ``.npz`` for metatensor's own file.
    data : TensorMap, TensorBlock or Labels
        What to write.
    overwrite : bool
        Replace what is at ``path``; it stays readable until the new data are whole.
    compressor : {"lz4", "zstd", "none"}
        How the chunks of an archive are compressed.
    provenance : dict, optional
        How the data were made: anything that JSON holds, kept in the archive.

    Raises
    ------
    ArchiveExistsError
        If ``path`` exists and ``overwrite`` is not set.
    ArchiveError
        If the suffix names no format, or ``path`` is a directory that is no archive.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.save("ones.zarr", block)
    >>> og.open("ones.zarr").values.compute()
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    if isinstance(data, Labels):
        _save_labels(Path(path), data, overwrite)
        return
    if not isinstance(data, (TensorMap, TensorBlock)):
        raise TypeError(
            f"save: data must be a TensorMap, a TensorBlock or Labels, got {type(data).__name__}; "
            "the path comes first"
        )
    plan = plan_save(path, data, overwrite=overwrite, compressor=compressor, provenance=provenance)
    execute([plan])


def save_all(outputs: Mapping[str | Path, TensorMap | TensorBlock], *, overwrite: bool = False) -> None:
    """Write several maps or blocks in one computation: what they have in common is computed once.

    Parameters
    ----------
    outputs : mapping of path to TensorMap or TensorBlock
        What to write where; see :func:`save`.
    overwrite : bool
        Replace what is at these paths.

    Raises
    ------
    ArchiveExistsError
        If a path exists and ``overwrite`` is not set; then nothing is written.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((2, 3)))
    >>> og.save_all({"two.zarr": block * 2, "three.mts": block * 3})
    """
    execute([plan_save(path, data, overwrite=overwrite) for path, data in outputs.items()])


def _save_labels(path: Path, labels: Labels, overwrite: bool) -> None:
    if path.suffix != ZARR_SUFFIX:
        if path.suffix != ".npy":
            check_suffix("save", path)
        write_labels(path, labels, overwrite=overwrite)
        return
    writer = ZarrWriter(path, labels, (), (), overwrite=overwrite, kind="labels")
    try:
        writer.start()
        writer.commit(())
    except BaseException:
        writer.abort()
        raise


def open(path: str | Path, *, target_bytes: int | str | None = None) -> Any:
    """Open a map, a block or labels lazily: only what describes it is read.

    Parameters
    ----------
    path : str or Path
        A ``.zarr`` archive, or a ``.mts`` or ``.npz`` file.
    target_bytes : int or str, optional
        Bytes of values and gradients a task holds, such as ``"64 MiB"``; the default is the configuration
        ``outgrad.chunk-bytes``. Stored chunks of about 8 MiB are merged up to this size; ``chunk`` makes
        smaller ones.

    Returns
    -------
    TensorMap, TensorBlock or Labels
        What was saved, with Dask arrays as values.

    Raises
    ------
    ArchiveNotFoundError
        If there is nothing at ``path``.
    ArchiveError
        If it is no archive, unfinished, damaged, or of a newer format version.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("keys.mts", og.Labels.range("n", 3))
    >>> og.open("keys.mts")["n"]
    array([0, 1, 2], dtype=int32)
    """
    path = Path(path)
    if not path.exists():
        raise ArchiveNotFoundError(f"open {path}: there is nothing at this path")
    opened = open_archive(path) if path.is_dir() else open_mts(path)
    if opened.kind == "labels":
        return opened.keys
    target = chunk_bytes(target_bytes)
    cut = tuple(coarsen(outline, target) for outline in opened.outlines)
    content = Blocks(opened.metadata, read_blocks(opened.reader, cut, pack(cut, target)))
    if opened.kind == "block":
        return TensorBlock._of(content)
    return TensorMap._of(opened.keys, content, opened.info)


def load(path: str | Path) -> Any:
    """Open a map, a block or labels and bring it into memory, with NumPy arrays as values.

    Parameters
    ----------
    path : str or Path
        A ``.zarr`` archive, or a ``.mts`` or ``.npz`` file.

    Returns
    -------
    TensorMap, TensorBlock or Labels
        What was saved.

    Raises
    ------
    ArchiveNotFoundError
        If there is nothing at ``path``.
    ArchiveError
        If it is no archive, unfinished, damaged, or of a newer format version.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("block.mts", og.block_from_array(np.ones((1, 2))))
    >>> og.load("block.mts").values
    array([[1., 1.]])
    """
    opened = open(path)
    if isinstance(opened, Labels):
        return opened
    with dask.config.set(scheduler="threads"):  # through workers the data would travel twice
        return opened.compute()


def verify(path: str | Path) -> list[str]:
    """Read everything at ``path`` and compare it with its checksums, in bounded memory.

    Parameters
    ----------
    path : str or Path
        A ``.zarr`` archive, or a ``.mts`` or ``.npz`` file.

    Returns
    -------
    list of str
        One line for each damaged or missing piece; empty if all is well.

    Raises
    ------
    ArchiveError
        If it cannot be opened at all.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("whole.zarr", og.block_from_array(np.ones((1, 2))))
    >>> og.verify("whole.zarr")
    []
    """
    path = Path(path)
    if not path.exists():
        raise ArchiveNotFoundError(f"verify {path}: there is nothing at this path")
    return [str(problem) for problem in (verify_archive(path) if path.is_dir() else verify_mts(path))]
