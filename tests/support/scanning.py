"""What scanning a file must agree with: opening it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from outgrad.errors import FileFormatError
from outgrad.storage.mts.reader import open_mts
from outgrad.storage.mts.scan import MtsScanner, MtsWindow, ScannedMts

COMPRESSED = "it is compressed, and cannot be referred to"


def outcome(read: Any, source: Any) -> Any:
    """What was read, or the message of the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(source)
    except FileFormatError as error:
        return str(error)


def wrapped(path: Path) -> MtsWindow:
    """The same bytes inside of another file."""
    content, outer = path.read_bytes(), path.with_suffix(".zip")
    outer.write_bytes(b"PK\3\4 before" + content + b" after PK\5\6")
    return MtsWindow(str(outer), 11, len(content), "0/energy.mts")


def scanned_alike(path: Path) -> Any:
    """Open and scan a file, alone and inside of another; the results must agree. Returns that of opening.

    Compressed members may be refused by scanning alone, at any place where opening reads on.
    """
    opened = outcome(open_mts, path)
    for source in (path, wrapped(path)):
        scanned = outcome(MtsScanner().scan, source)
        if isinstance(source, MtsWindow) and isinstance(scanned, str):
            scanned = scanned.replace(f"{source.path}/{source.entry}", str(path))
        if isinstance(scanned, str):
            assert COMPRESSED in scanned or scanned == opened
        else:
            assert not isinstance(opened, str), opened
            assert_same(scanned, opened)
    return opened


def assert_same(scanned: ScannedMts, opened: Any) -> None:
    """All labels, texts, types and shapes are those of the file that was opened."""
    assert (scanned.kind, scanned.info, scanned.keys) == (opened.kind, opened.info, opened.keys)
    assert len(scanned.metadata) == len(scanned.arrays) == len(opened.metadata)
    blocks = zip(scanned.metadata, opened.metadata, scanned.arrays, opened.outlines, strict=True)
    for metadata, expected, arrays, outline in blocks:
        nodes = zip(metadata.walk(), expected.walk(), arrays.walk(), outline.walk(), strict=True)
        for (path, labels), (_, other), (place, array), (_, part) in nodes:
            assert path == place
            assert (labels.samples, labels.components) == (other.samples, other.components)
            assert labels.properties == other.properties
            assert (array.shape, array.dtype) == (part.shape, part.dtype)
