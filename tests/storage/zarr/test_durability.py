"""In which order things reach the disk: data, folders, the commit, its folder; only then old data go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import outgrad as og

Step = tuple[str, str]
CHANGES = ("fsync", "link", "replace", "unlink", "rmdir", "mkdir", "write", "pwrite")


def lazy(value: float) -> og.TensorBlock:
    values = da.full((40, 3), value, chunks=(10, 3))
    return og.TensorBlock(values, og.Labels.range("system", 40), [], og.Labels.range("n", 3))


@contextmanager
def recorded() -> Iterator[list[Step]]:
    """What happens to which file, in order; a file that is moved is called by its last name."""
    steps: list[Step] = []

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            first = arguments[0]
            folder = options.get("dir_fd")
            above = "" if folder is None else f"{Path(f'/proc/self/fd/{folder}').readlink()}/"
            path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else f"{above}{first}"
            steps.append((name, str(path)))
            if name == "replace":
                steps[:] = [(s, str(arguments[1]) if p == str(first) else p) for s, p in steps]
            return original(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, wrap(name, getattr(os, name)))
        yield steps


def flushed(steps: list[Step]) -> set[str]:
    return {path for name, path in steps if name == "fsync"}


@pytest.fixture(autouse=True)
def _on_one_thread() -> Iterator[None]:
    settings = {"scheduler": "synchronous", "outgrad.chunk-bytes": 300, "outgrad.durable": True}
    with dask.config.set(settings):
        yield


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_archive_is_on_the_disk_before_it_is_visible(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "a.zarr"
    if overwrite:
        og.save(path, lazy(1.0))
    with recorded() as steps:
        og.save(path, lazy(2.0), overwrite=overwrite)
    (at,) = [n for n, (name, file) in enumerate(steps) if name == "link" and "/commits/" in file]
    before, after = steps[:at], steps[at + 1 :]
    (segment,) = (path / "segments").glob("*/")
    files = {str(file) for file in segment.rglob("*") if file.is_file()}
    folders = {str(folder) for folder in segment.rglob("*") if folder.is_dir()}
    above = {str(folder) for folder in (segment, path / "segments", path, tmp_path)}
    assert files | folders | above | {steps[at][1]} <= flushed(before)
    assert before[-1] == ("fsync", steps[at][1]), "the commit comes last"
    last_of_files = max(n for n, (name, file) in enumerate(before) if name == "fsync" and file in files)
    first_of_folders = min(n for n, (name, file) in enumerate(before) if name == "fsync" and file in folders)
    assert last_of_files < first_of_folders
    assert after[0] == ("fsync", str(path / "commits"))
    gone = [file for name, file in before if name in ("unlink", "rmdir")]
    old = [file for file in gone if not file.endswith(".partial") and segment.name not in file]
    assert old == [], "nothing old has gone"
    assert bool([step for step in after if step[0] == "rmdir"]) is overwrite


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_on_the_disk_before_it_is_visible(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "a.mts"
    if overwrite:
        og.save(path, lazy(1.0))
    with recorded() as steps:
        og.save(path, lazy(2.0), overwrite=overwrite)
    visible = "replace" if overwrite else "link"
    (at,) = [n for n, (name, _) in enumerate(steps) if name == visible]
    written = [n for n, (name, _) in enumerate(steps) if name in ("write", "pwrite")]
    flushes = [n for n, (name, file) in enumerate(steps) if name == "fsync" and file != str(tmp_path)]
    assert max(written) < max(flushes) < at
    assert steps.index(("fsync", str(tmp_path))) > at


def test_several_become_visible_when_all_are_on_the_disk(tmp_path: Path) -> None:
    names = ("a.zarr", "b.mts", "c.zarr", "d.mts")
    for name in names:
        og.save(tmp_path / name, lazy(1.0))
    with recorded() as steps:
        og.save_all({tmp_path / name: lazy(2.0) for name in names}, overwrite=True)
    visible = [
        n
        for n, (name, path) in enumerate(steps)
        if (name == "link" and "/commits/" in path)
        or (name == "replace" and path.endswith(("b.mts", "d.mts")))
    ]
    between = steps[min(visible) : max(visible)]
    assert len(visible) == 4
    assert not [step for step in between if step[0] in ("fsync", "write", "pwrite", "unlink", "rmdir")]


@pytest.mark.parametrize("how", ["argument", "setting"])
@pytest.mark.parametrize("name", ["a.zarr", "a.mts"])
def test_durable_is_a_switch(tmp_path: Path, name: str, how: str) -> None:
    with recorded() as steps, dask.config.set({"outgrad.durable": how == "argument"}):
        og.save(tmp_path / name, lazy(1.0), **({"durable": False} if how == "argument" else {}))
    assert not flushed(steps)
    assert og.allclose_block(og.load(tmp_path / name), lazy(1.0).compute())


def test_pieces_are_flushed_together_at_the_end(tmp_path: Path) -> None:
    with recorded() as steps, og.ArchiveWriter(tmp_path / "a.zarr") as writer:
        writer.append(og.TensorMap(og.Labels.single(), [lazy(1.0).compute()]))
        during = flushed(steps)
    assert not [path for path in during if "/segments/" in path]
    (segment,) = (tmp_path / "a.zarr" / "segments").glob("*/")
    assert {str(file) for file in segment.rglob("*") if file.is_file()} <= flushed(steps)


def test_a_new_file_has_the_permissions_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mts"
    og.save(path, lazy(1.0))
    for mode in (0o600, 0o640, 0o666):
        path.chmod(mode)
        og.save(path, lazy(2.0), overwrite=True)
        assert path.stat().st_mode & 0o777 == mode


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=r"save .*a\.zarr: No space left on device \(.*zarr\.json\)"):
        og.save(tmp_path / "a.zarr", lazy(1.0))
    assert not (tmp_path / "a.zarr").exists()
    monkeypatch.undo()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device.*a\.mts"):
        og.save(tmp_path / "a.mts", lazy(1.0))
    assert np.array_equal(list(tmp_path.iterdir()), [])
