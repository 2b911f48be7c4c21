"""Any damage of any file of an archive: the same data or an error, and a line of ``verify``.

And from a copy ``repair`` brings every byte back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveError
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.zarr import commits, revision
from outgrad.storage.zarr.format import ChunkSizes
from tests.support import old_archives
from tests.support.forging import content, make_map, own_arrays, shared_arrays
from tests.support.mts_files import Files


@pytest.fixture(scope="module")
def originals(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    shared_arrays(folder / "shared.zarr")
    own_arrays(folder / "own.zarr")
    return folder


def flip(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    raw = bytearray(file.read_bytes())
    for place in rng.integers(0, 8 * len(raw), rng.integers(1, 4)):
        raw[place // 8] ^= 1 << place % 8
    file.write_bytes(raw)


def truncate(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw[: rng.integers(0, len(raw))])


def lengthen(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.write_bytes(file.read_bytes() + rng.bytes(rng.integers(1, 50)))


def overwrite(rng: np.random.Generator, file: Any, files: Files) -> None:
    file.write_bytes(rng.bytes(file.stat().st_size))


def zero(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def empty(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.write_bytes(b"")


def inflate(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    with file.open("r+b") as opened:
        opened.truncate(2**40)  # of no size on the disk


def delete(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.unlink()


def delete_folder(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    shutil.rmtree(file.parent)


def swap(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    other = files[rng.integers(len(files))]
    one, two = file.read_bytes(), other.read_bytes()
    file.write_bytes(two)
    other.write_bytes(one)


def replace(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.write_bytes(files[rng.integers(len(files))].read_bytes())


def rename(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.rename(file.with_name(file.name.replace("0", "1") + "0"[: file.name.count("0") == 0]))


def move_folder(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


def become_folder(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.unlink()
    file.mkdir()


def become_file(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    folder = file.parent
    shutil.rmtree(folder)
    folder.write_bytes(b"a file")


def become_loop(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.unlink()
    file.symlink_to(file.name)


def become_folder_loop(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    folder = file.parent
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)


def dangle(rng: np.random.Generator, file: Any, files: Files) -> None:
    file.unlink()
    file.symlink_to("nothing")


def become_pipe(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.unlink()
    os.mkfifo(file)


def forbid(rng: np.random.Generator, file: Any, files: Files) -> None:
    file.chmod(0)


def forbid_folder(rng: np.random.Generator, file: Path, files: list[Path]) -> None:
    file.parent.chmod(0)


DAMAGES = (
    flip,
    flip,
    flip,
    truncate,
    lengthen,
    overwrite,
    zero,
    empty,
    inflate,
    delete,
    delete_folder,
    swap,
    replace,
    rename,
    move_folder,
    become_folder,
    become_file,
    become_loop,
    become_folder_loop,
    dangle,
    become_pipe,
    forbid,
    forbid_folder,
)


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def bytes_of(path: Path) -> dict[Path, bytes]:
    """What the commit vouches for: all but what Zarr alone reads."""
    return {file: file.read_bytes() for file in files_of(path) if file.name != "zarr.json"}


def loaded(path: Path, right: list[Any]) -> str:
    try:
        return "same" if content(og.load(path)) == right else "silent"
    except ArchiveError:
        return "refused"


def verified(path: Path, **options: Any) -> list[Any]:
    try:
        return og.verify(path, **options)
    except ArchiveError as error:
        return [str(error)]


def intact(path: Path, before: dict[Path, bytes]) -> bool:
    try:
        return bytes_of(path) == before
    except OSError:
        return False


def remove_all(path: Path) -> None:
    """Remove the archive, also where it is forbidden or is no folder any more."""
    for folder, _, _ in os.walk(path.parent):
        Path(folder).chmod(0o700)
    for left in path.parent.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def test_any_damage_of_any_file(
    originals: Path, tmp_path: Path, rounds: Callable[..., Any], tally: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(2024)
    path = tmp_path / "a.zarr"
    names = ["shared.zarr", "own.zarr"]
    right = {name: content(og.load(originals / name)) for name in names}
    wrong = []
    for count in range(rounds(40, 2000)):
        name = names[rng.integers(2)]
        shutil.copytree(originals / name, path)
        before, files = bytes_of(path), files_of(path)
        # Chunks are many and commits are few: as often this as that.
        kinds = [[f for f in files if f.name.endswith(".json") == is_json] for is_json in (True, False)]
        group = kinds[rng.integers(2)] if rng.integers(8) else [*path.glob("commits/*.json")]
        file = group[rng.integers(len(group))]
        damage = DAMAGES[(count + rng.integers(2)) % len(DAMAGES)]
        damage(rng, file, files)
        outcome = loaded(path, right[name])
        lines = verified(path)
        tally(f"{outcome}, {'reported' if lines else 'harmless'}")
        if outcome == "silent" or (not lines and (outcome != "same" or not intact(path, before))):
            wrong.append((count, name, damage.__name__, str(file.relative_to(path)), outcome, lines))
        remove_all(path)
    assert not wrong


# ---- archives that refer to other files and archives ----
FOREIGN = (
    flip,
    flip,
    flip,
    truncate,
    lengthen,
    overwrite,
    zero,
    empty,
    delete,
    swap,
    replace,
    dangle,
    forbid,
)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: Any) -> Path:
    """A folder with an archive, the files that it refers to, and another archive to whose segment it does."""
    folder = tmp_path_factory.mktemp("indexed")
    rng = np.random.default_rng(9)
    for number in range(3):
        og.save(folder / f"{number}.mts", make_map(rng, 4, start=100 * number))
    og.save(folder / "other.zarr", make_map(rng, 4, start=300))
    og.index([*sorted(folder.glob("*.mts")), folder / "other.zarr"], folder / "all.zarr")
    return folder


def test_any_damage_of_what_is_referred_to(
    indexed: Path, tmp_path: Path, rounds: Callable[..., Any], tally: Callable[..., Any]
) -> None:
    """Sizes and times may be as they were: then checksums tell."""
    rng = np.random.default_rng(31)
    right = content(og.load(indexed / "all.zarr"))
    folder, path = tmp_path / "copy", tmp_path / "copy" / "all.zarr"
    wrong = []
    for count in range(rounds(13, 1500)):
        shutil.copytree(indexed, folder)  # with the times of files
        assert loaded(path, right) == "same"
        files = [file for file in files_of(folder) if "all.zarr" not in file.parts]
        if count % 3:
            files = [file for file in files if file.suffix == ".mts"]
        times = {file: file.stat().st_mtime_ns for file in files}
        file = files[rng.integers(len(files))]
        damage = FOREIGN[count % len(FOREIGN)]
        damage(rng, file, files)
        if rng.integers(4):
            for each, modified in times.items():
                if each.is_file():
                    os.utime(each, ns=(modified, modified))
        outcome, lines = loaded(path, right), verified(path)
        tally(f"{outcome}, {'reported' if lines else 'harmless'}")
        if outcome == "silent" or (outcome == "refused" and not lines):
            wrong.append((count, damage.__name__, str(file.relative_to(folder)), outcome, lines))
        if damage is forbid:
            file.chmod(0o600)
        shutil.rmtree(folder)
    assert not wrong


# ---- archives of several versions and segments, and repair ----
SIZES = {
    "several chunks a shard": ChunkSizes(
        shard=900, chunk=300, table_shard=120, table_chunk=40, share_below=0, fine_chunk=2500
    ),
    "one chunk a shard": ChunkSizes(shard=700, chunk=700, table_shard=200, table_chunk=200, share_below=0),
    "shared": ChunkSizes(share_from=2, shard=900, chunk=300, table_shard=400, table_chunk=100),
}
MENDABLE = (flip, flip, truncate, lengthen, overwrite, zero, empty, delete, delete_folder, swap, replace)
KINDS = {
    "values": "**/values*/**/c.*",
    "samples": "**/samples/c.*",
    "labels": "segments/**/[kpcl][eroa][yom]*/**/c.*",
    "offsets": "**/offsets*/**/c.*",
    "ranges": "**/ranges/c.*",
    "the list of chunks": "segments/*/ch*/c.*",
    "commits": "commits/0*.json",
    "lists": "commits/" + "[0-9a-f]" * 32 + ".json",
    "zarr.json": "**/zarr.json",
}


def grown(path: Path, sizes: ChunkSizes) -> None:
    """Four versions: saved, appended, appended, and restored to the second."""
    rng = np.random.default_rng(8)
    for start in (0, 100, 200):
        with og.ArchiveWriter(path, append=True, sizes=sizes) as writer:
            writer.append(make_map(rng, 4, start=start))
    og.restore(path, 2)


@pytest.fixture(scope="module")
def grown_archives(tmp_path_factory: Any) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("grown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revision, "REPEATED_BYTES", 10)  # so that all have lists
        for name, sizes in SIZES.items():
            grown(folder / f"{name}.zarr", sizes)
        path = folder / "of version 1.zarr"
        shutil.copytree(old_archives.FOLDER / "lz4" / "map-float64.zarr", path)
        old = og.load(path)
        for number in (1000, 2000):
            og.append(path, og.shift_dimension(old, "system", number))
    return {path.stem: path for path in sorted(folder.iterdir())}


def all_bytes(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in files_of(path)}


def damaged(rng: np.random.Generator, path: Path, others: list[Path]) -> str:
    """Damage one object; return what was done to what."""
    kind = list(KINDS)[rng.integers(len(KINDS))]
    chosen = sorted(file for file in path.glob(KINDS[kind]) if file.is_file())
    if not chosen:
        return "nothing"
    file = chosen[rng.integers(len(chosen))]
    damage = MENDABLE[rng.integers(len(MENDABLE))]
    # Of the same place in another version, of another place of the kind, and of another archive.
    same = [
        each for each in files_of(path) if each.name == file.name and each.parent.name == file.parent.name
    ]
    elsewhere = [each for other in others for each in other.glob(KINDS[kind]) if each.is_file()]
    sources = (
        [same, chosen, elsewhere][rng.integers(3)] if damage is replace else [same, chosen][rng.integers(2)]
    )
    if damage is delete_folder and file.parent == path:
        damage = delete
    damage(rng, file, sources or chosen)
    return f"{damage.__name__} {file.relative_to(path)}"


def of_version(path: Path, right: dict[int, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Which version is loaded, "refused", or "silent" for what never was there."""
    monkeypatch.setattr(commits, "_lists", OpenFiles(256))  # what this process remembers of before
    try:
        found = content(og.load(path))
    except ArchiveError:
        return "refused"
    newest = max(right)
    if found == right[newest]:
        return "same"
    return "an older version" if found in right.values() else "silent"


@pytest.mark.parametrize("is_copy_damaged", [False, True], ids=["a whole copy", "a damaged copy"])
def test_damage_is_found_and_mended(
    is_copy_damaged: bool,
    grown_archives: dict[str, Path],
    tmp_path: Path,
    rounds: Callable[..., Any],
    tally: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(2026 + is_copy_damaged)
    right = {name: versions_of(original) for name, original in grown_archives.items()}
    before = {name: all_bytes(original) for name, original in grown_archives.items()}
    names, wrong = list(grown_archives), []
    for count in range(rounds(8, 500 if is_copy_damaged else 2000)):
        name = names[count % len(names)]
        whole, original, path = before[name], grown_archives[name], tmp_path / f"{name}.zarr"
        others = [grown_archives[other] for other in names if other != name]
        if not path.exists() or all_bytes(path) != whole:
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(original, path)
        done = [damaged(rng, path, others) for _ in range(1 + (count % 5 == 0) * 2)]
        now = all_bytes(path)
        # A version that is not the newest may be removed: that is no damage.
        older = sorted(file for file in whole if file.startswith("commits/0"))[:-1]
        removed = {file for file in older if file not in now}
        outcome = of_version(path, right[name], monkeypatch)
        lines = verified(path, all_versions=True)
        is_harmless = outcome == "same" and (
            removed or all(whole[file] == now.get(file) or file.endswith("zarr.json") for file in whole)
        )
        if outcome == "silent" or not (lines or is_harmless):
            wrong.append((count, name, done, outcome, lines))

        copy = original
        if is_copy_damaged:
            copy = shutil.copytree(original, tmp_path / "copy.zarr")
            done.extend(damaged(rng, copy, others) for _ in range(4))
        repaired = mended(path, copy)
        after = all_bytes(path)
        kept = {file: raw for file, raw in whole.items() if file not in removed or file in after}
        ended = of_version(path, right[name], monkeypatch)
        result = "mended" if after == kept else "mended in part"
        tally(f"{outcome}, {'reported' if lines else 'harmless'}, {result}, {ended}")
        worse = [file for file in after if after[file] not in (now.get(file), whole.get(file))]
        if worse or ended == "silent" or (outcome == "same" and ended != "same"):
            wrong.append((count, name, done, "worse", worse, ended))
        if not is_copy_damaged and (after != kept or ended != "same" or verified(path, all_versions=True)):
            wrong.append((count, name, done, "not mended", repaired))
        if is_copy_damaged:
            shutil.rmtree(copy)
    assert not wrong


def versions_of(path: Path) -> dict[int, Any]:
    versions = [each.version for each in og.history(path)]
    return {version: content(og.open(path, version=version).compute()) for version in versions}


def mended(path: Path, copy: Path) -> list[Any]:
    try:
        with dask.config.set({"outgrad.durable": False}):  # flushing takes most of the time
            return og.repair(path, copy, all_versions=True)
    except ArchiveError as error:
        return [str(error)]
