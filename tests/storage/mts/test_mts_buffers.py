"""Bytes in memory and open files: the reader and the writer of paths, under metatensor's names, both ways."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveError, ArchiveExistsError, ArchiveNotFoundError, FileFormatError
from outgrad.storage.mts.file import Limits, MtsBytes
from outgrad.storage.mts.reader import read_mts
from tests.support import ROOT
from tests.support.mts_files import Files

DATA = ROOT / "examples" / "data"
KINDS = ["map", "block", "labels"]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
NUMPY = pytest.mark.parametrize("use_numpy", [False, True])


@pytest.fixture
def made(files: Files) -> dict[str, Any]:
    """One of each kind: a map with nested gradients and info, its first block, its keys."""
    tensor = og.load(files.map())
    tensor.set_info("unit", "eV")
    return {"map": tensor, "block": tensor.block(0), "labels": tensor.keys}


@pytest.fixture
def metatensor() -> Any:
    return pytest.importorskip("metatensor")


def same(found: Any, expected: Any) -> bool:
    assert type(found) is type(expected)
    if isinstance(found, og.TensorMap):
        assert found.info() == expected.info()
    return bool(found == expected)


def load_of(lib: Any, kind: str) -> Any:
    return {"map": lib.load, "block": lib.load_block, "labels": lib.load_labels}[kind]


def buffer_of(lib: Any, kind: str) -> Any:
    return {
        "map": lib.io.load_buffer,
        "block": lib.io.load_block_buffer,
        "labels": lib.io.load_labels_buffer,
    }[kind]


# ---- round trips ----
@EVERY_KIND
def test_functions(made: dict[str, Any], kind: str, tmp_path: Path) -> None:
    data = made[kind]
    og.save(tmp_path / "a.mts", data)
    assert same(load_of(og, kind)(tmp_path / "a.mts"), data)
    assert same(load_of(og, kind)(str(tmp_path / "a.mts")), data)
    buffer = og.io.save_buffer(data)
    assert isinstance(buffer, memoryview)
    for content in (buffer, bytes(buffer), bytearray(buffer)):
        assert same(buffer_of(og, kind)(content), data)
        assert same(og.io.load_buffer(content), data)


@EVERY_KIND
def test_methods(made: dict[str, Any], kind: str, tmp_path: Path) -> None:
    data = made[kind]
    data.save(tmp_path / "a.mts")
    assert same(type(data).load(tmp_path / "a.mts"), data)
    assert same(type(data).load_buffer(data.save_buffer()), data)
    with pytest.raises(ArchiveExistsError):
        data.save(tmp_path / "a.mts")
    data.save(tmp_path / "a.mts", overwrite=True)
    data.save(tmp_path / "a.zarr")
    assert same(type(data).load(tmp_path / "a.zarr"), data)


@EVERY_KIND
def test_open_files(made: dict[str, Any], kind: str, tmp_path: Path) -> None:
    data = made[kind]
    with (tmp_path / "a.mts").open("wb") as stream:
        og.save(stream, data)
    with (tmp_path / "a.mts").open("rb") as stream:
        assert same(load_of(og, kind)(stream), data)
    with (tmp_path / "a.mts").open("rb") as stream:
        assert same(type(data).load(stream), data)
    assert (tmp_path / "a.mts").read_bytes() == bytes(og.io.save_buffer(data))


@EVERY_KIND
def test_a_buffer_has_the_bytes_of_a_file(made: dict[str, Any], kind: str, tmp_path: Path) -> None:
    og.save(tmp_path / "a.mts", made[kind])
    assert bytes(og.io.save_buffer(made[kind])) == (tmp_path / "a.mts").read_bytes()


@EVERY_KIND
@NUMPY
def test_use_numpy_is_accepted(made: dict[str, Any], kind: str, tmp_path: Path, use_numpy: bool) -> None:
    data = made[kind]
    og.save(tmp_path / "a.mts", data, use_numpy)
    data.save(tmp_path / "b.mts", use_numpy=use_numpy)
    assert (tmp_path / "a.mts").read_bytes() == (tmp_path / "b.mts").read_bytes()
    assert bytes(og.io.save_buffer(data, use_numpy=use_numpy)) == (tmp_path / "a.mts").read_bytes()
    if kind != "labels":
        assert same(load_of(og, kind)(tmp_path / "a.mts", use_numpy=use_numpy), data)
        assert same(buffer_of(og, kind)(data.save_buffer(), use_numpy=use_numpy), data)


def test_lazy_data_are_written_by_threads(made: dict[str, Any], tmp_path: Path) -> None:
    lazy = made["map"].chunk(target_bytes=512)

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("another scheduler was asked")

    with dask.config.set(scheduler=refused):
        buffer = og.io.save_buffer(2 * lazy)
    assert same(og.io.load_buffer(buffer), 2 * made["map"])


def test_what_is_loaded_has_memory_of_its_own(made: dict[str, Any]) -> None:
    buffer = bytearray(og.io.save_buffer(made["map"]))
    found = og.io.load_buffer(buffer)
    buffer[:] = bytes(len(buffer))
    assert same(found, made["map"])
    values = found.block(0).values
    assert values.flags.carray


def test_maps_without_blocks_and_blocks_without_rows() -> None:
    empty = og.TensorMap(og.Labels.empty("key"), [])
    assert same(og.TensorMap.load_buffer(empty.save_buffer()), empty)
    rows = og.block_from_array(np.empty((0, 3)))
    assert same(og.TensorBlock.load_buffer(rows.save_buffer()), rows)


@EVERY_KIND
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_loaded_data_pickle(made: dict[str, Any], kind: str, protocol: int) -> None:
    found = og.io.load_buffer(made[kind].save_buffer())
    assert same(pickle.loads(pickle.dumps(found, protocol)), made[kind])


# ---- metatensor ----
@EVERY_KIND
@NUMPY
def test_metatensor_reads_our_buffers(
    metatensor: Any, made: dict[str, Any], kind: str, use_numpy: bool
) -> None:
    options = {} if kind == "labels" else {"use_numpy": use_numpy}
    found = buffer_of(metatensor, kind)(og.io.save_buffer(made[kind]), **options)
    assert same(og.from_metatensor(found), made[kind])


@EVERY_KIND
@NUMPY
def test_we_read_buffers_of_metatensor(
    metatensor: Any, made: dict[str, Any], kind: str, use_numpy: bool
) -> None:
    theirs = metatensor.io.save_buffer(og.to_metatensor(made[kind]), use_numpy=use_numpy)
    assert same(buffer_of(og, kind)(theirs), made[kind])


@EVERY_KIND
@NUMPY
def test_files_of_methods_are_exchanged(
    metatensor: Any, made: dict[str, Any], kind: str, tmp_path: Path, use_numpy: bool
) -> None:
    ours, theirs = made[kind], og.to_metatensor(made[kind])
    options = {} if kind == "labels" else {"use_numpy": use_numpy}
    ours.save(tmp_path / "ours.mts")
    theirs.save(str(tmp_path / "theirs.mts"), **options)
    assert same(og.from_metatensor(type(theirs).load(tmp_path / "ours.mts", **options)), ours)
    assert same(type(ours).load(tmp_path / "theirs.mts", **options), ours)


def member(content: bytes) -> tuple[Any, ...]:
    """What NumPy reads of a member. Headers are spelled with other spaces, but are equally long."""
    array = np.lib.format.read_array(io.BytesIO(content))
    return len(content), array.dtype, array.shape, array.tobytes()


def test_labels_have_the_bytes_of_metatensor(metatensor: Any) -> None:
    labels = og.Labels(["system", "atom"], [[0, 4], [0, 5], [3, 1]])
    assert member(labels.save_buffer()) == member(og.to_metatensor(labels).save_buffer())


@pytest.mark.parametrize("kind", ["map", "block"])
def test_members_have_the_bytes_of_metatensor(metatensor: Any, made: dict[str, Any], kind: str) -> None:
    """The order of members and their dates may differ; names and content may not."""
    contents = []
    for data in (made[kind], og.to_metatensor(made[kind])):
        with zipfile.ZipFile(io.BytesIO(data.save_buffer())) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            contents.append({name: member(archive.read(name)) for name in names})
    assert contents[0] == contents[1]


def test_npz_files_of_older_tutorials(metatensor: Any, made: dict[str, Any], tmp_path: Path) -> None:
    metatensor.save(tmp_path / "old.npz", og.to_metatensor(made["map"]), use_numpy=True)
    assert same(og.load(tmp_path / "old.npz"), made["map"])
    assert same(og.TensorMap.load(tmp_path / "old.npz", use_numpy=True), made["map"])


# ---- the wrong kind ----
LOADER = {"map": "load", "block": "load_block", "labels": "load_labels"}
NAME = {"map": "TensorMap", "block": "TensorBlock", "labels": "Labels"}


@pytest.mark.parametrize(
    ("wanted", "given"), [(wanted, given) for wanted in KINDS for given in KINDS if wanted != given]
)
def test_a_wrong_kind_says_which_function_reads_it(
    made: dict[str, Any], wanted: str, given: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.mts"
    made[given].save(path)
    start, end = f"unable to load a {NAME[wanted]} from ", f"to load {NAME[given]}, which is there"
    method = type(made[wanted])
    with pytest.raises(ArchiveError, match=f"^{start}'{path}', use `{LOADER[given]}` {end}$"):
        method.load(path)
    with (
        path.open("rb") as stream,
        pytest.raises(ArchiveError, match=f"^{start}a file, use `{LOADER[given]}`"),
    ):
        method.load(stream)
    with pytest.raises(ArchiveError, match=f"^{start}buffer, use `{LOADER[given]}_buffer` {end}$"):
        method.load_buffer(path.read_bytes())
    if wanted != "map":
        with pytest.raises(og.MetatensorError, match=f"use `{LOADER[given]}`"):
            load_of(og, wanted)(path)
        with pytest.raises(og.MetatensorError, match=f"use `{LOADER[given]}_buffer`"):
            buffer_of(og, wanted)(path.read_bytes())


@pytest.mark.parametrize("given", ["block", "labels"])
def test_metatensor_names_the_same_function(
    metatensor: Any, made: dict[str, Any], given: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.mts"
    made[given].save(path)
    for lib in (metatensor, og):
        with pytest.raises(
            lib.MetatensorError, match=f"unable to load a TensorMap from .*use `{LOADER[given]}"
        ):
            lib.TensorMap.load(path)


# ---- errors ----
def test_other_data_are_refused(tmp_path: Path) -> None:
    for lib_save in (lambda: og.save(tmp_path / "a.mts", 3), lambda: og.io.save_buffer(3)):
        with pytest.raises(
            TypeError, match="`data` must be one of 'Labels', 'TensorBlock' or 'TensorMap', not"
        ):
            lib_save()


def test_a_file_is_a_path_or_open(made: dict[str, Any]) -> None:
    with pytest.raises(
        TypeError,
        match=r"save: the path must be str or os.PathLike, got int; .*take open files too",
    ):
        og.save(3, made["map"])


def test_text_is_no_buffer(made: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match="the buffer must be bytes, bytearray or memoryview, got str; for a path"
    ):
        og.io.load_buffer("a.mts")
    (tmp_path / "a.txt").write_text("text")
    with (tmp_path / "a.txt").open() as stream, pytest.raises(TypeError, match=r"the file gave str .* 'rb'"):
        og.load(stream)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY"])
def test_damaged_buffers(content: bytes) -> None:
    with pytest.raises(FileFormatError, match=r"read .*'<buffer>'"):
        og.io.load_buffer(content)


def test_truncated_and_changed_buffers_raise(made: dict[str, Any]) -> None:
    whole = bytes(og.io.save_buffer(made["block"]))
    for length in range(0, len(whole), 97):
        with pytest.raises(FileFormatError):
            og.io.load_buffer(whole[:length])
    at = whole.index(b"\x93NUMPY") + 128  # the first number of the values
    changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    with pytest.raises(FileFormatError, match=r"'values\.npy' in '<buffer>': its checksum"):
        og.io.load_buffer(changed)


@pytest.mark.parametrize(("offset", "nbytes"), [(2, 2), (-1, 1), (0, 4)])
def test_bytes_outside_of_a_buffer(offset: int, nbytes: int) -> None:
    source = MtsBytes(b"abc")
    assert source.read(0, 3) == b"abc"
    with pytest.raises(FileFormatError, match=f"{nbytes} bytes at {offset} lie outside of its 3 bytes"):
        source.read(offset, nbytes)
    with pytest.raises(FileFormatError, match="outside of its 3 bytes"):
        source.read_into(memoryview(bytearray(nbytes)), offset)


def test_limits_hold_for_buffers(files: Files) -> None:
    bomb = files.zip({"keys.npy": bytes(1 << 22)}, zipfile.ZIP_DEFLATED).read_bytes()
    with pytest.raises(FileFormatError):
        og.io.load_buffer(bomb)
    content = files.map(method=zipfile.ZIP_DEFLATED).read_bytes()
    with pytest.raises(FileFormatError, match="more than 0 for a file of"):
        read_mts(content, Limits(label_bytes=0, label_expansion=0))


@pytest.mark.parametrize("other", ["names", "dtype"])
def test_blocks_of_a_map_agree(files: Files, other: str) -> None:
    arrays = files.map_arrays(sizes=(3, 2))
    for name, array in arrays.items():
        if name.startswith("blocks/1/") and name.endswith("values") and other == "dtype":
            arrays[name] = array.astype("f4")
    if other == "names":
        arrays["blocks/1/samples"] = files.table("system other", [[0, 0], [0, 1]])
    path = files.zip(files.members(arrays))
    match = {
        "names": "sample names of block 0 are",
        "dtype": "block 0 has dtype float64, but block 1 has float32",
    }
    for load in (og.open, lambda path: og.io.load_buffer(path.read_bytes())):
        with pytest.raises(FileFormatError, match=match[other]):
            load(path)


def test_a_failed_write_leaves_an_open_file_alone(made: dict[str, Any]) -> None:
    stream = io.BytesIO()
    with pytest.raises(FileFormatError, match="labels without dimensions"):
        og.save(stream, og.Labels.empty([]))
    assert stream.getvalue() == b""


# ---- suffixes ----
def test_a_path_without_suffix_gets_one(made: dict[str, Any], tmp_path: Path) -> None:
    for kind in KINDS:
        path = tmp_path / kind
        with pytest.warns(
            UserWarning, match=f"adding '.mts' extension, the file will be saved at '{path}.mts'"
        ):
            og.save(path, made[kind])
        assert same(og.load(f"{path}.mts"), made[kind])
    with pytest.raises(ArchiveError, match=r"the suffix '\.txt' names no format"):
        og.save(tmp_path / "a.txt", made["map"])


def test_the_warning_is_that_of_metatensor(metatensor: Any, made: dict[str, Any], tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="adding '.mts' extension, the file will be saved at"):
        metatensor.save(str(tmp_path / "theirs"), og.to_metatensor(made["map"]))
    assert (tmp_path / "theirs.mts").exists()


def test_a_missing_file(tmp_path: Path) -> None:
    for load in (og.load, og.load_block, og.load_labels, og.TensorMap.load):
        with pytest.raises(ArchiveNotFoundError, match=r"missing\.mts"):
            load(tmp_path / "missing.mts")


@pytest.mark.parametrize("path", sorted(DATA.glob("*.mts")), ids=lambda path: path.stem)
def test_shipped_data_through_memory(path: Path) -> None:
    tensor = og.load(path)
    assert same(og.io.load_buffer(path.read_bytes()), tensor)
    assert same(og.io.load_buffer(tensor.save_buffer()), tensor)
