"""Reading into memory, from a path or an open file: any kind of data, or one kind only."""

from __future__ import annotations

from os import PathLike
from typing import Any, BinaryIO

import dask

from outgrad.labels.labels import Labels
from outgrad.storage.api import open
from outgrad.storage.buffers import Loaded, expect, read_stream
from outgrad.storage.memory import require_memory
from outgrad.storage.paths import is_stream
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

File = str | PathLike[str] | BinaryIO


def load(file: File, use_numpy: bool = False) -> Any:
    """Load a map, a block or labels into memory, with NumPy arrays as values.

    Parameters
    ----------
    file : str, Path or binary file
        A ``.zarr`` archive, a ``.mts`` or ``.npz`` file, or such a file that is open for reading.
    use_numpy : bool
        Has no effect; metatensor has two readers.

    Returns
    -------
    TensorMap, TensorBlock or Labels
        What was saved.

    Raises
    ------
    ArchiveNotFoundError
        If there is nothing at the path.
    ArchiveError
        If it is not an archive, or one that is unfinished, corrupted, or of a newer format version.
    MemoryLimitError
        If it is larger than the free memory; :func:`open` it instead.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("block.mts", og.block_from_array(np.ones((1, 2))))
    >>> og.load("block.mts").values
    array([[1., 1.]])
    """
    return _in_memory(_opened(file))


def load_block(file: File, use_numpy: bool = False) -> TensorBlock:
    """Load a block: as :func:`load`, for blocks only.

    Parameters
    ----------
    file : str, Path or binary file
        A saved block.
    use_numpy : bool
        Has no effect.

    Returns
    -------
    TensorBlock
        The block.

    Raises
    ------
    ArchiveError
        If it is a map or labels; the message names the function that reads it.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> og.save("ones.mts", og.block_from_array(np.ones((1, 2))))
    >>> og.load_block("ones.mts").shape
    (1, 2)
    """
    return _load(TensorBlock, file)


def load_labels(file: File) -> Labels:
    """Load labels: as :func:`load`, for labels only.

    Parameters
    ----------
    file : str, Path or binary file
        Saved labels.

    Returns
    -------
    Labels
        The labels.

    Raises
    ------
    ArchiveError
        If it is a map or a block; the message names the function that reads it.

    Examples
    --------
    >>> import outgrad as og
    >>> og.save("n.mts", og.Labels.range("n", 3))
    >>> len(og.load_labels("n.mts"))
    3
    """
    return _load(Labels, file)


def load_map(file: File) -> TensorMap:
    """Load a map, and nothing else."""
    return _load(TensorMap, file)


def _load(kind: type[Loaded], file: File) -> Loaded:
    source = "a file" if is_stream(file, "read") else repr(str(file))
    return _in_memory(expect(kind, _opened(file), source))  # type: ignore[no-any-return]


def _opened(file: Any) -> Any:
    if is_stream(file, "read"):
        return read_stream(file)
    opened = open(file)
    if not isinstance(opened, Labels):
        require_memory("load", repr(str(file)), opened.nbytes)
    return opened


def _in_memory(opened: Any) -> Any:
    """Read labels too: what was loaded does not need its file any more."""
    if isinstance(opened, Labels):
        _ = opened.values
        return opened
    for block in opened._blocks().metadata:
        for _, metadata in block.walk():
            for labels in (metadata.samples, *metadata.components, metadata.properties):
                _ = labels.values
    with dask.config.set(scheduler="threads"):  # through workers the data would travel twice
        return opened.compute()
