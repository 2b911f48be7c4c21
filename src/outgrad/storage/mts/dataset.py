"""Data sets of metatrain: a ZIP file whose members ``<i>/<target>.mts`` are ``.npy`` files of ``.mts`` files.

Beside them are the systems, ``<i>/system.mta``, and a summary in ``metadata/``, which are left alone.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, final, overload

import numpy as np
import numpy.typing as npt

from outgrad.storage.mts.file import MtsFile, file_error
from outgrad.storage.mts.members import MemberBytes, open_array
from outgrad.storage.mts.scan import MtsWindow
from outgrad.storage.mts.zip import (
    LOCAL,
    STORED,
    TWICE,
    directory_entries,
    find_end,
    overlapping,
    require_readable,
    with_start,
)

ENTRY = re.compile(r"(0|[1-9]\d{0,8})/([^/]+)\.mts", re.DOTALL)
"""Numbers of systems are labels: they fit into 32 bits."""

Integers = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class DatasetEntries(Sequence[MtsWindow]):
    """The ``.mts`` files in a data set, in the order of its directory, some tens of bytes each.

    ``systems`` are the numbers i of the entries, and ``targets`` the positions of their names in ``names``.
    """

    path: str
    names: tuple[str, ...]
    systems: Integers
    targets: Integers
    starts: Integers
    nbytes: Integers

    def __len__(self) -> int:
        return len(self.systems)

    @overload
    def __getitem__(self, index: int) -> MtsWindow: ...

    @overload
    def __getitem__(self, index: slice) -> DatasetEntries: ...

    def __getitem__(self, index: int | slice) -> MtsWindow | DatasetEntries:
        if isinstance(index, slice):
            return self._taken(index)
        entry = f"{self.systems[index]}/{self.names[self.targets[index]]}.mts"
        return MtsWindow(self.path, int(self.starts[index]), int(self.nbytes[index]), entry)

    def __iter__(self) -> Iterator[MtsWindow]:
        return map(self.__getitem__, range(len(self)))

    def of(self, target: str) -> DatasetEntries:
        """Return the entries of one target, in the order of the systems; none if there is no such target."""
        chosen = np.flatnonzero(self.targets == (self.names.index(target) if target in self.names else -1))
        return self._taken(chosen[np.argsort(self.systems[chosen])])

    def _taken(self, rows: Any) -> DatasetEntries:
        return DatasetEntries(
            self.path,
            self.names,
            self.systems[rows],
            self.targets[rows],
            self.starts[rows],
            self.nbytes[rows],
        )


def dataset_entries(path: str | os.PathLike[str]) -> DatasetEntries:
    """List the ``.mts`` files in a data set of metatrain; their headers are read, and nothing else.

    Parameters
    ----------
    path : path
        A ZIP file of any number of entries.

    Returns
    -------
    DatasetEntries
        A sequence of windows, to be scanned.

    Raises
    ------
    ArchiveNotFoundError
        If there is no such file.
    FileFormatError
        If the ZIP file breaks a rule or has no entries, or if an entry is compressed, is there twice, or
        does not hold bytes.
    DamagedArchiveError
        If the file was changed meanwhile.
    """
    file = MtsFile(os.path.abspath(path))  # noqa: PTH100
    source, end = MemberBytes(file), find_end(file)
    names: dict[str, int] = {}
    # Of all members where they start and end at least; of entries the columns of the result.
    extents, columns = array("q"), array("q")
    for stored_name, member in directory_entries(file, end):
        match = ENTRY.fullmatch(member.name)
        start = member.header_offset + LOCAL.size + len(stored_name)
        if match:
            require_readable(file, member)
            if member.method != STORED:
                reason = "it is compressed, and cannot be referred to"
                raise file_error(
                    file.where(member.name), reason, "make the ZIP file again, without compression"
                )
            member = with_start(file, stored_name, member)
            header = open_array(source, member).header
            if header.dtype != np.uint8 or len(header.shape) != 1:
                reason = f"an entry of a data set holds bytes, found shape {header.shape} of {header.dtype}"
                raise file_error(file.where(member.name), reason)
            start = member.start
            target = names.setdefault(match[2], len(names))
            columns.extend((int(match[1]), target, start + header.nbytes, header.data_bytes))
        if start + member.compressed_bytes > end.offset:
            raise overlapping(file, member.name, end.offset)
        extents.extend((member.header_offset, start + member.compressed_bytes))
    if not columns:
        raise file_error(
            file.where(), "it has no member '0/….mts', as data sets of metatrain have", "check the path"
        )
    systems, targets, starts, nbytes = np.array(columns, dtype=np.int64).reshape(-1, 4).T
    entries = DatasetEntries(file.path, tuple(names), systems, targets, starts, nbytes)
    ends = np.array(extents, dtype=np.int64).reshape(-1, 2)
    order = np.argsort(ends[:, 0], kind="stable")
    overlap = np.flatnonzero(ends[order[:-1], 1] > ends[order[1:], 0])
    if len(overlap):
        first, second = order[overlap[0] : overlap[0] + 2].tolist()
        _, member = next(islice(directory_entries(file, find_end(file)), first, None))
        raise overlapping(file, member.name, int(ends[second, 0]))
    numbers = entries.systems * len(entries.names) + entries.targets
    order = np.argsort(numbers, kind="stable")
    twice = np.flatnonzero(np.diff(numbers[order]) == 0)
    if len(twice):
        raise file_error(file.where(entries[int(order[twice[0]])].entry), TWICE)
    file.require_unchanged()
    return entries
