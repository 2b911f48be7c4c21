"""Reading: what is known on opening, rows of every kind of member, and files that change."""

from __future__ import annotations

import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from outgrad.data.requests import Request
from outgrad.errors import ArchiveNotFoundError, DamagedArchiveError, FileFormatError
from outgrad.labels.labels import Labels
from outgrad.storage.mts import members as mts_members
from outgrad.storage.mts import reader as mts_read
from outgrad.storage.mts.file import Limits
from outgrad.storage.mts.members import Inflater
from outgrad.storage.mts.npy import ELEMENT_TYPES
from outgrad.storage.mts.reader import OpenedMts, open_mts, verify_mts
from outgrad.storage.open_files import OpenFiles
from tests.support.mts_files import Files

METHODS = pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after every sample and keep many inflaters, as in a large file."""
    monkeypatch.setattr(mts_read, "FINE_BYTES", 1)
    monkeypatch.setattr(mts_members, "COPY_BYTES", 64)


def test_labels_info_and_kind_are_known(files: Files) -> None:
    arrays = files.map_arrays()
    info = {"info.json": b'{"unit": "\xc3\x85", "b": ""}'}
    opened = open_mts(files.zip(files.members(arrays) | info))
    assert (opened.kind, opened.info) == ("map", {"unit": "Å", "b": ""})
    assert opened.keys == Labels(["l", "species"], [[0, 0], [1, 2], [2, 4]])
    block = opened.metadata[0]
    assert block.samples.names == ["system", "atom"]
    assert [component.names for component in block.gradients["positions"].components] == [["xyz"], ["o3_mu"]]
    assert block.gradients["positions"].properties is block.properties
    assert [outline.shape for outline in opened.outlines] == [(13, 3, 4), (0, 3, 4), (1, 3, 4)]


def test_equal_tables_are_one_object(files: Files) -> None:
    opened = open_mts(files.map())
    assert opened.metadata[0].properties is opened.metadata[2].properties


@METHODS
def test_chunks_are_the_rows_of_the_file(
    files: Files, same: Callable[..., Any], small_chunks: None, method: int
) -> None:
    path = files.map(method=method)
    opened = open_mts(path)
    assert opened.outlines[0].chunk_count > 3
    same(opened, files.map_arrays())


@METHODS
@pytest.mark.parametrize("dtype", [*ELEMENT_TYPES, ">f8", ">i2", ">c16"])
def test_every_dtype(
    files: Files, same: Callable[..., Any], small_chunks: None, method: int, dtype: str
) -> None:
    same(open_mts(files.map(dtype, method)), files.map_arrays(dtype))


@METHODS
def test_column_major_arrays(files: Files, same: Callable[..., Any], small_chunks: None, method: int) -> None:
    arrays = files.map_arrays()
    turned = {name: np.asfortranarray(array) for name, array in arrays.items()}
    path = files.zip(files.members(turned), method)
    assert b"'fortran_order': True" in files.npy(turned["blocks/0/values"])
    same(open_mts(path), arrays)


def test_arrays_are_aligned_contiguous_and_free(files: Files) -> None:
    opened = open_mts(files.map("f4"))
    for number in range(3):
        (chunk,) = opened.reader.read([files.requests(opened)[number]])
        for _, part in chunk.walk():
            assert part.values.flags.aligned
            assert part.values.flags.c_contiguous
            assert part.values.flags.writeable


def test_any_rows(files: Files) -> None:
    arrays = files.map_arrays()
    opened = open_mts(files.map(method=zipfile.ZIP_DEFLATED))
    gradient = "blocks/0/gradients/positions/"
    rows = arrays[f"{gradient}samples"]["sample"]
    below = arrays[f"{gradient}gradients/cell/samples"]["sample"]
    middle = tuple(np.searchsorted(rows, [5, 9]).tolist())
    inner = tuple(np.searchsorted(below, middle).tolist())
    (chunk,) = opened.reader.read([Request(0, ((5, 9), middle, inner))])
    np.testing.assert_array_equal(chunk.values, arrays["blocks/0/values"][5:9])
    assert chunk.gradients["positions"].rows[:, 0].tolist() == (rows[slice(*middle)] - 5).tolist()
    nested = chunk.at(("positions", "cell"))
    assert nested.rows[:, 0].tolist() == (below[slice(*inner)] - middle[0]).tolist()
    assert nested.rows[:, 1].tolist() == list(range(*inner))


def test_a_single_block(files: Files, same: Callable[..., Any]) -> None:
    arrays = files.block_arrays("", 6, "f8")
    opened = open_mts(files.zip(files.members(arrays), name="block.npz"))
    assert (opened.kind, opened.keys) == ("block", Labels.single())
    same(opened, {f"blocks/0/{name}": array for name, array in arrays.items()})


@pytest.mark.parametrize("name", ["labels.mts", "labels.npy"])
def test_bare_labels(files: Files, name: str) -> None:
    path = files.folder / name
    path.write_bytes(files.npy(files.table("a b", [[3, 4], [5, 6]])))
    opened = open_mts(path)
    assert (opened.kind, opened.metadata, opened.outlines) == ("labels", (), ())
    assert opened.keys == Labels(["a", "b"], [[3, 4], [5, 6]])
    assert verify_mts(path) == []


def test_labels_of_the_other_byte_order(files: Files) -> None:
    arrays = files.map_arrays()
    arrays["keys"] = arrays["keys"].astype([("l", ">i4"), ("species", ">i4")])
    assert open_mts(files.zip(files.members(arrays))).keys["species"].tolist() == [0, 2, 4]


def test_members_in_any_order_and_a_comment(files: Files, same: Callable[..., Any]) -> None:
    arrays = files.map_arrays()
    path = files.zip(dict(reversed(files.members(arrays).items())))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"written by hand"
    same(open_mts(path), arrays)


def test_sizes_after_the_data(files: Files, same: Callable[..., Any]) -> None:
    """Python writes data descriptors when it cannot seek."""

    class Pipe:
        def __init__(self, stream: Any) -> None:
            self.write, self.flush = stream.write, stream.flush

    arrays, path = files.map_arrays(), files.folder / "piped.mts"
    with path.open("wb") as stream, zipfile.ZipFile(Pipe(stream), "w") as archive:
        for name, content in files.members(arrays).items():
            archive.writestr(name, content)
    same(open_mts(path), arrays)


def test_unsorted_gradient_rows_stay_one_chunk(
    files: Files, same: Callable[..., Any], small_chunks: None
) -> None:
    arrays = files.map_arrays()
    for part in ("values", "samples"):
        name = f"blocks/0/gradients/positions/gradients/cell/{part}"
        arrays[name] = arrays[name][::-1].copy()
    with pytest.warns(UserWarning, match="not sorted by 'sample'"):
        opened = open_mts(files.zip(files.members(arrays)))
    assert opened.outlines[0].edges.tolist() == [0, 13]
    same(opened, arrays)


def test_the_reader_is_small_and_names_the_content(files: Files) -> None:
    path = files.map()
    reader = open_mts(path).reader
    assert len(pickle.dumps(reader)) < 1000
    assert open_mts(path).reader == reader
    os.utime(path, ns=(0, 0))
    assert open_mts(path).reader != reader


@METHODS
def test_many_threads(files: Files, small_chunks: None, method: int) -> None:
    opened = open_mts(files.map(method=method))
    requests = files.requests(opened) * 20
    expected = [opened.reader.read([each])[0].values.sum() for each in requests]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: opened.reader.read([each])[0].values.sum(), requests))
    assert found == expected


def test_another_process_opens_the_file_anew(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_mts(files.map())
    monkeypatch.setattr(mts_read, "_contents", OpenFiles(16))
    reader = pickle.loads(pickle.dumps(opened.reader))
    assert reader.read(files.requests(opened)[:1])[0].values.shape == (13, 3, 4)


def test_few_files_stay_open(files: Files) -> None:
    before = psutil.Process().num_fds()
    opened = [open_mts(files.zip(files.members(files.map_arrays()), name=f"{n}.mts")) for n in range(40)]
    assert psutil.Process().num_fds() - before < 20
    assert opened[0].reader.read(files.requests(opened[0])[:1])[0].values.shape == (13, 3, 4)


def test_a_file_written_in_place_is_an_error(files: Files) -> None:
    path = files.map()
    opened = open_mts(path)
    os.truncate(path, 1000)
    with pytest.raises(DamagedArchiveError, match=r"changed after it was opened; open it again"):
        opened.reader.read(files.requests(opened)[:1])


def test_a_file_replaced_is_an_error_in_other_processes(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.map()
    opened = open_mts(path)
    files.zip(files.members(files.map_arrays("f4")), name="new.mts").replace(path)
    assert opened.reader.read(files.requests(opened)[:1])[0].values.dtype == "f8", "this process has it open"
    monkeypatch.setattr(mts_read, "_contents", OpenFiles(16))
    with pytest.raises(DamagedArchiveError, match="changed after it was opened"):
        opened.reader.read(files.requests(opened)[:1])


def test_a_file_cut_off_while_it_is_read_is_an_error(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.map()
    opened = open_mts(path)
    monkeypatch.setattr("outgrad.storage.mts.file.MtsFile.require_unchanged", lambda self: None)
    os.truncate(path, 1000)
    with pytest.raises(FileFormatError, match="it ends at byte 1000, inside a member"):
        opened.reader.read(files.requests(opened)[:1])


def test_missing_paths_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFoundError, match="there is no such file"):
        open_mts(tmp_path / "none.mts")
    with pytest.raises(FileFormatError, match="it is not a file"):
        open_mts(tmp_path)
    os.mkfifo(tmp_path / "pipe.mts")
    with pytest.raises(FileFormatError, match="it is not a file"):
        open_mts(tmp_path / "pipe.mts")


@pytest.fixture
def deflated(files: Files) -> OpenedMts:
    """A map whose values inflate to 64 MiB."""
    arrays = {
        "keys": files.table("_", [0]),
        "blocks/0/values": np.repeat(np.arange(1 << 16, dtype="f8"), 128).reshape(-1, 128),
        "blocks/0/samples": files.table("system", np.arange(1 << 16)),
        "blocks/0/properties": files.table("n", np.arange(128)),
    }
    return open_mts(files.zip(files.members(arrays), zipfile.ZIP_DEFLATED))


def test_deflated_rows_take_the_memory_of_the_rows(deflated: OpenedMts) -> None:
    deflated.reader.read([Request(0, ((0, 1),))])
    tracemalloc.start()
    (chunk,) = deflated.reader.read([Request(0, ((65_000, 65_100),))])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert chunk.values[:, 0].tolist() == list(range(65_000, 65_100))
    assert peak < 6 << 20


def test_consecutive_chunks_inflate_the_member_once(
    deflated: OpenedMts, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflated = []
    read = Inflater.read

    def counting(self: Any, limit: int) -> bytes:
        found = read(self, limit)
        inflated.append(len(found))
        return found

    monkeypatch.setattr(Inflater, "read", counting)
    for start in range(0, 1 << 16, 1 << 13):
        (chunk,) = deflated.reader.read([Request(0, ((start, start + (1 << 13)),))])
        assert chunk.values[0, 0] == start
    # And once before, to compare the checksum.
    assert sum(inflated) < 2.1 * (64 << 20)


def test_a_chunk_is_read_again_from_where_the_one_before_ended(deflated: OpenedMts) -> None:
    first, second = (Request(0, ((start, start + 3000),)) for start in (0, 3000))
    for each in (first, second, second, first):
        (chunk,) = deflated.reader.read([each])
        assert chunk.values[:, 0].tolist() == list(range(*each.ranges[0]))


def test_damage_is_found_when_a_whole_array_is_read(files: Files) -> None:
    path = files.map()
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("blocks/0/gradients/positions/values.npy")
    content[info.header_offset + 500] ^= 1
    path.write_bytes(content)
    opened = open_mts(path)
    with pytest.raises(FileFormatError, match=r"positions/values.npy.*its checksum is"):
        opened.reader.read(files.requests(opened))
    (problem,) = verify_mts(path)
    assert "blocks/0/gradients/positions/values.npy" in problem


@METHODS
def test_verify_names_every_damaged_member(files: Files, method: int) -> None:
    path = files.map(method=method)
    assert verify_mts(path) == []
    content = bytearray(path.read_bytes())
    names = ["blocks/0/values.npy", "blocks/2/samples.npy"]
    with zipfile.ZipFile(path) as archive:
        for name in names:
            info = archive.getinfo(name)
            content[info.header_offset + 30 + len(name) + info.compress_size - 8] ^= 4
    path.write_bytes(content)
    problems = verify_mts(path)
    assert [any(name in problem for problem in problems) for name in names] == [True, True]
    assert len(problems) == 2


def test_verify_reports_what_cannot_be_opened(files: Files) -> None:
    path = files.folder / "bad.mts"
    path.write_bytes(b"no archive at all, only text")
    (problem,) = verify_mts(path)
    assert "it is not a ZIP file" in problem
    members = files.members(files.map_arrays())
    del members["blocks/0/samples.npy"]
    (problem,) = verify_mts(files.zip(members))
    assert "the member 'blocks/0/samples.npy' is missing" in problem


def test_limits_can_be_set(files: Files) -> None:
    path = files.map(method=zipfile.ZIP_DEFLATED)
    limits = Limits(label_bytes=0, label_expansion=0)
    with pytest.raises(FileFormatError, match="more than 0 for a file of"):
        open_mts(path, limits)
    assert verify_mts(path, limits) != []
