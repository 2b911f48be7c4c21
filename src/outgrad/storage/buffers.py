"""Maps, blocks and labels as the bytes of an ``.mts`` file, in memory or through an open file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar

import dask

from outgrad._foreign import kind_of
from outgrad.engine.content import InMemory, without_tables
from outgrad.errors import ArchiveError
from outgrad.labels.labels import Labels
from outgrad.storage.mts.file import COPY_BYTES
from outgrad.storage.mts.reader import read_mts
from outgrad.storage.save_plan import Savable, execute, plan_save, require_data
from outgrad.tensor.block import TensorBlock
from outgrad.tensor.map import TensorMap

Buffer = bytes | bytearray | memoryview
Loaded = TypeVar("Loaded", TensorMap, TensorBlock, Labels)

LOADERS: dict[type, str] = {TensorMap: "load", TensorBlock: "load_block", Labels: "load_labels"}
"""The function that reads each kind; with ``_buffer`` from memory."""


def load_buffer(buffer: Buffer, use_numpy: bool = False) -> Any:
    """Read a map, a block or labels from the bytes of an ``.mts`` file.

    Parameters
    ----------
    buffer : bytes, bytearray or memoryview
        What :func:`save_buffer` returned, or the content of a file.
    use_numpy : bool
        Has no effect; metatensor has two readers.

    Returns
    -------
    TensorMap, TensorBlock or Labels
        What was saved; it does not share memory with the buffer.

    Raises
    ------
    FileFormatError
        If the bytes break the format; the message names the member.
    TypeError
        If ``buffer`` does not hold bytes.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> block = og.block_from_array(np.ones((1, 2)))
    >>> buffer = og.io.save_buffer(og.TensorMap(og.Labels.single(), [block]))
    >>> og.io.load_buffer(buffer).block().values
    array([[1., 1.]])
    """
    saved = read_mts(buffer)
    if saved.kind == "labels":
        return saved.keys
    content = InMemory(saved.metadata, tuple(map(without_tables, saved.chunks)))
    if saved.kind == "block":
        return TensorBlock._of(content)
    return TensorMap._of(saved.keys, content, saved.info)


def load_block_buffer(buffer: Buffer, use_numpy: bool = False) -> TensorBlock:
    """Read a block from the bytes of an ``.mts`` file: see :func:`load_buffer`.

    Parameters
    ----------
    buffer : bytes, bytearray or memoryview
        What :func:`save_buffer` returned for a block.
    use_numpy : bool
        Has no effect.

    Returns
    -------
    TensorBlock
        The block.

    Raises
    ------
    ArchiveError
        If the bytes are those of a map or of labels.

    Examples
    --------
    >>> import numpy as np, outgrad as og
    >>> buffer = og.io.save_buffer(og.block_from_array(np.ones((1, 2))))
    >>> og.io.load_block_buffer(buffer).shape
    (1, 2)
    """
    return expect(TensorBlock, load_buffer(buffer), "buffer", "_buffer")


def load_labels_buffer(buffer: Buffer) -> Labels:
    """Read labels from the bytes of an ``.mts`` file: see :func:`load_buffer`.

    Parameters
    ----------
    buffer : bytes, bytearray or memoryview
        What :func:`save_buffer` returned for labels.

    Returns
    -------
    Labels
        The labels.

    Raises
    ------
    ArchiveError
        If the bytes are those of a map or of a block.

    Examples
    --------
    >>> import outgrad as og
    >>> len(og.io.load_labels_buffer(og.io.save_buffer(og.Labels.range("n", 3))))
    3
    """
    return expect(Labels, load_buffer(buffer), "buffer", "_buffer")


def load_map_buffer(buffer: Buffer) -> TensorMap:
    """Read a map, and nothing else, from the bytes of an ``.mts`` file."""
    return expect(TensorMap, load_buffer(buffer), "buffer", "_buffer")


def save_buffer(data: Savable, use_numpy: bool = False) -> memoryview:
    """Return a map, a block or labels as the bytes of an ``.mts`` file.

    The bytes are written to a temporary file first, as :func:`save` does; lazy data are computed by threads.

    Parameters
    ----------
    data : TensorMap, TensorBlock or Labels
        What to write.
    use_numpy : bool
        Has no effect; metatensor has two writers.

    Returns
    -------
    memoryview
        The bytes, read-only.

    Raises
    ------
    FileFormatError
        If the format cannot hold the names or types.

    Examples
    --------
    >>> import outgrad as og
    >>> bytes(og.io.save_buffer(og.Labels.range("n", 3))[:6])
    b'\\x93NUMPY'
    """
    with _temporary_file("save_buffer", data) as path:
        return memoryview(path.read_bytes())


def write_stream(stream: BinaryIO, data: Savable) -> None:
    """Write to a file that the caller has opened, a piece at a time."""
    with _temporary_file("save", data) as path, path.open("rb") as source:
        shutil.copyfileobj(source, stream, COPY_BYTES)


def read_stream(stream: BinaryIO) -> Any:
    """Read all of a file that the caller has opened."""
    content: Any = stream.read()
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"load: the file gave {kind_of(content)} instead of bytes; open it with open(path, 'rb')"
        )
    return load_buffer(content)


def expect(kind: type[Loaded], data: Any, source: str, form: str = "") -> Loaded:
    """Return data if they are of the kind asked for; else say which function reads them."""
    if isinstance(data, kind):
        return data
    other = type(data)
    # metatensor's words, as far as they go
    raise ArchiveError(
        f"unable to load a {kind.__name__} from {source}, "
        f"use `{LOADERS[other]}{form}` to load {other.__name__}, which is there"
    )


@contextmanager
def _temporary_file(call: str, data: Savable) -> Iterator[Path]:
    """Write a temporary file: tasks write rows in place, which neither memory nor a stream offers."""
    require_data(call, data)
    with TemporaryDirectory(prefix="outgrad-") as folder:
        path = Path(folder) / "data.mts"
        with dask.config.set(scheduler="threads"):  # other machines do not see the file
            execute([plan_save(path, data, durable=False)])
        yield path
