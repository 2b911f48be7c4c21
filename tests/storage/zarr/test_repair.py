"""Repair from a copy: every byte comes back, nothing else is taken, and nothing is worse than before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import pytest
import zarr

import outgrad as og
from outgrad.errors import ArchiveError, NotAnArchiveError
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.testing.asserts import assert_identical
from tests.support import ROOT, old_archives
from tests.support.archives import open_archive
from tests.support.faulty_disk import FaultyDisk, InjectedError
from tests.support.forging import Forgery, read_commit
from tests.support.pieces import joined, piece

SIZES = ChunkSizes(
    shard=1200, chunk=300, table_shard=200, table_chunk=50, share_below=0, fine_chunk=500, whole_system=10**6
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive of two versions and segments, of shards of several chunks."""
    made = tmp_path / "a.zarr"
    for seed in range(2):
        with og.ArchiveWriter(made, append=True, sizes=SIZES) as writer:
            writer.append(piece(seed))
    return made


@pytest.fixture
def copy(path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(path, path.with_name("copy.zarr")))


def bytes_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def spoil(file: Path, at: int = 10) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


def values_of(path: Path, array: str = "blocks/0/gradients/positions/values", segment: int = 0) -> Any:
    """The file of the first shard of an array, and what is known of the array."""
    spec = open_archive(path).commit.segments[segment]
    (found,) = (each for each in spec.arrays if each.path == array)
    return path / spec.prefix / found.shard_key(0), found


# ---- what is brought back ----
def test_nothing_to_do(path: Path, copy: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert og.repair(path, copy) == []
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def segments(path: Path) -> None:
    shutil.rmtree(path / "segments")


def one_segment(path: Path) -> None:
    shutil.rmtree(next(path.glob("segments/*/")))


def arrays(path: Path) -> None:
    for each in path.glob("segments/*/blocks/1"):
        shutil.rmtree(each)


def lists_of_chunks(path: Path) -> None:
    for file in path.glob("segments/*/chunks/c.*"):
        spoil(file)
    for file in path.glob("segments/*/blocks/*/values/c.*"):
        spoil(file)


def all_commits(path: Path) -> None:
    shutil.rmtree(path / "commits")


def commits_and_root(path: Path) -> None:
    shutil.rmtree(path / "commits")
    (path / "zarr.json").unlink()


def documents(path: Path) -> None:
    for file in path.rglob("zarr.json"):
        file.unlink()


def all_but_commits(path: Path) -> None:
    for each in path.iterdir():
        if each.name == "segments":
            shutil.rmtree(each)
        elif each.is_file():
            each.unlink()


LOSSES = [segments, one_segment, arrays, lists_of_chunks, all_commits, commits_and_root, documents]


@pytest.mark.parametrize("lose", [*LOSSES, all_but_commits], ids=lambda lose: lose.__name__)
def test_every_byte_comes_back(path: Path, copy: Path, lose: Callable[[Path], None]) -> None:
    lose(path)
    found = og.repair(path, copy)
    assert all(damage.details.mended for damage in found)
    assert all(damage.endswith("; mended") for damage in found)
    assert bytes_of(path) == bytes_of(copy)
    assert og.verify(path, all_versions=True) == og.repair(path, copy) == []


def test_older_versions_are_mended_too(path: Path, copy: Path) -> None:
    og.compact(path)
    copy = Path(shutil.copytree(path, path.with_name("later.zarr")))
    segments(path)
    og.repair(path, copy)
    assert_identical(og.load(path), joined([piece(0), piece(1)]))
    with pytest.raises(ArchiveError):
        og.open(path, version=1).compute()
    og.repair(path, copy, all_versions=True)
    assert bytes_of(path) == bytes_of(copy)


def test_an_archive_of_version_1(tmp_path: Path) -> None:
    copy = old_archives.FOLDER / "lz4" / "map-float64.zarr"
    path = Path(shutil.copytree(copy, tmp_path / "a.zarr"))
    for file in sorted(file for file in path.rglob("*") if file.is_file())[::3]:
        file.unlink()
    assert all(damage.details.mended for damage in og.repair(path, copy))
    assert bytes_of(path) == bytes_of(copy)


def test_both_are_damaged(path: Path, copy: Path) -> None:
    """A shard is put together of chunks that are whole in one of them; what is whole in neither is said."""
    (here, array), (there, _) = values_of(path), values_of(copy)
    whole = here.read_bytes()
    assert len(array.chunks_in(0)) > 1
    spoil(here, at=3)
    spoil(there, at=len(whole) - 16 * array.chunks_per_shard - 10)  # in the last chunk
    assert [damage.details.mended for damage in og.repair(path, copy)] == [True]
    assert here.read_bytes() == whole
    spoil(here, at=3)
    spoil(there, at=3)
    (damage,) = og.repair(path, copy)
    assert not damage.details.mended
    assert "; not mended: in the copy, storage chunk 0 is corrupted: its" in damage
    spoil(here, at=3)
    assert here.read_bytes() == whole, "it was left as it was"


def test_a_shard_whose_index_is_damaged_needs_no_copy(path: Path, copy: Path) -> None:
    (here, _), (there, _) = values_of(path), values_of(copy)
    spoil(here, at=-7)
    whole = there.read_bytes()
    there.unlink()
    (damage,) = og.repair(path, copy)
    assert damage.details.mended
    assert here.read_bytes() == whole


def test_what_users_have_added_comes_back(path: Path, copy: Path) -> None:
    document = next(copy.glob("segments/*/blocks/0/values/zarr.json"))
    zarr.open(document.parent, mode="r+").attrs["remark"] = "mine"
    for file in path.rglob("zarr.json"):
        file.unlink()
    og.repair(path, copy)
    assert bytes_of(path) == bytes_of(copy)
    # What contradicts the commit does not: it is made again.
    before = document.read_bytes()
    here = path / document.relative_to(copy)
    here.unlink()
    document.write_bytes(before.replace(b"float64", b"float32"))
    assert [damage.details.mended for damage in og.repair(path, copy)] == [True]
    assert b"float64" in here.read_bytes()
    assert b"mine" not in here.read_bytes()
    assert og.verify(path) == []


# ---- what is not taken ----
def test_another_content_with_checksums_of_its_own(path: Path, copy: Path) -> None:
    (here, array), (there, _) = values_of(path, "blocks/0/values", 0), values_of(copy, "blocks/0/values", 0)
    forged = Forgery(copy)
    forged.commit = read_commit(copy, 2)
    forged.segment = forged.commit["segments"][0]
    number = [each["path"] for each in forged.segment["arrays"]].index(array.path)
    forged.write(number, forged.read(number) * 2)
    before = here.read_bytes()
    assert there.read_bytes() != before
    here.unlink()
    (damage,) = og.repair(path, copy)
    assert not damage.details.mended
    assert "not mended: in the copy, storage chunk 0" in damage
    assert not here.exists()
    for file in path.glob("segments/*/chunks/c.*"):
        file.unlink()
    # Its own list of chunks fits to what it holds, and not to the commit that is here.
    forged.sign()
    lines = og.repair(path, copy)
    assert any("the list of chunks, which has its checksums, is damaged too" in line for line in lines)
    assert not here.exists()


def test_swapped_places_in_the_copy(path: Path, copy: Path) -> None:
    (here, _), (there, _) = values_of(path, "blocks/0/values"), values_of(copy, "blocks/0/values")
    (other, _) = values_of(copy, "blocks/1/values")
    here.unlink()
    there.write_bytes(other.read_bytes())
    (damage,) = og.repair(path, copy)
    assert "belongs to another position or version" in damage or "do not match their checksum" in damage
    assert not here.exists()


def test_a_commit_that_nothing_confirms(path: Path, copy: Path) -> None:
    """Both were appended to since the copy was made: the newest version of one is not that of the other."""
    og.append(path, piece(5))
    og.append(copy, piece(6))
    file = path / "commits" / "0000000003.json"
    before = file.read_bytes()
    file.write_bytes(bytes(len(before)))
    (damage,) = og.repair(path, copy)
    assert "not mended: the commit in the copy may be another one, as nothing that is left here" in damage
    assert file.read_bytes() == bytes(len(before))
    file.write_bytes(before[:200])  # its SHA-256 is left, and is another one
    assert not og.repair(path, copy)[0].details.mended
    file.unlink()
    assert not any(damage.details.mended for damage in og.repair(path, copy))
    file.write_bytes(before)
    assert og.repair(path, copy) == []


def test_a_copy_that_is_older_or_newer(path: Path, copy: Path) -> None:
    older = Path(shutil.copytree(path, path.with_name("older.zarr")))
    for each in (path, copy):
        shutil.rmtree(each)
        shutil.copytree(older, each)
    og.append(path, piece(5))
    for file in path.glob("segments/*/blocks/0/values/c.*"):
        file.unlink()
    found = og.repair(path, older)
    mended = {damage.details.segment: damage.details.mended for damage in found}
    assert sorted(mended.values()) == [False, True, True]
    assert all("in the copy, storage chunk 0 is missing" in d for d in found if not d.details.mended)
    newer = path
    og.repair(older, newer)
    assert [each.version for each in og.history(older)] == [1, 2], "it is only older, and not damaged"


def test_another_archive(path: Path, copy: Path, tmp_path: Path) -> None:
    og.save(tmp_path / "converted.zarr", og.open(path))
    og.compact(copy)
    og.clean(copy, keep=1)
    before = bytes_of(path)
    for other in (tmp_path / "converted.zarr", copy):
        with pytest.raises(
            ArchiveError,
            match=r"is another archive: it has none of the segments .* nothing was changed: give",
        ):
            og.repair(path, other)
    assert bytes_of(path) == before
    with pytest.raises(ArchiveError, match="the copy is the archive itself; give another one"):
        og.repair(path, path)
    og.save(tmp_path / "a.mts", piece(0))
    for pair in ((path, tmp_path / "a.mts"), (tmp_path / "a.mts", path)):
        with pytest.raises(
            NotAnArchiveError, match=r"this is a file, and only archives \(.zarr\) are repaired"
        ):
            og.repair(*pair)


# ---- obstacles ----
def test_what_is_in_the_way_stays(path: Path, copy: Path, tmp_path: Path) -> None:
    (here, _) = values_of(path, "blocks/0/values")
    (folder, _) = values_of(path, "blocks/1/values")
    (linked, _) = values_of(path, "blocks/1/samples")
    here.unlink()
    here.mkdir()
    shutil.rmtree(folder.parent)
    folder.parent.write_bytes(b"a file")
    shutil.move(linked.parent, tmp_path / "elsewhere")
    linked.parent.symlink_to(tmp_path / "elsewhere")
    spoil(tmp_path / "elsewhere" / linked.name)
    outside = bytes_of(tmp_path / "elsewhere")
    lines = [damage for damage in og.repair(path, copy) if not damage.details.mended]
    assert any("not mended: it cannot be written: Is a directory" in line for line in lines)
    assert any(
        "blocks/1/values is a file or a link where a folder belongs; remove it first" in x for x in lines
    )
    assert any("blocks/1/samples is a file or a link where a folder belongs" in line for line in lines)
    assert bytes_of(tmp_path / "elsewhere") == outside
    for each in (folder.parent, linked.parent):
        each.unlink()
    here.rmdir()
    og.repair(path, copy)
    assert bytes_of(path) == bytes_of(copy)


@pytest.mark.parametrize("mode", ["once", "from then on", "after it happened", "interrupt"])
def test_faults_of_the_disk(path: Path, copy: Path, tmp_path: Path, mode: str) -> None:
    """Each change fails, or is interrupted: what is there is as before or mended, and then it is mended."""
    whole = bytes_of(copy)
    shutil.rmtree(values_of(path)[0].parent)
    (path / "zarr.json").unlink()
    (path / "commits" / "0000000002.json").write_bytes(b"{")
    damaged = Path(shutil.copytree(path, tmp_path / "damaged.zarr"))
    before = bytes_of(path)
    disk = FaultyDisk()
    with dask.config.set({"outgrad.durable": True}), disk():
        og.repair(path, copy)
    assert bytes_of(path) == whole
    for at in range(0, len(disk.names), max(1, len(disk.names) // 6)):
        shutil.rmtree(path)
        shutil.copytree(damaged, path)
        with (
            suppress(InjectedError, ArchiveError, KeyboardInterrupt),
            dask.config.set({"outgrad.durable": True}),
            FaultyDisk(mode, at)(),
        ):
            og.repair(path, copy)
        found = {name: raw for name, raw in bytes_of(path).items() if not name.endswith(".partial")}
        assert all(raw in (before.get(name), whole[name]) for name, raw in found.items())
        og.repair(path, copy)
        assert {name: raw for name, raw in bytes_of(path).items() if not name.endswith(".partial")} == whole


def test_a_repair_that_is_killed(path: Path, copy: Path) -> None:
    segments(path)
    code = (
        "import os, signal, outgrad as og, outgrad.storage.files as files\n"
        "original, count = files.replace, []\n"
        "def replace(*paths):\n"
        "    count.append(paths)\n"
        "    if len(count) == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    original(*paths)\n"
        "files.replace = replace\n"
        f"og.repair({str(path)!r}, {str(copy)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert len(list(path.rglob("*.partial"))) == 1
    whole = bytes_of(copy)
    assert all(whole[name] == raw for name, raw in bytes_of(path).items() if not name.endswith(".partial"))
    og.repair(path, copy)
    assert bytes_of(path) == whole, "nor is the unfinished file there any more"
