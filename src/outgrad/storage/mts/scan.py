"""Where the arrays of ``.mts`` files lie, so that an archive can refer to them without copying them.

Labels are read, since an archive has its own; values are not.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from outgrad.data.metadata import BlockMetadata
from outgrad.labels.labels import Labels
from outgrad.storage.mts.description import MtsDescription, SharedLabels, is_labels, warn_of_unread
from outgrad.storage.mts.file import Limits, MtsFile, MtsPart, MtsSource, file_error
from outgrad.storage.mts.members import StoredArray
from outgrad.storage.mts.names import FileKind
from outgrad.storage.mts.zip import STORED
from outgrad.tree import Tree, fold

CONVERT = "convert it first: outgrad convert FILE NEW.mts"
BATCH_FILES = 64
"""What a worker scans at a time: its answer has the tables that these files share once."""
BATCHES_AHEAD = 8
"""Batches under way or not yet asked for, which bounds memory."""


@dataclass(frozen=True, slots=True)
class MtsWindow:
    """All of a file, or those of its bytes that are an ``.mts`` file.

    Without ``nbytes`` they reach to the end of the file. ``entry`` is what they are called in it. The path is
    taken as it is: an absolute one has a meaning in other processes too.
    """

    path: str
    start: int = 0
    nbytes: int | None = None
    entry: str = ""


AnySource = str | os.PathLike[str] | MtsWindow


@dataclass(frozen=True, slots=True)
class PlacedArray(Tree):
    """Where the values of a block are, and the same for each gradient; offsets count from the file's start.

    The ``nbytes`` at ``offset`` are the elements, in C order and little-endian. They end a member of the ZIP
    file, the ``member_bytes`` at ``member_offset``, which has an ``.npy`` header before them. ``crc`` is the
    CRC-32 of the whole member.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    member: str
    member_offset: int
    member_bytes: int
    crc: int
    gradients: dict[str, PlacedArray]

    def __reduce__(self) -> tuple[Any, ...]:
        # Thousands travel between processes: Python's own way for frozen classes takes three times as long.
        return PlacedArray, (
            self.dtype, self.shape, self.offset, self.nbytes, self.member, self.member_offset,
            self.member_bytes, self.crc, self.gradients,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScannedMts:
    """What an archive needs to know of a file in order to refer to its arrays.

    ``keys``, ``metadata`` and ``arrays`` have one entry for each block; the keys of a single block are
    ``Labels.single()``. Equal label tables, of files that were scanned after each other too, are one object.
    ``file_bytes`` and ``modified_ns`` are the size and the time of the last change of the whole file, and
    ``unread`` the names of members that belong to nothing.
    """

    window: MtsWindow
    file_bytes: int
    modified_ns: int
    kind: FileKind
    info: dict[str, str]
    keys: Labels
    metadata: tuple[BlockMetadata, ...]
    arrays: tuple[PlacedArray, ...]
    unread: tuple[str, ...]


class MtsScanner:
    """Scans files one after the other; the label tables that they have in common are made once."""

    def __init__(self) -> None:
        self._shared = SharedLabels()
        self._file: MtsFile | None = None

    def scan(self, source: AnySource) -> ScannedMts:
        """Read the labels of a file, and find its arrays.

        Parameters
        ----------
        source : path or MtsWindow
            An ``.mts`` or ``.npz`` file of a map or a block.

        Returns
        -------
        ScannedMts
            Labels, and where the arrays are.

        Raises
        ------
        ArchiveNotFoundError
            If there is no such file.
        FileFormatError
            If the file breaks its format, or has arrays that cannot be referred to: compressed, in
            column-major order or big-endian.
        DamagedArchiveError
            If the file was changed meanwhile.
        """
        window = source if isinstance(source, MtsWindow) else MtsWindow(os.path.abspath(source))  # noqa: PTH100
        if self._file is None or self._file.path != window.path:
            self._file = MtsFile(window.path)  # a data set has thousands of parts in one file
        file = self._file
        part: MtsSource = file
        if window.entry or window.start or window.nbytes is not None:
            nbytes = file.size - window.start if window.nbytes is None else window.nbytes
            part = MtsPart(file, window.start, nbytes, window.entry)
        if is_labels(part):
            raise file_error(
                part.where(), "it holds labels, and no arrays to refer to", "leave it out, or load it"
            )
        description = MtsDescription(part, Limits(), self._shared)
        for name, member in description.members.items():
            if member.method != STORED:
                raise file_error(part.where(name), "it is compressed, and cannot be referred to", CONVERT)
        keys, info, metadata = description.described()
        arrays = [
            fold(lambda stored, below: _placed(part, stored.values, window.start, below), block)
            for block in map(description.block, range(len(keys)))
        ]
        file.require_unchanged()
        return ScannedMts(
            window, file.size, file.modified_ns, description.kind, info, keys, metadata, tuple(arrays),
            description.unread(),
        )  # fmt: skip


def _placed(
    file: MtsSource, stored: StoredArray, start: int, gradients: dict[str, PlacedArray]
) -> PlacedArray:
    """Describe an array, if its bytes are its elements as they are in the memory of most machines."""
    member, header = stored.member, stored.header
    if header.fortran_order:
        reason = "it is in column-major order, and cannot be referred to"
        raise file_error(file.where(member.name), reason, CONVERT)
    if header.dtype != header.dtype.newbyteorder("<"):
        raise file_error(file.where(member.name), "it is big-endian, and cannot be referred to", CONVERT)
    return PlacedArray(
        header.dtype,
        header.shape,
        start + member.start + header.nbytes,
        member.nbytes - header.nbytes,
        sys.intern(member.name),
        start + member.start,
        member.nbytes,
        member.crc,
        gradients,
    )


def scan_all(sources: Iterable[AnySource], executor: Executor | None = None) -> Iterator[ScannedMts]:
    """Scan many files, in their order; memory does not depend on how many they are.

    Most of the time is taken by Python itself, so threads gain nothing where the files are in memory already;
    they help where the disk or the network has to be waited for. Processes need a second to start, and a
    quarter of the time of scanning to hand over what they found: they pay for tens of thousands of files of
    many blocks.

    Parameters
    ----------
    sources : iterable of path or MtsWindow
        The files.
    executor : Executor, optional
        What scans batches of them ahead, such as a ``ProcessPoolExecutor`` or ``Client.get_executor()``.
        Tables are then shared by the files of a batch only.

    Yields
    ------
    ScannedMts
        One for each file.

    Raises
    ------
    ArchiveError
        For the first file that cannot be used: see :meth:`MtsScanner.scan`.
    """
    for scanned in _in_turn(sources) if executor is None else _in_batches(sources, executor):
        warn_of_unread(scanned.window.path, scanned.unread)
        yield scanned


def _in_turn(sources: Iterable[AnySource]) -> Iterator[ScannedMts]:
    scanner = MtsScanner()
    return map(scanner.scan, sources)


def _in_batches(sources: Iterable[AnySource], executor: Executor) -> Iterator[ScannedMts]:
    remaining = iter(sources)
    batches = iter(lambda: list(islice(remaining, BATCH_FILES)), [])
    waiting: deque[Future[list[ScannedMts]]] = deque()
    try:
        for batch in islice(batches, BATCHES_AHEAD):
            waiting.append(executor.submit(_scan_batch, batch))
        while waiting:
            yield from waiting.popleft().result()
            waiting.extend(executor.submit(_scan_batch, batch) for batch in islice(batches, 1))
    finally:
        for future in waiting:
            future.cancel()


def _scan_batch(sources: list[AnySource]) -> list[ScannedMts]:
    return list(_in_turn(sources))
