"""Files of other programs: whatever metatensor reads is read, with the same result."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import FileFormatError
from outgrad.storage.mts.npy import encode_table_header
from outgrad.storage.mts.reader import open_mts, verify_mts
from outgrad.testing import assert_identical
from tests.support.mts_files import Files

metatensor = pytest.importorskip("metatensor")


def theirs(path: Path) -> og.TensorMap:
    """What metatensor reads, as ours."""
    return og.from_metatensor(metatensor.load(str(path)))


def sample_map(parameter: str = "positions") -> Any:
    """A map of two blocks with a component and a gradient, of metatensor."""
    blocks = []
    for number in range(2):
        samples = metatensor.Labels(["system", "atom"], np.array([[0, 0], [0, 1], [1, number]]))
        component, properties = metatensor.Labels.range("mu", 3), metatensor.Labels.range("n", 2)
        values = np.arange(18.0).reshape(3, 3, 2) + number
        block = metatensor.TensorBlock(values, samples, [component], properties)
        below = metatensor.Labels(["sample", "atom"], np.array([[0, 0], [2, 1]]))
        xyz = metatensor.Labels.range("xyz", 3)
        rows = np.arange(36.0).reshape(2, 3, 3, 2)
        gradient = metatensor.TensorBlock(rows, below, [xyz, component], properties)
        block.add_gradient(parameter, gradient)
        blocks.append(block)
    made = metatensor.TensorMap(metatensor.Labels.range("l", 2), blocks)
    made.set_info("unit", "Å")
    return made


@pytest.fixture
def members(tmp_path: Path) -> dict[str, bytes]:
    """The members of a file of metatensor."""
    path = tmp_path / "theirs.mts"
    metatensor.save(str(path), sample_map())
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# ---- what else is in the ZIP file -----------------------------------------------------------------

JUNK = {
    "folders": ["blocks/", "blocks/0/", "blocks/0/gradients/"],
    "macOS": ["__MACOSX/._keys.npy", "__MACOSX/blocks/0/._values.npy", ".DS_Store", "blocks/0/.DS_Store"],
    "Java": ["META-INF/", "META-INF/MANIFEST.MF"],
    "Windows": ["Thumbs.db", "desktop.ini"],
    "text": ["README", "README.md", "blocks/0/notes.txt", "blocks/0/gradients/positions/notes.txt"],
    "other arrays": ["forces.npy", "blocks/x/values.npy", "blocks/007/values.npy", "a" * 60_000],
    "properties of a gradient": ["blocks/0/gradients/positions/properties.npy"],
    "control characters": ["a\nb", "\x1b[31mred"],
}


@pytest.mark.parametrize("name", JUNK)
def test_what_the_layout_does_not_have_is_ignored(files: Files, members: dict[str, bytes], name: str) -> None:
    path = files.zip(members | dict.fromkeys(JUNK[name], b"nothing that matters"))
    assert_identical(og.load(path), theirs(path))
    assert og.verify(path) == []
    assert_identical(og.io.load_buffer(path.read_bytes()), theirs(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_how_junk_is_compressed_does_not_matter(files: Files, members: dict[str, bytes], method: int) -> None:
    path = files.zip(members)
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("README", b"text " * 100)
    assert_identical(og.load(path), theirs(path))


def test_arrays_that_belong_to_nothing_are_told_of(files: Files, members: dict[str, bytes]) -> None:
    stale = {name.replace("blocks/0/", "blocks/7/"): content for name, content in members.items()}
    for rest in (
        stale,
        {"values.npy": members["blocks/0/values.npy"]},
        {"blocks/0/components/5.npy": members["blocks/0/properties.npy"]},
    ):
        path = files.zip(rest | members)
        with pytest.warns(UserWarning, match=r"in.mts' has \d+ member.* belong to nothing and are not read"):
            found = og.load(path)
        assert_identical(found, theirs(path))


def test_a_gradient_of_which_a_part_is_missing_is_not_ignored(
    files: Files, members: dict[str, bytes]
) -> None:
    for name in ("values", "samples"):
        rest = {**members}
        del rest[f"blocks/1/gradients/positions/{name}.npy"]
        path = files.zip(rest)
        with pytest.raises(FileFormatError, match=rf"'blocks/1/gradients/positions/{name}.npy' is missing"):
            og.load(path)
        assert og.verify(path) != []


# ---- who has zipped it ----------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """A stream that cannot be sought in, so that sizes follow the data."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def writable(self) -> Any:
        return True

    def write(self, content: bytes) -> int:
        return self.stream.write(content)


def python_zip(
    path: Path,
    members: dict[str, bytes],
    method: int,
    *,
    pipe: bool = False,
    zip64: bool = False,
    extra: bytes = b"",
    comment: bytes = b"",
) -> None:
    with (
        path.open("wb") as stream,
        zipfile.ZipFile(Pipe(stream) if pipe else stream, "w", method) as archive,
    ):
        archive.comment = comment
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.extra, info.comment = method, extra, comment[:9]
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(content)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "options",
    [
        {"pipe": True},
        {"pipe": True, "zip64": True},
        {"zip64": True},
        {"extra": b"up\5\0\1abcd"},
        {"comment": b"made by PK\5\6 hand"},
    ],
    ids=repr,
)
def test_files_zipped_by_python(
    tmp_path: Path, members: dict[str, bytes], method: int, options: dict[Any, Any]
) -> None:
    path = tmp_path / "again.mts"
    python_zip(path, members, method, **options)
    assert_identical(og.load(path), theirs(path))
    assert og.verify(path) == []


@pytest.mark.parametrize("padding", [b"\n", bytes(512), b"PK\5\6", b"PK\5\6" + bytes(18)])
def test_bytes_after_the_end(files: Files, members: dict[str, bytes], padding: bytes) -> None:
    path = files.zip(members)
    path.write_bytes(path.read_bytes() + padding)
    try:
        expected = theirs(path)
    except metatensor.MetatensorError:
        with pytest.raises(FileFormatError):
            og.load(path)
    else:
        assert_identical(og.load(path), expected)


COMMANDS = [
    "zip -q -r",
    "zip -q -0 -r",
    "zip -q -D -r",
    "zip -q -fz -r",
    "zip -q -r - > ",
    "jar cf",
    "jar cf0",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_files_zipped_by_other_programs(tmp_path: Path, members: dict[str, bytes], command: str) -> None:
    program = shutil.which(command.split()[0])
    if program is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    for name, content in members.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    path = tmp_path / "again.mts"
    arguments = "- ." if command.endswith("> ") else f"{path} ."
    line = f"{command.removesuffix('- > ')} {arguments}" + (f" > {path}" if command.endswith("> ") else "")
    subprocess.run(["sh", "-c", line], cwd=tmp_path / "folder", check=True, capture_output=True)
    assert_identical(og.load(path), theirs(path))
    assert og.verify(path) == []


# ---- compressed arrays of nearly only zeros -------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(200_000, 20), (3, 1_000_000), (1_000_000, 1)])
def test_zeros_that_compress_a_thousand_times(tmp_path: Path, rows: int, columns: int) -> None:
    made = metatensor.TensorMap(
        metatensor.Labels.single(),
        [
            metatensor.TensorBlock(
                np.zeros((rows, columns)),
                metatensor.Labels.range("system", rows),
                [],
                metatensor.Labels.range("n", columns),
            )
        ],
    )
    plain, path = tmp_path / "plain.mts", tmp_path / "zeros.npz"
    metatensor.save(str(plain), made)
    with np.load(plain) as arrays:
        np.savez_compressed(path, **{name: arrays[name] for name in arrays.files})
    assert_identical(og.load(path), theirs(path))
    assert og.sum_over_samples(og.open(path), "system").block().values.compute().sum() == 0
    assert og.verify(path) == []


# ---- names ----------------------------------------------------------------------------------------

PARAMETERS = [
    "σ",
    "é",
    "e\u0301",
    "日本",
    "😀",
    "a b",
    "a\nb",
    "a\\b",
    "..",
    ".",
    "",
    "C:a",
    "\u202eabc",
    "x" * 300,
]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_gradients_of_any_name(tmp_path: Path, parameter: str) -> None:
    path, ours = tmp_path / "theirs.mts", tmp_path / "ours.mts"
    metatensor.save(str(path), sample_map(parameter))
    found = og.load(path)
    assert found.block(0).gradients_list() == [parameter]
    assert_identical(found, theirs(path))
    og.save(ours, og.open(path))
    assert_identical(theirs(ours), found)
    assert_identical(og.load(ours), found)
    names = [zipfile.ZipFile(each).namelist() for each in (path, ours)]
    assert sorted(names[0]) == sorted(names[1])


def test_a_gradient_with_a_slash_is_refused_and_not_ignored(tmp_path: Path) -> None:
    """metatensor writes it, and cannot read it."""
    path = tmp_path / "slash.mts"
    metatensor.save(str(path), sample_map("a/b"))
    with pytest.raises(metatensor.MetatensorError):
        metatensor.load(str(path))
    with pytest.raises(FileFormatError, match="the name of a gradient has a slash"):
        og.load(path)


# ---- files of equistore ---------------------------------------------------------------------------


def old_name(name: str) -> str:
    """The name that a member had before April 2023."""
    folder, _, last = name.rpartition("/")
    if "gradients/" in name:
        return name.replace("/values.npy", "/data.npy")
    if not name.startswith("blocks/"):
        return name
    number = folder.split("/")[1]
    rest = name.removeprefix(f"blocks/{number}/")
    return f"blocks/{number}/values/{'data.npy' if last == 'values.npy' else rest}"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_of_equistore(files: Files, members: dict[str, bytes], method: int) -> None:
    """The layout of 2022, which metatensor itself no longer reads."""
    new = files.zip(members, name="new.mts")
    old = files.zip({old_name(name): content for name, content in members.items()}, method, "old.npz")
    assert "blocks/1/values/components/0.npy" in zipfile.ZipFile(old).namelist()
    with pytest.raises(metatensor.MetatensorError, match="not found in archive"):
        metatensor.load(str(old))
    assert_identical(og.load(old), og.load(new))
    assert_identical(og.open(old).compute(), og.load(new))
    assert og.verify(old) == []


def test_damage_of_an_old_file_names_the_member_it_has(files: Files, members: dict[str, bytes]) -> None:
    old = {old_name(name): content for name, content in members.items()}
    old["blocks/1/values/data.npy"] = old["blocks/1/values/data.npy"][:-8]
    with pytest.raises(FileFormatError, match=r"'blocks/1/values/data.npy' in .*bytes of data"):
        og.load(files.zip(old))
    del old["blocks/1/values/data.npy"]
    with pytest.raises(FileFormatError, match=r"'blocks/1/values.npy' is missing"):
        og.load(files.zip(old))
    both = {old_name(name): content for name, content in members.items()} | members
    with pytest.raises(FileFormatError, match=r"'blocks/0/values.* has the same data"):
        og.load(files.zip(both))


# ---- whatever is written is read ------------------------------------------------------------------


def test_large_info(tmp_path: Path) -> None:
    block = og.block_from_array(np.ones((2, 2)))
    made = og.TensorMap(og.Labels.single(), [block])
    made.set_info("history", "x" * 2_000_000)
    made.set_info("σ" * 10_000, "\n\u2028")
    path = tmp_path / "info.mts"
    og.save(path, made)
    assert_identical(og.load(path), made)
    assert_identical(theirs(path), made)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    deflated = tmp_path / "deflated.mts"
    python_zip(deflated, content, zipfile.ZIP_DEFLATED)
    assert_identical(og.load(deflated), made)


@pytest.mark.parametrize("count", [1, 300, 2000, 5000])
def test_labels_of_many_dimensions(tmp_path: Path, count: int) -> None:
    """More names than NumPy reads without being told to, and more than 16 bits count."""
    names = [f"dimension_{number:021}" for number in range(count)]
    samples = og.Labels(names, np.arange(count)[None])
    made = og.TensorBlock(np.ones((1, 1)), samples, [], og.Labels.range("n", 1))
    path, back = tmp_path / "many.mts", tmp_path / "back.mts"
    og.save(path, made)
    assert_identical(og.load_block(path), made)
    assert_identical(og.from_metatensor(metatensor.load_block(str(path))), made)
    metatensor.save(str(back), metatensor.load_block(str(path)))
    assert_identical(og.load_block(back), made)


def test_more_names_than_are_read_are_not_written() -> None:
    assert encode_table_header(["a" * 1_000_000], 0)
    with pytest.raises(FileFormatError, match=r"names of labels take .* shorten the names"):
        encode_table_header(["a" * (1 << 20)], 0)


@pytest.mark.parametrize("axes", [2, 32, 33, 64])
def test_arrays_of_many_axes(tmp_path: Path, axes: int) -> None:
    components = [og.Labels.range(f"c{number}", 1) for number in range(axes - 2)]
    made = og.TensorBlock(
        np.ones((2, *(1 for _ in components), 1)),
        og.Labels.range("s", 2),
        components,
        og.Labels.range("p", 1),
    )
    path = tmp_path / "axes.mts"
    og.save(path, made)
    assert_identical(og.load_block(path), made)
    if axes < 64:  # one axis more than metatensor reads
        assert_identical(og.from_metatensor(metatensor.load_block(str(path))), made)


@pytest.mark.parametrize("depth", [1, 8, 9, 64])
def test_gradients_of_gradients(tmp_path: Path, depth: int) -> None:
    made = None
    for level in range(depth + 1):
        samples = og.Labels(["sample" if level < depth else "s"], [[0]])
        block = og.TensorBlock(np.full((1, 1), float(level)), samples, [], og.Labels.range("p", 1))
        if made is not None:
            block.add_gradient("g", made)
        made = block
    path = tmp_path / "deep.mts"
    og.save(path, made)
    assert_identical(og.load_block(path), made)
    assert_identical(og.from_metatensor(metatensor.load_block(str(path))), made)
    assert open_mts(path).kind == "block"
    assert verify_mts(path) == []


@pytest.mark.skipif(sys.byteorder == "big", reason="written for little-endian machines")
@pytest.mark.parametrize(
    "dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"]
)
def test_every_type_both_ways(tmp_path: Path, dtype: str) -> None:
    values = np.arange(6).reshape(3, 2).astype(dtype)
    made = og.block_from_array(values)
    path, back = tmp_path / "ours.mts", tmp_path / "theirs.mts"
    og.save(path, made)
    read = metatensor.load_block(str(path))
    assert_identical(og.from_metatensor(read), made)
    metatensor.save(str(back), read)
    assert_identical(og.load_block(back), made)
