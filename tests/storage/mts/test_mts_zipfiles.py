"""ZIP directories: checksums combined, and files and counts beyond 32 and 16 bits."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrad.storage.mts import zip as zipfiles
from outgrad.storage.mts.file import MtsFile
from outgrad.storage.mts.zip import StoredMember, combine_crc, read_directory


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combined_checksums(first: bytes, second: bytes) -> None:
    assert combine_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_combined_checksums_of_long_data() -> None:
    first, second = b"head", bytes(range(256)) * 50_000
    assert combine_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def laid_out(path: Path, sizes: list[int]) -> list[StoredMember]:
    """A ZIP file with holes where the data would be."""
    members, offset = [], 0
    with path.open("wb") as stream:
        for number, nbytes in enumerate(sizes):
            members.append(StoredMember(f"blocks/{number}/values.npy", nbytes, offset))
            stream.seek(offset)
            stream.write(zipfiles.local_header(members[-1]))
            offset = members[-1].stop
        stream.seek(offset)
        stream.write(zipfiles.directory(members, offset))
    return members


@pytest.mark.parametrize("sizes", [[10, 20], [(1 << 32) + 5, 7, 9], [3, 0xFFFFFFFF, 1], [1 << 33, 1 << 33]])
def test_members_of_any_size(tmp_path: Path, sizes: list[int]) -> None:
    """The file is sparse: it takes some kB of disk."""
    path = tmp_path / "large.mts"
    written = laid_out(path, sizes)
    found = read_directory(MtsFile(path))
    assert [(m.name, m.nbytes, m.header_offset, m.start) for m in found.values()] == [
        (m.name, m.nbytes, m.header_offset, m.start) for m in written
    ]
    with zipfile.ZipFile(path) as archive:
        assert [info.file_size for info in archive.infolist()] == sizes
        assert [info.header_offset for info in archive.infolist()] == [m.header_offset for m in written]
    assert path.stat().st_blocks * 512 < 1 << 20


@pytest.mark.slow
def test_more_members_than_16_bits_count(tmp_path: Path) -> None:
    path = tmp_path / "many.mts"
    laid_out(path, [0] * 70_000)
    assert len(read_directory(MtsFile(path))) == 70_000
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 70_000


def test_equal_headers_as_python_writes_them(tmp_path: Path) -> None:
    """The local header has the form that NumPy's files have: sizes in 64 bits."""
    with zipfile.ZipFile(tmp_path / "python.zip", "w") as archive:
        info = zipfile.ZipInfo("keys.npy", (2000, 1, 1, 0, 0, 0))
        with archive.open(info, "w", force_zip64=True) as stream:
            stream.write(b"content")
    ours = zipfiles.local_header(StoredMember("keys.npy", 7, 0, zlib.crc32(b"content")))
    assert (tmp_path / "python.zip").read_bytes()[: len(ours)] == ours
