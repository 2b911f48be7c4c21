"""Any damage of any file of an archive: the same data or an error, and a line of ``verify``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveError
from tests.support.forging import content, own_arrays, shared_arrays
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


def verified(path: Path) -> list[Any]:
    try:
        return og.verify(path)
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
