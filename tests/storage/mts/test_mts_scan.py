"""Scanning finds what opening finds, and where the arrays are; hostile files are refused alike."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveNotFoundError, DamagedArchiveError, FileFormatError
from outgrad.storage.mts import description
from outgrad.storage.mts import scan as scanning
from outgrad.storage.mts.file import MtsFile
from outgrad.storage.mts.reader import open_mts
from outgrad.storage.mts.scan import MtsScanner, MtsWindow, PlacedArray, ScannedMts, scan_all
from tests.support import EXAMPLES
from tests.support.damaged_mts import saved
from tests.support.hostile_mts import KINDS, hostile
from tests.support.mts_files import Files, Members
from tests.support.scanning import assert_same, scanned_alike, wrapped


def scan(source: Any) -> ScannedMts:
    return MtsScanner().scan(source)


def raw(scanned: ScannedMts, array: PlacedArray) -> np.ndarray:
    """The elements as they are in the file, found by the description alone; checksums are compared."""
    with Path(scanned.window.path).open("rb") as stream:
        stream.seek(array.member_offset)
        assert zlib.crc32(stream.read(array.member_bytes)) == array.crc
        stream.seek(array.offset)
        content = stream.read(array.nbytes)
    assert array.offset + array.nbytes == array.member_offset + array.member_bytes
    return np.frombuffer(content, array.dtype).reshape(array.shape)


def require_arrays(scanned: ScannedMts, path: Path) -> None:
    """All arrays are those that metatensor loads."""
    metatensor = pytest.importorskip("metatensor")
    # metatensor's fast loader does not know NumPy's names of types of one byte.
    use_numpy = scanned.arrays[0].dtype.itemsize == 1
    if scanned.kind == "map":
        blocks = metatensor.load(str(path), use_numpy).blocks()
    else:
        blocks = [metatensor.load_block(str(path), use_numpy)]
    for arrays, block in zip(scanned.arrays, blocks, strict=True):
        for parameters, array in arrays.walk():
            theirs = block
            for parameter in parameters:
                theirs = theirs.gradient(parameter)
            found = raw(scanned, array)
            np.testing.assert_array_equal(found, theirs.values)
            assert found.dtype == theirs.values.dtype


# ---- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i4", "i8", "u1", "b1", "c8", "c16"])
def test_a_map_of_any_type(files: Files, dtype: str) -> None:
    path = files.map(dtype)
    assert_same(scan(path), open_mts(path))
    require_arrays(scan(path), path)
    inside = scan(wrapped(path))
    assert_same(inside, open_mts(path))
    require_arrays(inside, path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_real_maps(path: Path) -> None:
    assert_same(scan(path), open_mts(path))
    require_arrays(scan(path), path)


def test_maps_of_our_writer_with_info(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert scan(path).info == {"unit": "Å"}
    assert_same(scan(path), open_mts(path))
    require_arrays(scan(path), path)


def test_a_single_block(files: Files) -> None:
    path = files.zip(files.members(files.block_arrays("", 6, "f8")), name="block.npz")
    assert (scan(path).kind, scan(path).keys) == ("block", og.Labels.single())
    assert_same(scan(path), open_mts(path))
    require_arrays(scan(path), path)


def old(name: str) -> str:
    """The name that a member had before April 2023."""
    if "gradients" in name:
        return name.replace("/values.npy", "/data.npy")
    return name.replace("/values.npy", "/values/data.npy") if name.startswith("blocks/") else name


def test_files_of_equistore_have_members_of_other_names(files: Files) -> None:
    members = files.members(files.map_arrays())
    path = files.zip({old(name): content for name, content in members.items() if "cell" not in name})
    scanned = scan(path)
    assert scanned.arrays[0].member == "blocks/0/values/data.npy"
    assert_same(scanned, open_mts(path))
    np.testing.assert_array_equal(
        raw(scanned, scanned.arrays[0].gradients["positions"]),
        files.map_arrays()["blocks/0/gradients/positions/values"],
    )


@pytest.mark.parametrize("options", [{"zip64": True}, {"pipe": True}, {"comment": b"long " * 3000}], ids=list)
def test_whoever_has_zipped_it(files: Files, options: dict[str, Any]) -> None:
    class Pipe:
        def __init__(self, stream: Any) -> None:
            self.write, self.flush = stream.write, stream.flush

    path = files.folder / "again.mts"
    with (
        path.open("wb") as stream,
        zipfile.ZipFile(Pipe(stream) if "pipe" in options else stream, "w") as made,
    ):
        made.comment = options.get("comment", b"")
        for name, content in files.members(files.map_arrays()).items():
            with made.open(name, "w", force_zip64="zip64" in options) as member:
                member.write(content)
    assert_same(scan(path), open_mts(path))
    require_arrays(scan(path), path)


def test_size_time_and_members(files: Files) -> None:
    path = files.map()
    scanned = scan(os.path.relpath(path))
    status = path.stat()
    assert (scanned.window, scanned.file_bytes) == (MtsWindow(str(path)), status.st_size)
    assert scanned.modified_ns == status.st_mtime_ns
    with zipfile.ZipFile(path) as archive:
        for array in scanned.arrays:
            info = archive.getinfo(array.member)
            assert (info.CRC, info.file_size) == (array.crc, array.member_bytes)


def test_labels_of_the_other_byte_order_are_read(files: Files) -> None:
    arrays = files.map_arrays()
    arrays["keys"] = arrays["keys"].astype([("l", ">i4"), ("species", ">i4")])
    assert scan(files.zip(files.members(arrays))).keys["species"].tolist() == [0, 2, 4]


def test_values_are_not_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {
        "keys": files.table("_", [0]),
        "blocks/0/values": np.ones((10_000, 50)),
        "blocks/0/samples": files.table("system", np.arange(10_000)),
        "blocks/0/properties": files.table("n", np.arange(50)),
    }
    path = files.zip(files.members(arrays))
    sizes: list[int] = []
    read = MtsFile.read

    def counting(self: Any, offset: int, nbytes: int) -> bytes:
        sizes.append(nbytes)
        return read(self, offset, nbytes)

    monkeypatch.setattr(MtsFile, "read", counting)
    scan(path)
    assert 40_000 < sum(sizes) < 50_000
    monkeypatch.setattr(MtsFile, "read_into", None)
    scan(path)


def test_equal_tables_of_all_files_are_one_object(files: Files) -> None:
    paths = [
        files.zip(files.members(files.map_arrays(sizes=(size,))), name=f"{size}.mts") for size in (3, 4, 5)
    ]
    first, second, third = scan_all(paths)
    for other in (second, third):
        assert other.metadata[0].properties is first.metadata[0].properties
        assert other.metadata[0].components[0] is first.metadata[0].components[0]
        assert other.metadata[0].samples is not first.metadata[0].samples
        assert other.arrays[0].member is first.arrays[0].member


def test_tables_that_no_file_has_any_more_are_dropped(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "SHARED_BYTES", 2000)
    shared = description.SharedLabels()
    for number in range(50):
        content = bytes([number]) * 100
        shared.put(content, og.Labels.range("n", number))
        assert shared.get(bytes(100)) is not None, "it is used again and again"
        assert shared.get(content) is not None
    kept = [number for number in range(50) if shared.get(bytes([number]) * 100) is not None]
    assert kept[0] == 0
    assert 10 < len(kept) < 45


def test_a_description_travels(files: Files) -> None:
    scanned = scan(files.map())
    content = pickle.dumps(scanned)
    assert_same(pickle.loads(content), open_mts(files.map()))
    assert pickle.loads(content).arrays == scanned.arrays
    assert len(content) < 10_000


# ---- what cannot be referred to -------------------------------------------------------------------

CONVERT = r"; convert it first: outgrad convert FILE NEW\.mts"


@pytest.mark.parametrize("name", ["keys", "blocks/1/values", "blocks/0/samples"])
def test_a_compressed_member(files: Files, name: str) -> None:
    path = files.folder / "in.mts"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.members(files.map_arrays()).items():
            archive.writestr(member, content, zipfile.ZIP_DEFLATED if member == f"{name}.npy" else None)
    with pytest.raises(FileFormatError, match=rf"'{name}.npy' in '.*in\.mts': it is compressed.*{CONVERT}"):
        scan(path)


def test_other_orders(files: Files) -> None:
    name = "blocks/0/gradients/positions/values"
    for change, reason in (
        (np.asfortranarray, "it is in column-major order, and cannot be referred to"),
        (lambda array: array.astype(">f8"), "it is big-endian, and cannot be referred to"),
    ):
        arrays = files.map_arrays()
        path = files.zip(files.members(arrays | {name: change(arrays[name])}))
        with pytest.raises(FileFormatError, match=f"'{name}.npy' in '.*in.mts': {reason}{CONVERT}"):
            scan(path)
        converted = files.folder / "converted.mts"
        og.save(converted, og.open(path), overwrite=True)
        assert_same(scan(converted), open_mts(path))


def test_labels_alone(files: Files) -> None:
    path = files.folder / "labels.npy"
    path.write_bytes(files.npy(files.table("a b", [[3, 4], [5, 6]])))
    with pytest.raises(FileFormatError, match=r"labels.npy': it holds labels, and no arrays .*leave it out"):
        scan(path)


# ---- files that lie -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_hostile_files_are_refused_as_by_the_reader(tmp_path: Path, kind: int) -> None:
    good, path = saved(tmp_path), tmp_path / "bad.mts"
    outcomes = []
    for number in range(kind, 8 * len(KINDS), len(KINDS)):
        path.write_bytes(hostile(number, good)[1])
        outcomes.append(scanned_alike(path))
    assert any(isinstance(found, str) for found in outcomes)


def test_damaged_labels(files: Files) -> None:
    path = files.map()
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("blocks/2/samples.npy")
    content[info.header_offset + 30 + len(info.filename) + info.file_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"'blocks/2/samples.npy' in .*: its checksum is"):
        scan(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFoundError, match=r"none.mts': there is no such file"):
        scan(tmp_path / "none.mts")
    with pytest.raises(FileFormatError, match="it is not a file"):
        scan(tmp_path)


def test_a_file_that_changes_meanwhile(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.map()
    described = description.MtsDescription.described

    def slowly(self: Any) -> Any:
        found = described(self)
        os.utime(path, ns=(0, 0))
        return found

    monkeypatch.setattr(description.MtsDescription, "described", slowly)
    with pytest.raises(DamagedArchiveError, match=r"in.mts': it was changed after it was opened"):
        scan(path)


# ---- windows --------------------------------------------------------------------------------------


def test_errors_of_a_window_name_file_and_entry(files: Files) -> None:
    members = files.members(files.map_arrays())
    del members["blocks/0/samples.npy"]
    window = wrapped(files.zip(members))
    with pytest.raises(
        FileFormatError, match=r"in\.zip/0/energy\.mts': the member 'blocks/0/samples.npy' is missing"
    ):
        scan(window)


@pytest.mark.parametrize(("start", "nbytes"), [(-1, 5), (0, 1 << 40), (1 << 40, None)])
def test_a_window_that_is_not_in_the_file(files: Files, start: int, nbytes: int | None) -> None:
    with pytest.raises(FileFormatError, match=r"bytes at .* lie outside of its \d+ bytes"):
        scan(MtsWindow(str(files.map()), start, nbytes))


def test_a_window_to_the_end(files: Files) -> None:
    path, outer = files.map(), files.folder / "outer"
    outer.write_bytes(bytes(100) + path.read_bytes())
    assert_same(scan(MtsWindow(str(outer), 100)), open_mts(path))
    require_arrays(scan(MtsWindow(str(outer), 100)), path)


def test_a_window_sees_no_more_than_its_bytes(files: Files) -> None:
    """A file whose last bytes are cut off is no file, even where they are in the file around it."""
    path, outer = files.map(), files.folder / "outer"
    outer.write_bytes(path.read_bytes() * 2)
    with pytest.raises(FileFormatError, match="its ZIP directory is missing"):
        scan(MtsWindow(str(outer), 0, path.stat().st_size - 1))


# ---- many files -----------------------------------------------------------------------------------


@pytest.fixture
def many(files: Files, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(scanning, "BATCH_FILES", 3)
    monkeypatch.setattr(scanning, "BATCHES_AHEAD", 2)
    return [
        files.zip(files.members(files.map_arrays(sizes=(size,))), name=f"{size:02}.mts") for size in range(20)
    ]


def threads() -> Executor:
    return ThreadPoolExecutor(2)


def processes() -> Executor:
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


EXECUTORS = pytest.mark.parametrize(
    "executor",
    [None, threads, pytest.param(processes, marks=pytest.mark.cluster)],
    ids=["none", "threads", "processes"],
)


@EXECUTORS
def test_many_files_in_order(many: list[Path], executor: Callable[[], Executor] | None) -> None:
    pool = executor() if executor else None
    found = list(scan_all(map(str, many), pool))
    assert [each.window.path for each in found] == [str(path) for path in many]
    assert_same(found[7], open_mts(many[7]))
    many[11].write_bytes(b"text")
    many[13].unlink()
    found = []
    with pytest.raises(FileFormatError, match=r"11\.mts': it is not a ZIP file"):
        found.extend(scan_all(many, pool))
    assert list(scan_all([], pool)) == []
    if pool is not None:
        pool.shutdown()


@pytest.mark.parametrize(("executor", "most"), [(None, 1), (threads, 9)])
def test_no_more_files_are_asked_for_than_are_under_way(
    many: list[Path], executor: Callable[[], Executor] | None, most: int
) -> None:
    asked: list[Path] = []

    def sources() -> Iterator[Path]:
        for path in many:
            asked.append(path)
            yield path

    pool = executor() if executor else None
    for number, _ in enumerate(scan_all(sources(), pool)):
        assert len(asked) <= number + most
    assert len(asked) == 20
    if pool is not None:
        pool.shutdown()


def test_members_that_belong_to_nothing_are_told_of(files: Files) -> None:
    members = files.members(files.map_arrays())
    rest: Members = {"blocks/7/values.npy": members["blocks/0/values.npy"]}
    path = files.zip(members | rest)
    with pytest.warns(UserWarning, match=r"in.mts' has 1 member.* belong to nothing and are not read"):
        (scanned,) = scan_all([path])
    assert scanned.unread == ("blocks/7/values.npy",)
