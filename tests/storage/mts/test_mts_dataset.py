"""Data sets of metatrain: where the files in them are, whatever else is there, and in bounded memory."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from outgrad.errors import ArchiveNotFoundError, DamagedArchiveError, FileFormatError
from outgrad.storage.mts import zip as zipfiles
from outgrad.storage.mts.dataset import DatasetEntries, dataset_entries
from outgrad.storage.mts.file import MtsFile
from outgrad.storage.mts.reader import open_mts
from outgrad.storage.mts.scan import scan_all
from outgrad.storage.mts.zip import StoredMember, directory, local_header
from tests.support.mts_files import Files, Members, npy
from tests.support.scanning import assert_same

TARGETS = ("energy", "mtt::aux::features")


def wrapped(content: bytes) -> bytes:
    """An ``.npy`` file of bytes, as metatrain writes it."""
    return npy(np.frombuffer(content, np.uint8))


def inner(files: Files, number: int) -> bytes:
    return files.zip(files.members(files.map_arrays(sizes=(number + 1,))), name="inner.mts").read_bytes()


@pytest.fixture
def members(files: Files) -> Members:
    """A data set of three systems and two targets."""
    made: Members = {}
    for number in range(3):
        made[f"{number}/system.mta"] = b"PK\3\4 a system"
        made |= {f"{number}/{target}.mts": wrapped(inner(files, number)) for target in TARGETS}
    return made | {"metadata/atom_counts.npy": npy(np.arange(3))}


@pytest.fixture
def pack(files: Files) -> Callable[..., Path]:
    return lambda members, method=zipfile.ZIP_STORED: files.zip(members, method, "set.zip")


def texts(entries: DatasetEntries) -> list[str]:
    return [window.entry for window in entries]


# ---- what is found --------------------------------------------------------------------------------


def test_entries_are_where_the_files_are(files: Files, pack: Callable[..., Path], members: Members) -> None:
    path = pack(members)
    entries = dataset_entries(path)
    assert texts(entries) == [f"{number}/{target}.mts" for number in range(3) for target in TARGETS]
    assert entries.names == TARGETS
    content = path.read_bytes()
    for window, scanned in zip(entries, scan_all(entries), strict=True):
        assert window.nbytes is not None
        found = content[window.start : window.start + window.nbytes]
        assert wrapped(found) == members[window.entry]
        (files.folder / "alone.mts").write_bytes(found)
        assert_same(scanned, open_mts(files.folder / "alone.mts"))
        array = scanned.arrays[0]
        np.testing.assert_array_equal(
            np.frombuffer(content, array.dtype, array.shape[0] * 12, array.offset).reshape(array.shape),
            files.map_arrays(sizes=(int(window.entry[0]) + 1,))["blocks/0/values"],
        )
        assert (scanned.file_bytes, scanned.window) == (len(content), window)


def test_the_entries_of_one_target_in_the_order_of_systems(
    pack: Callable[..., Path], members: Members
) -> None:
    ten = {f"{number}/energy.mts": members["0/energy.mts"] for number in (10, 9, 2)}
    entries = dataset_entries(pack(ten | members))
    assert texts(entries.of("energy")) == [f"{number}/energy.mts" for number in (0, 1, 2, 9, 10)]
    assert texts(entries.of("no such target")) == []
    assert texts(entries[1:3]) == texts(entries)[1:3]
    assert entries[-1] == list(entries)[-1]


def test_names_that_are_no_entries_are_left_alone(pack: Callable[..., Path], members: Members) -> None:
    others = ("00/energy.mts", "x/energy.mts", "0/a/energy.mts", "0/.mts", "energy.mts", "0/energy.npy", "0/")
    path = pack(members | dict.fromkeys(others, b"something"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", b"text " * 100)
        with pytest.warns(UserWarning, match="Duplicate name"):  # as metatrain appends
            archive.writestr("metadata/atom_counts.npy", b"again")
    assert texts(dataset_entries(path)) == texts(dataset_entries(pack(members)))


# ---- what is refused ------------------------------------------------------------------------------


def test_compressed_entries(pack: Callable[..., Path], members: Members) -> None:
    with pytest.raises(
        FileFormatError, match=r"'0/energy.mts' in .*set.zip': it is compressed.*make the ZIP file again"
    ):
        dataset_entries(pack(members, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.zeros(5)), r"holds bytes, found shape \(5,\) of float64"),
        (npy(np.zeros((5, 2), np.uint8)), r"holds bytes, found shape \(5, 2\) of uint8"),
        (b"PK\3\4", "it does not begin as .npy data do"),
        (wrapped(b"content")[:-1], "declares 7 bytes of data, but 6 bytes follow it"),
        (wrapped(b"content") + b"more", "declares 7 bytes of data, but 11 bytes follow it"),
        (wrapped(b"content").replace(b"|u1", b"|O8"), "pickled Python objects"),
    ],
)
def test_entries_that_hold_something_else(
    pack: Callable[..., Path], members: Members, content: bytes, message: str
) -> None:
    with pytest.raises(FileFormatError, match=f"'1/energy.mts' in .*set.zip': .*{message}"):
        dataset_entries(pack(members | {"1/energy.mts": content}))


def test_an_entry_that_holds_no_file(pack: Callable[..., Path], members: Members) -> None:
    entries = dataset_entries(pack(members | {"1/energy.mts": wrapped(b"text")}))
    with pytest.raises(FileFormatError, match=r"set.zip/1/energy.mts': it is not a ZIP file"):
        list(scan_all(entries))


def test_an_encrypted_entry(pack: Callable[..., Path], members: Members) -> None:
    path = pack({"0/energy.mts": members["0/energy.mts"]})
    content = bytearray(path.read_bytes())
    content[6] = content[content.rindex(b"PK\1\2") + 8] = 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"'0/energy.mts' in .*set.zip': it is encrypted; decrypt"):
        dataset_entries(path)


def test_a_data_set_that_changes_meanwhile(
    pack: Callable[..., Path], members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(members)
    read = MtsFile.read

    def touching(self: MtsFile, offset: int, nbytes: int) -> bytes:
        os.utime(path, ns=(0, 0))
        return read(self, offset, nbytes)

    monkeypatch.setattr(MtsFile, "read", touching)
    with pytest.raises(DamagedArchiveError, match=r"set.zip': it was changed after it was opened"):
        dataset_entries(path)


def test_an_entry_twice(pack: Callable[..., Path], members: Members) -> None:
    path = pack(members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("1/energy.mts", members["1/energy.mts"])
    with pytest.raises(FileFormatError, match=r"'1/energy.mts' in .*the directory has this name twice"):
        dataset_entries(path)


def test_other_files(files: Files) -> None:
    with pytest.raises(FileFormatError, match=r"in.mts': it has no member '0/….mts', as data sets"):
        dataset_entries(files.map())
    with pytest.raises(ArchiveNotFoundError, match="there is no such file"):
        dataset_entries(files.folder / "none.zip")
    (files.folder / "text").write_bytes(b"label,value\n" * 20)
    with pytest.raises(FileFormatError, match="it is not a ZIP file"):
        dataset_entries(files.folder / "text")


# ---- directories of any size and form -------------------------------------------------------------


def packed(path: Path, contents: Iterable[tuple[str, bytes]], hole: int = 0, **lies: int) -> Path:
    """A ZIP file of our own, its members behind a hole; ``lies`` replace fields of the second in its
    directory."""
    members: list[StoredMember] = []
    offset = hole
    with path.open("wb") as stream:
        stream.write(b"PK\3\4")
        for name, content in contents:
            members.append(StoredMember(name, len(content), offset, zlib.crc32(content)))
            stream.seek(offset)
            stream.write(local_header(members[-1]) + content)
            offset = members[-1].stop
        stream.write(directory([members[0], members[1]._replace(**lies), *members[2:]], offset))
    return path


def test_entries_beyond_32_bits(files: Files, members: Members) -> None:
    """The file is sparse: it takes some kB of disk."""
    path = packed(files.folder / "large.zip", members.items(), hole=(1 << 32) + 5)
    entries = dataset_entries(path)
    assert texts(entries) == [name for name in members if name.endswith(".mts")]
    assert min(window.start for window in entries) > 1 << 32
    scanned = list(scan_all(entries))
    assert min(array.offset for each in scanned for array in each.arrays) > 1 << 32
    assert path.stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize(
    ("lies", "message"),
    [
        ({"nbytes": 1 << 40}, "it overlaps what starts at byte .* or leaves the file"),
        ({"nbytes": 1 << 63}, "it overlaps what starts at byte .* or leaves the file"),
        ({"nbytes": 5000}, "it overlaps what starts at byte .* or leaves the file"),
        ({"header_offset": 1 << 62}, "it overlaps what starts at byte .* or leaves the file"),
        ({"header_offset": 0}, "it overlaps what starts at byte"),
    ],
)
def test_members_beside_the_entries_lie(
    files: Files, members: Members, lies: dict[str, int], message: str
) -> None:
    others = [("0/system.mta", b"one"), ("1/system.mta", b"two"), *members.items()]
    path = packed(files.folder / "set.zip", others, **lies)
    with pytest.raises(FileFormatError, match=rf"'./system.mta' in .*set.zip': {message}"):
        dataset_entries(path)


@pytest.mark.parametrize(
    ("lies", "message"),
    [
        ({"nbytes": 1 << 40}, "its header disagrees with the ZIP directory"),
        ({"header_offset": 5}, "there is no header of a member at byte 5"),
        ({"header_offset": 1 << 62}, "lie outside of its .* bytes|no header of a member"),
        ({"header_offset": 0}, "its header disagrees with the ZIP directory"),
    ],
)
def test_entries_lie(files: Files, members: Members, lies: dict[str, int], message: str) -> None:
    path = packed(files.folder / "set.zip", members.items(), **lies)
    with pytest.raises(FileFormatError, match=message):
        dataset_entries(path)


def test_an_entry_that_reaches_into_the_next_member(files: Files, members: Members) -> None:
    """The header before the entry lies as well, so that nothing but the overlap is wrong."""
    content = wrapped(b"x" * 1000)
    path = packed(files.folder / "set.zip", [("0/a.mts", content), ("0/b.mts", content)])
    raw = bytearray(path.read_bytes())
    shorter, longer = len(content).to_bytes(8, "little"), (len(content) + 60).to_bytes(8, "little")
    raw = raw.replace(shorter, longer, 2)
    raw = raw.replace(f"({1000},), }}  ".encode(), f"({1060},), }}  ".encode(), 1)
    place = raw.index(b"PK\1\2")
    raw[place + 20 : place + 28] = (len(content) + 60).to_bytes(4, "little") * 2
    path.write_bytes(raw)
    with pytest.raises(FileFormatError, match=r"'0/a.mts' in .*set.zip': it overlaps what starts at byte"):
        dataset_entries(path)


def test_a_directory_that_is_read_in_pieces(
    files: Files, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(files.folder / "set.zip", members.items())
    expected = texts(dataset_entries(path))
    reads: list[int] = []
    read = MtsFile.read

    def counting(self: MtsFile, offset: int, nbytes: int) -> bytes:
        reads.append(nbytes)
        return read(self, offset, nbytes)

    monkeypatch.setattr(MtsFile, "read", counting)
    monkeypatch.setattr(zipfiles, "DIRECTORY_PIECE_BYTES", 257)
    monkeypatch.setattr(zipfiles, "LARGEST_ENTRY", 100)
    assert texts(dataset_entries(path)) == expected
    assert reads.count(257) >= 2


def test_many_entries_take_little_memory(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a list of all members would."""
    monkeypatch.setattr(zipfiles, "DIRECTORY_PIECE_BYTES", 1 << 18)
    content = wrapped(b"no file")
    names = (f"{number}/{name}" for number in range(2000) for name in ("a.mts", "b.mts", *"cdef"))
    path = packed(files.folder / "many.zip", ((name, content) for name in names))
    dataset_entries(path)
    tracemalloc.start()
    entries = dataset_entries(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(entries), entries.names) == (4000, ("a", "b"))
    assert entries[-1].entry == "1999/b.mts"
    assert peak < 2 << 20
