"""Archives that refer to files: read like any other, and an error that names a file which is not as it
was."""

from __future__ import annotations

import os
import shutil
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import dask
import metatensor
import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad.errors import (
    ArchiveError,
    ArchiveExistsError,
    DamagedArchiveError,
    FileFormatError,
    PathError,
    ValidationError,
)
from outgrad.storage.zarr import outside
from outgrad.testing.asserts import assert_identical
from tests.support.archives import open_archive
from tests.support.pieces import joined, piece


def files(folder: Path, *pieces: og.TensorMap, suffix: str = ".mts") -> list[Path]:
    """Each piece in a file of its own."""
    made = [folder / f"piece-{number}{suffix}" for number in range(len(pieces))]
    for path, each in zip(made, pieces, strict=True):
        og.save(path, each)
    return made


PIECES = [piece(0), piece(1, keys=(1,)), piece(2, keys=(2, 0), systems=0), piece(3, systems=5)]


@pytest.mark.parametrize("suffix", [".mts", ".npz"])
def test_files_are_read_as_one_archive(tmp_path: Path, suffix: str) -> None:
    og.index(files(tmp_path, *PIECES, suffix=suffix), tmp_path / "all.zarr")
    expected = joined(PIECES)
    assert_identical(og.load(tmp_path / "all.zarr"), expected)
    for target in (1, 700, 10**6):
        assert_identical(og.open(tmp_path / "all.zarr", target_bytes=target), expected)
    lazy = og.open(tmp_path / "all.zarr", target_bytes=700)
    assert_identical(lazy * 2, expected * 2)
    chosen = og.Labels(["system", "atom"], [[32, 1], [0, 0]])
    assert_identical(og.open(tmp_path / "all.zarr", samples=chosen), og.slice(expected, "samples", chosen))
    assert og.verify(tmp_path / "all.zarr") == []
    (version,) = og.history(tmp_path / "all.zarr")
    assert (version.action, version.segments, version.nbytes) == ("index", 1, expected.nbytes)


def test_values_are_not_copied(tmp_path: Path) -> None:
    large = piece(0, systems=300)
    og.index(files(tmp_path, large), tmp_path / "all.zarr")
    size = sum(file.stat().st_size for file in (tmp_path / "all.zarr").rglob("*") if file.is_file())
    assert size < 0.15 * large.nbytes


@pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")
def test_gradients_that_are_not_sorted(tmp_path: Path) -> None:
    pieces = [piece(seed, order="any") for seed in range(3)]
    og.index(files(tmp_path, *pieces), tmp_path / "all.zarr")
    assert_identical(og.load(tmp_path / "all.zarr"), joined(pieces))
    assert_identical(og.open(tmp_path / "all.zarr", target_bytes=1), joined(pieces))


def test_files_of_metatensor(tmp_path: Path) -> None:
    for number in range(3):
        block = metatensor.TensorBlock(
            np.full((2, 3), float(number)),
            metatensor.Labels(["system"], np.array([[0], [1]])),
            [],
            metatensor.Labels.range("n", 3),
        )
        keys = metatensor.Labels(["key"], np.array([[number % 2]]))
        metatensor.save(str(tmp_path / f"{number}.mts"), metatensor.TensorMap(keys, [block]))
    og.index(sorted(tmp_path.glob("*.mts")), tmp_path / "all.zarr", renumber="system")
    found = og.load(tmp_path / "all.zarr")
    assert found.block(key=0).samples["system"].tolist() == [0, 1, 4, 5]
    assert found.block(key=0).values[:, 0].tolist() == [0, 0, 2, 2]
    assert found.block(key=1).samples["system"].tolist() == [2, 3]


def dataset(path: Path, pieces: list[og.TensorMap], target: str = "soap") -> None:
    """A data set as metatrain writes it: the files as .npy of bytes, in a ZIP file without compression."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, each in enumerate(pieces):
            archive.writestr(f"{number}/system.mta", b"a system")
            for name in (target, "energy"):
                stream = BytesIO()
                content = each if name == target else og.remove_gradients(each)
                np.save(stream, np.frombuffer(og.io.save_buffer(content), np.uint8))
                archive.writestr(f"{number}/{name}.mts", stream.getvalue())


def test_data_sets_of_metatrain(tmp_path: Path) -> None:
    pieces = [piece(seed) for seed in range(3)]
    dataset(tmp_path / "set.zip", pieces)
    og.index([tmp_path / "set.zip"], tmp_path / "all.zarr", target="soap")
    assert_identical(og.load(tmp_path / "all.zarr"), joined(pieces))
    with pytest.raises(
        ValidationError, match=r"it has the targets \['energy', 'soap'\]; pass target= with one"
    ):
        og.index([tmp_path / "set.zip"], tmp_path / "b.zarr")
    with pytest.raises(ValidationError, match="it has no target 'forces', but"):
        og.index([tmp_path / "set.zip"], tmp_path / "b.zarr", target="forces")


def test_archives_are_named_where_they_are(tmp_path: Path) -> None:
    og.append(tmp_path / "a.zarr", piece(0))
    og.append(tmp_path / "a.zarr", piece(1))
    og.index(files(tmp_path, piece(2)), tmp_path / "b.zarr")
    og.save(tmp_path / "c.mts", piece(3))
    og.index([tmp_path / "a.zarr", tmp_path / "c.mts", tmp_path / "b.zarr"], tmp_path / "all.zarr")
    expected = joined([piece(0), piece(1), piece(3), piece(2)])
    assert_identical(og.load(tmp_path / "all.zarr"), expected)
    og.append(tmp_path / "a.zarr", piece(7))  # what was named does not change
    assert_identical(og.load(tmp_path / "all.zarr"), expected)
    assert og.verify(tmp_path / "all.zarr") == []
    og.append(tmp_path / "all.zarr", piece(8))
    assert_identical(
        og.load(tmp_path / "all.zarr"), joined([piece(0), piece(1), piece(3), piece(2), piece(8)])
    )
    og.compact(tmp_path / "a.zarr")
    og.clean(tmp_path / "a.zarr", keep=1)
    with pytest.raises(ArchiveError, match="is missing"):
        og.load(tmp_path / "all.zarr")


def test_the_folder_may_be_moved(tmp_path: Path) -> None:
    (tmp_path / "before" / "pieces").mkdir(parents=True)
    og.index(files(tmp_path / "before" / "pieces", *PIECES), tmp_path / "before" / "all.zarr")
    shutil.move(tmp_path / "before", tmp_path / "after")
    assert_identical(og.load(tmp_path / "after" / "all.zarr"), joined(PIECES))


def test_adding_to_an_index(tmp_path: Path) -> None:
    made = files(tmp_path, *PIECES)
    og.index(made[:2], tmp_path / "all.zarr")
    with pytest.raises(ArchiveExistsError, match="the path exists; choose another one, or pass append=True"):
        og.index(made[2:], tmp_path / "all.zarr")
    og.index(made[2:], tmp_path / "all.zarr", append=True)
    assert_identical(og.load(tmp_path / "all.zarr"), joined(PIECES))
    with pytest.raises(ValidationError, match="is there already"):
        og.index(made[:1], tmp_path / "all.zarr", append=True)
    assert [version.action for version in og.history(tmp_path / "all.zarr")] == ["index", "index"]


def test_copying_it_in(tmp_path: Path) -> None:
    made = files(tmp_path, *PIECES)
    og.append(tmp_path / "all.zarr", piece(9))
    og.index(made, tmp_path / "all.zarr", append=True)
    og.append(tmp_path / "all.zarr", piece(10))
    expected = og.load(tmp_path / "all.zarr")
    og.compact(tmp_path / "all.zarr")
    assert len(og.history(tmp_path / "all.zarr")) == 3, "what is elsewhere is not copied by the way"
    og.save(tmp_path / "copy.zarr", og.open(tmp_path / "all.zarr"))
    og.materialize(tmp_path / "all.zarr")
    for path in made:
        path.unlink()
    for name in ("all.zarr", "copy.zarr"):
        assert_identical(og.load(tmp_path / name), expected)
        assert og.verify(tmp_path / name) == []
    with pytest.raises(DamagedArchiveError, match="it is gone"):
        og.open(tmp_path / "all.zarr", version=2).compute()


@pytest.mark.cluster
def test_workers_read_files(tmp_path: Path) -> None:
    og.index(files(tmp_path, *PIECES), tmp_path / "all.zarr")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        assert_identical(og.open(tmp_path / "all.zarr", target_bytes=500) * 3, joined(PIECES) * 3)


# ---- what is not as it was ----
CHANGES = {
    "gone": (lambda path: path.unlink(), "cannot be read: it is gone; index the files again"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"1"), "was changed since it was indexed"),
    "touched": (lambda path: os.utime(path, (1, 1)), "was changed since it was indexed"),
    "replaced": (lambda path: og.save(path, piece(1), overwrite=True), "was changed since it was indexed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_is_not_as_it_was(tmp_path: Path, name: str) -> None:
    made = files(tmp_path, piece(0), piece(1))
    og.index(made, tmp_path / "all.zarr")
    change, text = CHANGES[name]
    change(made[1])
    with pytest.raises(DamagedArchiveError, match=text) as caught:
        og.load(tmp_path / "all.zarr")
    assert "piece-1.mts" in str(caught.value)
    assert any("piece-1.mts" in problem for problem in og.verify(tmp_path / "all.zarr"))
    first = og.open(tmp_path / "all.zarr", samples=og.Labels("system", [[0], [1], [2]]))
    assert_identical(first, piece(0))


@pytest.mark.parametrize("checks", ["once", "never"])
@pytest.mark.parametrize("whole", [16 << 20, 100], ids=["at once", "apart"])
def test_every_flipped_bit_of_values_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, checks: str, whole: int
) -> None:
    monkeypatch.setattr(outside, "MEMBER_BYTES", whole)
    made = files(tmp_path, piece(0), piece(1))
    og.index(made, tmp_path / "all.zarr")
    status, content = made[1].stat(), made[1].read_bytes()
    (segment,) = open_archive(tmp_path / "all.zarr").commit.segments
    pieces = np.asarray(og.storage.zarr.opened_segment.OpenSegment(store(tmp_path), segment)._outside._pieces)
    expected = og.load(tmp_path / "all.zarr")
    with dask.config.set({"outgrad.mts-checks": checks}):
        for row in pieces[pieces[:, 1] == 1]:
            position = int(rng.integers(row[3], row[3] + row[4]))
            flipped = bytearray(content)
            flipped[position] ^= 1 << int(rng.integers(8))
            made[1].write_bytes(flipped)
            os.utime(made[1], ns=(status.st_atime_ns, status.st_mtime_ns))
            og.storage.zarr.reader._archives._items.clear()
            if checks == "once" or whole > 100:
                with pytest.raises(DamagedArchiveError, match="do not match their CRC-32"):
                    og.load(tmp_path / "all.zarr")
            assert og.verify(tmp_path / "all.zarr") != []
    made[1].write_bytes(content)
    os.utime(made[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    og.storage.zarr.reader._archives._items.clear()
    assert_identical(og.load(tmp_path / "all.zarr"), expected)


LIES: dict[str, tuple[int, int, str]] = {
    "rows of no piece": (0, 1, "the index does not say where all rows of .* are"),
    "rows in another order": (0, 10**6, "the index does not say where all rows of .* are"),
    "no such file": (1, 2, "it refers to file 2, and has 2"),
    "a negative file": (1, -1, "it refers to file -1, and has 2"),
}


@pytest.mark.parametrize("name", LIES)
def test_an_index_that_lies(tmp_path: Path, name: str) -> None:
    column, value, text = LIES[name]
    og.index(files(tmp_path, piece(0), piece(1)), tmp_path / "all.zarr")
    (segment,) = open_archive(tmp_path / "all.zarr").commit.segments
    opened = og.storage.zarr.opened_segment.OpenSegment(store(tmp_path), segment)
    number = segment.blocks[0].values.array
    opened._outside._pieces = opened._outside._pieces.copy()
    opened._outside._pieces[segment.arrays[number].pieces[0], column] = value
    with pytest.raises(DamagedArchiveError, match=text):
        opened.read_rows(number, 0, segment.arrays[number].shape[0])


def store(folder: Path) -> Any:
    return og.storage.local_store.LocalStore(folder / "all.zarr")


# ---- what does not fit, and where files may be ----
def test_files_that_do_not_fit(tmp_path: Path) -> None:
    others = {
        "values: float32": piece(1, dtype="float32"),
        "gradients": og.remove_gradients(piece(1)),
        "samples": og.rename_dimension(piece(1), "samples", "atom", "site"),
        "components or properties": piece(1, properties=(0, 5)),
        "its keys have names": og.rename_dimension(piece(1), "keys", "key", "centre"),
    }
    for number, (text, other) in enumerate(others.items()):
        made = files(tmp_path, piece(0))
        path = tmp_path / f"other-{number}.mts"
        og.save(path, other)
        where = rf"index .*other-{number}.mts: it does not fit to piece-0.mts"
        with pytest.raises(ValidationError, match=where) as caught:
            og.index([*made, path], tmp_path / "all.zarr")
        assert text in str(caught.value)
        made[0].unlink()
    assert not (tmp_path / "all.zarr").exists()


def test_what_cannot_be_referred_to(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packed.mts", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zipfile_members(og.io.save_buffer(piece(0))):
            archive.writestr(name, content)
    with pytest.raises(
        FileFormatError, match="it is compressed, and cannot be referred to; convert it first"
    ):
        og.index([tmp_path / "packed.mts"], tmp_path / "all.zarr")
    with pytest.raises(
        ValidationError, match=r"a sample of block .* is in two files: .* pass its name as renumber="
    ):
        og.index(files(tmp_path, piece(0), piece(0)), tmp_path / "all.zarr")
    with pytest.raises(ValidationError, match="index: no files were given"):
        og.index([], tmp_path / "all.zarr")
    assert not (tmp_path / "all.zarr").exists()


def zipfile_members(buffer: Any) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(BytesIO(buffer)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def test_files_are_only_read_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "home").mkdir()
    made = files(tmp_path / "data", piece(0))
    archive = tmp_path / "home" / "all.zarr"
    with pytest.raises(
        PathError, match=r"it is not in .*home; put the archive into a folder above its files"
    ):
        og.index(made, archive)
    og.index(made, archive, root=tmp_path / "data")
    with pytest.raises(
        PathError, match=r"and only those in .*home are read; if you trust it, allow the folder"
    ):
        og.load(archive)
    with dask.config.set({"outgrad.index-roots": [str(tmp_path / "data")]}):
        assert_identical(og.load(archive), piece(0))
    # A link inside of the folder leads out of it.
    made[0].rename(tmp_path / "data" / "moved.mts")
    (tmp_path / "secret.mts").write_bytes((tmp_path / "data" / "moved.mts").read_bytes())
    made[0].symlink_to(tmp_path / "secret.mts")
    og.storage.zarr.reader._archives._items.clear()
    with (
        dask.config.set({"outgrad.index-roots": [str(tmp_path / "data")]}),
        pytest.raises(PathError, match=r"it refers to 'piece-0.mts', which is not in"),
    ):
        og.load(archive)
