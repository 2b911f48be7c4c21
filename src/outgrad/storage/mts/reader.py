"""Open ``.mts`` and ``.npz`` files: labels at once, values when a task asks for their rows."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from outgrad.config import mts_checks
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Request
from outgrad.engine.outlines import automatic
from outgrad.errors import FileFormatError
from outgrad.labels.labels import Labels
from outgrad.storage.memory import require_memory
from outgrad.storage.mts.content import MtsContent, token_of
from outgrad.storage.mts.description import MtsDescription, is_labels, labels_of, warn_of_unread
from outgrad.storage.mts.file import Limits, MtsBytes, MtsFile, MtsSource, changed
from outgrad.storage.mts.members import MemberBytes
from outgrad.storage.mts.names import FileKind, layout_members
from outgrad.storage.mts.zip import STORED, Member, read_directory
from outgrad.storage.open_files import OpenFiles

FINE_BYTES = 8 << 20
"""Size of the chunks as they are cut on opening, that of archives too; a task takes several of them."""
OPEN_FILES = 16
"""How many files a process keeps open."""


@dataclass(frozen=True)
class MtsReader:
    """Reads rows of the blocks of one file in any process; this handle is all that a task carries.

    ``token`` names the content: path, size, time of the last change and checksums of all members. A file
    that has another token when a task opens it is an error.

    ``check_pieces`` says whether a process reads a member to its end before it uses a part of it.
    """

    path: str
    token: str
    check_pieces: bool = True

    @property
    def waiting_bytes(self) -> int:
        """Nothing is asked for in advance."""
        return 0

    def read(self, requests: Sequence[Request]) -> list[Chunk]:
        """Read one chunk for each request.

        Arrays are aligned, in C order and native byte order, and the caller's own. The tables of gradients
        count rows of the values from the start of the chunk. The checksum of an array is compared when a
        request covers all of it, or once in each process before a part of it is read.

        Parameters
        ----------
        requests : sequence of Request
            Row ranges of the values and of every gradient, in the order of the outline.

        Returns
        -------
        list of Chunk
            The chunks, in the order of the requests.

        Raises
        ------
        DamagedArchiveError
            If the file is not the one that was opened.
        FileFormatError
            If the bytes asked for are corrupted.
        """
        content = _contents.get(self, partial(_open_again, self))
        content.file.require_unchanged()
        chunks = [content.chunk(request) for request in requests]
        content.file.require_unchanged()
        return chunks


@dataclass(frozen=True)
class OpenedMts:
    """What is known of a file when it is open: all labels, no values.

    The keys of a single block are ``Labels.single()``. Of a file of labels, ``keys`` are these labels and
    there are no blocks. Chunks of ``outlines`` hold about 8 MiB, and are cut between systems.
    """

    kind: FileKind
    info: dict[str, str]
    keys: Labels
    metadata: tuple[BlockMetadata, ...]
    outlines: tuple[Outline, ...]
    reader: MtsReader


class ReadMts(NamedTuple):
    """All that a file holds: as :class:`OpenedMts`, with one chunk for each block."""

    kind: FileKind
    info: dict[str, str]
    keys: Labels
    metadata: tuple[BlockMetadata, ...]
    chunks: tuple[Chunk, ...]


def open_mts(path: str | os.PathLike[str], limits: Limits | None = None) -> OpenedMts:
    """Open a file that metatensor or Outgrad has written; no values are read.

    Parameters
    ----------
    path : path
        An ``.mts`` or ``.npz`` file of a map, a block or labels, or an ``.npy`` file of labels.
    limits : Limits, optional
        What the file may ask for.

    Returns
    -------
    OpenedMts
        Labels, outlines and a reader.

    Raises
    ------
    ArchiveNotFoundError
        If there is no such file.
    FileFormatError
        If the file breaks its format or the limits; the message names the member.
    """
    file = MtsFile(os.path.abspath(path))  # noqa: PTH100  resolve would follow links, which may be exchanged
    if is_labels(file):
        return OpenedMts("labels", {}, _bare_labels(file), (), (), MtsReader(file.path, token_of(file, ())))
    content = MtsContent(file, limits or Limits(), mts_checks() == "once")
    keys, info, metadata = _described(content)
    outlines = tuple(
        automatic(block, content.dtype(number), FINE_BYTES) for number, block in enumerate(metadata)
    )
    reader = MtsReader(file.path, content.token, content.check_pieces)
    _contents.put(reader, content)
    return OpenedMts(content.kind, info, keys, metadata, outlines, reader)


def read_mts(buffer: bytes | bytearray | memoryview, limits: Limits | None = None) -> ReadMts:
    """Read the bytes of a file, values included, under the same rules as a file.

    Parameters
    ----------
    buffer : bytes, bytearray or memoryview
        What an ``.mts`` file holds.
    limits : Limits, optional
        What the bytes may ask for.

    Returns
    -------
    ReadMts
        Labels and arrays, in memory of their own.

    Raises
    ------
    FileFormatError
        If the bytes break the format or the limits; the message names the member.
    """
    file = MtsBytes(buffer)
    if is_labels(file):
        return ReadMts("labels", {}, _bare_labels(file), (), ())
    content = MtsContent(file, limits or Limits())
    keys, info, metadata = _described(content)
    require_memory("load_buffer", "what the buffer holds", sum(map(content.nbytes, range(len(metadata)))))
    ranges = [tuple((0, len(labels.samples)) for _, labels in block.walk()) for block in metadata]
    chunks = tuple(content.chunk(Request(number, all_rows)) for number, all_rows in enumerate(ranges))
    return ReadMts(content.kind, info, keys, metadata, chunks)


def verify_mts(path: str | os.PathLike[str], limits: Limits | None = None) -> list[str]:
    """Read all of a file and compare all checksums; memory stays at a few MiB in addition to the labels.

    Parameters
    ----------
    path : path
        As for :func:`open_mts`.
    limits : Limits, optional
        What the file may ask for.

    Returns
    -------
    list of str
        One message for each problem, which names the member; empty if the file is intact.

    Raises
    ------
    ArchiveNotFoundError
        If there is no such file.
    """
    file = MtsFile(os.path.abspath(path))  # noqa: PTH100
    limits = limits or Limits()
    try:
        if is_labels(file):
            _bare_labels(file)
            return []
        members = layout_members(file, read_directory(file))
    except FileFormatError as error:
        return [str(error)]
    source = MemberBytes(file)
    problems: list[str] = []
    for member in members.values():
        crc = 0
        try:
            for piece in source.pieces(member):
                crc = zlib.crc32(piece, crc)
            source.require_crc(member, crc)
        except FileFormatError as error:
            problems.append(str(error))
    if not problems:  # the bytes are those that were written; whether they fit together is another question
        try:
            _described(MtsDescription(file, limits))
        except FileFormatError as error:
            problems.append(str(error))
    return problems


def _described(
    description: MtsDescription,
) -> tuple[Labels, dict[str, str], tuple[BlockMetadata, ...]]:
    found = description.described()
    warn_of_unread(description.file.path, description.unread())
    return found


def _bare_labels(file: MtsSource) -> Labels:
    """Read an ``.npy`` file: one member that is not in a ZIP file."""
    member = Member("", 0, STORED, 0, file.size, file.size, 0, start=0)
    return labels_of(file, member, file.read(0, file.size))


# ---- files that this process has open ------------------------------------------------------------

_ALREADY_CHECKED = Limits(label_bytes=1 << 60)
"""The token says that this is the file whose limits were checked when it was opened."""
_contents: OpenFiles[MtsReader, MtsContent] = OpenFiles(OPEN_FILES)


def _open_again(reader: MtsReader) -> MtsContent:
    content = MtsContent(MtsFile(reader.path), _ALREADY_CHECKED, reader.check_pieces)
    if content.token != reader.token:
        raise changed(reader.path)
    return content
