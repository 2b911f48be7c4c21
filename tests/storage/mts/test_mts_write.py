"""Writing: round trips, what metatensor loads, what the format cannot hold, and nothing half written."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Request
from outgrad.engine.outlines import at_edges
from outgrad.errors import (
    ArchiveError,
    ArchiveExistsError,
    ArchiveNotFoundError,
    FileFormatError,
    UnfinishedArchiveError,
)
from outgrad.labels.labels import Labels
from outgrad.storage import save
from outgrad.storage.mts.reader import OpenedMts, open_mts, verify_mts
from outgrad.storage.mts.row_writer import RowReceipt
from outgrad.storage.mts.writer import MtsWriter
from tests.support.mts_files import Files
from tests.support.saving import commit

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16"]
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture
def opened(files: Files) -> OpenedMts:
    return open_mts(files.map())


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", 1)


def plain_block(samples: int = 3, dtype: str = "f8") -> tuple[BlockMetadata, Outline]:
    """Metadata and outline of a block of one property."""
    metadata = BlockMetadata(Labels.range("system", samples), (), Labels.range("n", 1))
    return metadata, Outline(np.array([0, samples]), (1,), np.dtype(dtype))


def with_gradient(parameter: str, depth: int = 1) -> tuple[BlockMetadata, Outline]:
    """The same with a gradient, and gradients of it down to ``depth``."""
    metadata, outline = plain_block()
    if depth:
        below, below_outline = with_gradient(parameter, depth - 1)
        below = replace(below, samples=Labels.range("sample", 3))
        metadata.gradients[parameter], outline.gradients[parameter] = below, below_outline
    return metadata, outline


def writer_of(path: Path, metadata: BlockMetadata, outline: Outline, **options: Any) -> MtsWriter:
    return MtsWriter(path, Labels.single(), [metadata], [outline], info={}, **options)


@EVERY_DTYPE
def test_a_copy_is_equal(
    files: Files, same: Callable[..., Any], reopen: Callable[..., Any], small_chunks: None, dtype: str
) -> None:
    copied = reopen(files.map(dtype))
    same(copied, files.map_arrays(dtype))
    assert verify_mts(files.folder / "out.mts") == []


def test_metadata_and_info_are_copied(opened: OpenedMts, files: Files) -> None:
    info = {"zeta": 'Å "quoted"\n', "alpha": ""}
    copied = open_mts(files.copy(opened, info=info))
    assert copied.info == info
    assert copied.keys == opened.keys
    for ours, theirs in zip(copied.metadata, opened.metadata, strict=True):
        for (path, a), (_, b) in zip(ours.walk(), theirs.walk(), strict=True):
            assert (a.samples, a.components, a.properties) == (b.samples, b.components, b.properties), path


def test_equal_content_is_equal_bytes(opened: OpenedMts, files: Files) -> None:
    first = files.copy(opened, "a.mts").read_bytes()
    assert files.copy(opened, "b.mts").read_bytes() == first


def test_python_reads_the_zip_file(opened: OpenedMts, files: Files) -> None:
    arrays = files.map_arrays()
    with zipfile.ZipFile(files.copy(opened, info={"a": "b"})) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(2000, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("info.json")) == {"a": "b"}
        assert set(archive.namelist()) == {f"{name}.npy" for name in arrays} | {"info.json"}
        for name, array in arrays.items():
            with archive.open(f"{name}.npy") as member:
                np.testing.assert_array_equal(np.lib.format.read_array(member), array)


@EVERY_DTYPE
@pytest.mark.parametrize("use_numpy", [False, True])
def test_metatensor_loads_what_we_write(
    files: Files, opened: OpenedMts, small_chunks: None, dtype: str, use_numpy: bool
) -> None:
    metatensor = pytest.importorskip("metatensor")
    source = files.map(dtype)
    path = files.copy(open_mts(source), info={"a": "b"})
    found = metatensor.load(path, use_numpy=use_numpy)
    arrays = files.map_arrays(dtype)
    assert found.info() == {"a": "b"}
    for number, block in enumerate(found.blocks()):
        prefix = f"blocks/{number}/"
        gradient = block.gradient("positions")
        nested = gradient.gradient("cell")
        np.testing.assert_array_equal(block.values, arrays[f"{prefix}values"])
        np.testing.assert_array_equal(gradient.values, arrays[f"{prefix}gradients/positions/values"])
        inner = f"{prefix}gradients/positions/gradients/cell/"
        np.testing.assert_array_equal(nested.values, arrays[f"{inner}values"])
        assert nested.values.dtype == dtype
        np.testing.assert_array_equal(
            nested.samples.values, arrays[f"{inner}samples"].view("<i4").reshape(-1, 2)
        )


@EVERY_DTYPE
@pytest.mark.parametrize("use_numpy", [False, True])
def test_we_read_what_metatensor_saves(
    files: Files, same: Callable[..., Any], dtype: str, use_numpy: bool
) -> None:
    metatensor = pytest.importorskip("metatensor")
    loaded = metatensor.load(files.map(dtype), use_numpy=True)
    loaded.set_info("a", "b")
    path = str(files.folder / "theirs.mts")
    metatensor.save(path, loaded, use_numpy=use_numpy)
    opened = open_mts(path)
    assert opened.info == {"a": "b"}
    assert verify_mts(path) == []
    same(opened, files.map_arrays(dtype))


@pytest.mark.parametrize("use_numpy", [False, True])
def test_a_single_block_both_ways(files: Files, same: Callable[..., Any], use_numpy: bool) -> None:
    metatensor = pytest.importorskip("metatensor")
    arrays = files.block_arrays("", 6, "f8")
    opened = open_mts(files.zip(files.members(arrays)))
    path = files.copy(opened)
    block = metatensor.load_block(path, use_numpy=use_numpy)
    np.testing.assert_array_equal(block.values, arrays["values"])
    theirs = str(files.folder / "theirs.mts")
    metatensor.save(theirs, block, use_numpy=use_numpy)
    same(open_mts(theirs), {f"blocks/0/{name}": array for name, array in arrays.items()})


def test_labels_both_ways(files: Files) -> None:
    metatensor = pytest.importorskip("metatensor")
    labels = Labels(["a", "b"], [[3, 4], [5, -6]])
    path = files.folder / "labels.mts"
    save(path, labels)
    found = metatensor.load_labels(path)
    assert (found.names, found.values.tolist()) == (["a", "b"], [[3, 4], [5, -6]])
    metatensor.save(str(path), found)
    assert open_mts(path).keys == labels


def test_an_empty_map_both_ways(files: Files) -> None:
    metatensor = pytest.importorskip("metatensor")
    path = files.folder / "empty.mts"
    writer = MtsWriter(path, Labels.empty(["a"]), [], [], info={})
    writer.start()
    commit(writer, [])
    assert len(metatensor.load(path)) == 0
    opened = open_mts(path)
    assert (opened.keys.names, opened.metadata) == (["a"], ())


def test_labels_are_read_slice_by_slice(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrad.storage.mts.writer.TABLE_ROWS", 10)
    kept, slices = Labels.range("system", 95), []

    class Source:
        def read(self, start: int, stop: int) -> np.ndarray:
            slices.append(stop - start)
            return kept.read(start, stop)

    stored = Labels.from_source(kept.names, len(kept), kept.digest, Source())
    metadata, outline = plain_block(95)
    writer = writer_of(files.folder / "out.mts", replace(metadata, samples=stored), outline)
    writer.start()
    commit(writer, [writer.write([Request(0, ((0, 95),))], [Chunk(np.zeros((95, 1)))])])
    assert (max(slices), sum(slices), stored.is_loaded) == (10, 95, False)
    assert open_mts(files.folder / "out.mts").metadata[0].samples == kept


def test_what_a_task_carries_is_small(opened: OpenedMts, files: Files) -> None:
    writer = files.writer(opened)
    assert len(pickle.dumps(writer)) < 1000
    assert writer.seams([files.requests(opened)]) == []


def test_rows_in_another_memory_order(opened: OpenedMts, files: Files, same: Callable[..., Any]) -> None:
    writer = files.writer(opened)
    writer.start()
    receipts = []
    for each in files.requests(opened):
        (chunk,) = opened.reader.read([each])
        turned = Chunk(np.asfortranarray(chunk.values), chunk.gradients)
        receipts.append(writer.write([each], [turned]).receipt())
    commit(writer, receipts)
    same(open_mts(files.folder / "out.mts"), files.map_arrays())


def test_bytes_are_counted(opened: OpenedMts, files: Files) -> None:
    writer = files.writer(opened)
    writer.start()
    requests = files.requests(opened)
    written = writer.write(requests, opened.reader.read(requests))
    assert written.nbytes == sum(outline.nbytes for outline in opened.outlines)
    writer.abort()


# ---- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", ["a/b", "/", "a\0b", "\ud800"])
def test_parameters_that_are_no_names_of_members(tmp_path: Path, parameter: str) -> None:
    with pytest.raises(FileFormatError, match=r"the gradient parameter .* save to a \.zarr path instead"):
        writer_of(tmp_path / "out.mts", *with_gradient(parameter))


def test_labels_without_dimensions(tmp_path: Path) -> None:
    nothing = Labels([], np.zeros((0, 0), dtype=np.int32))
    metadata, outline = plain_block(0)
    with pytest.raises(
        FileFormatError, match=r"'blocks/0/samples.npy' are labels without dimensions.*\.zarr"
    ):
        writer_of(tmp_path / "out.mts", replace(metadata, samples=nothing), outline)
    with pytest.raises(FileFormatError, match="labels without dimensions"):
        save(tmp_path / "out.mts", nothing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["g", "G", "M8[s]", "S3"])
def test_types_that_the_format_lacks(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(FileFormatError, match=r"'blocks/0/values.npy' has type .*convert it"):
        writer_of(tmp_path / "out.mts", *plain_block(dtype=dtype))


def test_gradients_nested_too_deep(tmp_path: Path) -> None:
    writer_of(tmp_path / "out.mts", *with_gradient("a", 64))
    with pytest.raises(FileFormatError, match="nested deeper than 64"):
        writer_of(tmp_path / "out.mts", *with_gradient("a", 65))


def test_a_gradient_whose_name_no_zip_file_holds(tmp_path: Path) -> None:
    writer_of(tmp_path / "out.mts", *with_gradient("a" * 65_000))
    with pytest.raises(FileFormatError, match=r"more than the 65535 that a ZIP file can hold"):
        writer_of(tmp_path / "out.mts", *with_gradient("σ" * 33_000))


def test_names_longer_than_a_header(tmp_path: Path) -> None:
    metadata, outline = plain_block()
    long = Labels(["a" * (1 << 20)], np.arange(3)[:, None])
    with pytest.raises(FileFormatError, match=r"names of labels take .*shorten the names"):
        writer_of(tmp_path / "out.mts", replace(metadata, samples=long), outline)


def test_info_of_a_block_and_info_that_is_no_text(tmp_path: Path) -> None:
    metadata, outline = plain_block()
    with pytest.raises(FileFormatError, match=r"a file of one block has no info; save a map"):
        MtsWriter(tmp_path / "a", Labels.single(), [metadata], [outline], info={"a": "b"}, kind="block")
    with pytest.raises(FileFormatError, match="its info is not valid text"):
        MtsWriter(tmp_path / "a", Labels.single(), [metadata], [outline], info={"a": "\ud800"})


def test_chunks_that_do_not_fit_are_refused(opened: OpenedMts, files: Files) -> None:
    writer = files.writer(opened)
    writer.start()
    each = files.requests(opened)[0]
    (chunk,) = opened.reader.read([each])
    with pytest.raises(
        ArchiveError, match=r"block 0 does not fit .*: the gradient \('cell',\) is not in its"
    ):
        writer.write([each], [Chunk(chunk.values, {"cell": chunk.gradients["positions"]})])
    with pytest.raises(ArchiveError, match=r"\d+ rows are for rows \(0, \d+\) of"):
        writer.write([each], [Chunk(chunk.values[:-1], chunk.gradients)])
    with pytest.raises(ArchiveError, match=r"the file is for rows of \d+ bytes"):
        writer.write([each], [Chunk(chunk.values[:, :2], chunk.gradients)])
    with pytest.raises(ArchiveError, match=r"dtype int64, the file is for .* of float64; nothing"):
        writer.write([each], [Chunk(chunk.values.astype("i8"), chunk.gradients)])
    with pytest.raises(AssertionError, match="has no seams"):
        writer.write_seam(None, [])
    writer.abort()


# ---- the old file stays until the new one is whole ------------------------------------------------


def test_an_existing_path_is_kept(opened: OpenedMts, files: Files) -> None:
    path = files.copy(opened)
    before = path.read_bytes()
    with pytest.raises(ArchiveExistsError, match=r"it exists already; pass overwrite=True"):
        files.writer(opened)
    with pytest.raises(ArchiveExistsError, match="it exists already"):
        save(path, opened.keys)
    assert path.read_bytes() == before
    files.copy(opened, overwrite=True)
    save(path, opened.keys, overwrite=True)
    assert open_mts(path).kind == "labels"
    assert files.listing() == ["in.mts", "out.mts"]


def test_a_path_that_appears_meanwhile_is_kept(opened: OpenedMts, files: Files) -> None:
    writer = files.writer(opened)
    writer.start()
    requests = files.requests(opened)
    receipt = writer.write(requests, opened.reader.read(requests))
    (files.folder / "out.mts").write_text("someone else's")
    with pytest.raises(ArchiveExistsError, match="it exists already"):
        commit(writer, [receipt])
    assert (files.folder / "out.mts").read_text() == "someone else's"
    writer.abort()
    assert files.listing() == ["in.mts", "out.mts"]


def test_without_hard_links(
    opened: OpenedMts, files: Files, same: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    same(open_mts(files.copy(opened)), files.map_arrays())
    assert files.listing() == ["in.mts", "out.mts"]


def test_folders_are_not_replaced_and_not_made(opened: OpenedMts, files: Files) -> None:
    (files.folder / "out.mts").mkdir()
    with pytest.raises(ArchiveExistsError, match="it is a folder"):
        files.writer(opened, overwrite=True)
    with pytest.raises(ArchiveNotFoundError, match="its folder does not exist"):
        files.writer(opened, name="nowhere/out.mts")


def test_a_link_keeps_being_a_link(opened: OpenedMts, files: Files, same: Callable[..., Any]) -> None:
    (files.folder / "real").mkdir()
    (files.folder / "out.mts").symlink_to(files.folder / "real" / "data.mts")
    same(open_mts(files.copy(opened)), files.map_arrays())
    assert (files.folder / "out.mts").is_symlink()
    assert (files.folder / "real" / "data.mts").is_file()


def test_overwriting_the_source(files: Files, same: Callable[..., Any]) -> None:
    opened = open_mts(files.map())
    path = files.copy(opened, "in.mts", overwrite=True)
    same(open_mts(path), files.map_arrays())


@pytest.mark.parametrize("lost", [0, 1, 12, -1])
def test_missing_rows_are_noticed(files: Files, small_chunks: None, lost: int) -> None:
    opened = open_mts(files.map())
    path = files.copy(opened)
    before = path.read_bytes()
    writer = files.writer(opened, overwrite=True)
    writer.start()
    receipts = [writer.write([each], opened.reader.read([each])) for each in files.requests(opened)]
    assert len(receipts) == 15, "13 chunks of one sample, and a chunk for each of the other blocks"
    del receipts[lost]
    with pytest.raises(
        UnfinishedArchiveError, match=r"rows of 'blocks/[02]/values.npy' were not written.*save again"
    ):
        commit(writer, receipts)
    writer.abort()
    assert path.read_bytes() == before
    assert files.listing() == ["in.mts", "out.mts"]


def test_rows_that_overlap_are_noticed(files: Files, small_chunks: None) -> None:
    opened = open_mts(files.map())
    writer = files.writer(opened)
    writer.start()
    receipts = [writer.write([each], opened.reader.read([each])) for each in files.requests(opened)]
    assert receipts[0].rows[0][:3] == (0, 0, 1)
    receipts[0] = replace(receipts[0], rows=(*receipts[0].rows, RowReceipt(0, 0, 2, 0)))
    with pytest.raises(UnfinishedArchiveError, match="were not written once each, from row 1 of 13 on"):
        commit(writer, receipts)
    writer.abort()


def test_abort_removes_the_unfinished_file(opened: OpenedMts, files: Files) -> None:
    writer = files.writer(opened)
    writer.start()
    assert len(files.listing()) == 2
    writer.abort()
    writer.abort()
    assert files.listing() == ["in.mts"]
    each = files.requests(opened)[0]
    task = pickle.loads(pickle.dumps(writer))
    with pytest.raises(UnfinishedArchiveError, match="the unfinished file is gone"):
        task.write([each], opened.reader.read([each]))


def test_a_start_that_fails_leaves_nothing(opened: OpenedMts, files: Files) -> None:
    class Broken:
        def read(self, start: int, stop: int) -> None:
            raise OSError("no such disk")

    samples = opened.metadata[0].samples
    broken = Labels.from_source(samples.names, len(samples), samples.digest, Broken())
    metadata = (replace(opened.metadata[0], samples=broken), *opened.metadata[1:])
    writer = MtsWriter(files.folder / "out.mts", opened.keys, metadata, opened.outlines, info={})
    with pytest.raises(OSError, match="no such disk"):
        writer.start()
    assert files.listing() == ["in.mts"]


FULL_DISK = """
import resource, signal, sys
import numpy as np
from outgrad.storage.mts.writer import MtsWriter
from outgrad.data.chunk import Chunk
from outgrad.labels.labels import Labels
from outgrad.data.outline import Outline
from outgrad.data.requests import Request
from outgrad.data.metadata import BlockMetadata

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
metadata = BlockMetadata(Labels.range("system", 1000), (), Labels.range("n", 100))
outline = Outline(np.array([0, 1000]), (100,), np.dtype("f8"))
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    writer = MtsWriter(sys.argv[1], Labels.single(), [metadata], [outline], info={}, overwrite=True)
    try:
        writer.start()
        commit(writer, [writer.write([Request(0, ((0, 1000),))], [Chunk(np.zeros((1000, 100)))])])
        print("done")
    except OSError as error:
        writer.abort()
        print(error)
"""


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """The limits strike headers, labels, the table of places and the directory."""
    path = tmp_path / "out.mts"
    path.write_text("the old file")
    limits = ["100", "10000", "804000", "805100", "805200"]
    command = [sys.executable, "-c", FULL_DISK, str(path), *limits]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = result.stdout.splitlines()
    assert len(lines) == len(limits)
    assert all(line.startswith(f"[Errno 27] File too large: '{tmp_path}/.out.mts.") for line in lines), lines
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_edges_of_the_outline_do_not_bind_the_writer(
    opened: OpenedMts, files: Files, same: Callable[..., Any]
) -> None:
    """Rows may come in any cut that covers them, as when packed parts differ from the outlines given."""
    writer = files.writer(opened)
    writer.start()
    metadata = opened.metadata[0]
    finer = at_edges(metadata, opened.outlines[0].dtype, np.array([0, 2, 9, 13]))
    split = replace(opened, outlines=(finer, *opened.outlines[1:]))
    commit(writer, [writer.write([each], opened.reader.read([each])) for each in files.requests(split)])
    same(open_mts(files.folder / "out.mts"), files.map_arrays())
