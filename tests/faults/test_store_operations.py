"""Whichever change of the file system fails while data are saved: the old data are there, or the new ones."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad.errors import UnfinishedArchiveError
from outgrad.testing.random_blocks import Parameter, random_block
from tests.support.faulty_disk import MODES, FaultyDisk, attempt, killed, moments


def made(seed: int) -> og.TensorMap:
    rng = np.random.default_rng(seed)
    samples, properties = og.Labels.range("system", 4 + seed), og.Labels.range("n", 2)
    blocks = [random_block(rng, samples, [], properties, {"positions": Parameter((3,))}) for _ in range(2)]
    return og.TensorMap(og.Labels.range("key", 2), blocks)


OLD, NEW = made(0), made(1)

Paths = dict[str, bool]
"""What a save writes, and whether something is there before."""

SCENARIOS: dict[str, Paths] = {
    "new archive": {"a.zarr": False},
    "archive over archive": {"a.zarr": True},
    "new file": {"a.mts": False},
    "file over file": {"a.mts": True},
    "several": {"a.zarr": True, "b.mts": True, "deep/c.zarr": False, "d.mts": False},
}


def save(folder: Path, paths: Paths) -> None:
    with dask.config.set(scheduler="synchronous"):
        overwrite = any(paths.values())
        og.save_all({folder / name: NEW for name in paths}, overwrite=overwrite)


def found(path: Path) -> str:
    """What is at a path: nothing, old, new, or something else. What was never finished is nothing."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return "nothing"
    try:
        loaded = og.load(path)
    except UnfinishedArchiveError:
        return "nothing"
    except og.OutgradError as error:
        return f"unreadable: {error}"
    return "old" if og.equal(loaded, OLD) else "new" if og.equal(loaded, NEW) else "other"


def left_over(folder: Path, paths: Paths) -> list[str]:
    """What does not belong to outputs that are whole."""
    odd = [str(path) for path in folder.rglob("*.partial")]
    for name in paths:
        segments = list((folder / name / "segments").glob("*/"))
        odd += map(str, segments[1:])
    known = {name.split("/")[0] for name in paths}
    return odd + [path.name for path in folder.iterdir() if path.name not in known]


@pytest.fixture(scope="module", params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(scenario: str, tmp_path: Path) -> Callable[[], Path]:
    """Make the folder as it is before a save, again and again."""
    before = tmp_path / "before"
    before.mkdir()
    for name, is_there in SCENARIOS[scenario].items():
        if is_there:
            og.save(before / name, OLD)

    def fresh() -> Path:
        folder = tmp_path / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        return folder

    return fresh


def judge(told: str, text: str, states: dict[str, str], paths: Paths) -> str:
    """One word for an outcome, which must be ``right``."""
    before = {name: "old" if is_there else "nothing" for name, is_there in paths.items()}
    if any(state not in (before[name], "new") for name, state in states.items()):
        return f"neither old nor new: {states}"
    if told == "killed":
        return "right"
    if told == "done":
        return "right" if set(states.values()) == {"new"} else f"told done: {states}"
    visible = [name for name, state in states.items() if state == "new"]
    unclear = [name for name in visible if f"{name} was written, and could not be taken back" not in text]
    return "right" if not unclear else f"told {told} ({text}), but new: {unclear}"


def changes(folder: Path, paths: Paths) -> list[str]:
    disk = FaultyDisk()
    with disk():
        save(folder, paths)
    return disk.names


@pytest.mark.parametrize("mode", MODES)
def test_old_or_new_and_told_which(
    scenario: str, mode: str, start: Callable[[], Path], rounds: Any, tally: Any
) -> None:
    paths = SCENARIOS[scenario]
    names = changes(start(), paths)
    wrong = []
    for at in moments(names, mode, bool(rounds(1, 0))):
        folder, disk = start(), FaultyDisk(mode, at)
        call = partial(save, folder, paths)
        if mode == "kill":
            told, text = ("killed" if killed(disk, call) else "done"), ""
        else:
            told, text = attempt(disk, call)
        gc.collect()
        states = {name: found(folder / name) for name in paths}
        outcome = judge(told, text, states, paths)
        if outcome == "right" and not ("new" in states.values() and not any(paths.values())):
            outcome = retried(folder, paths)
        tally("right" if outcome == "right" else outcome.split(":")[0])
        if outcome != "right":
            wrong.append(f"{mode} at {at} of {len(names)} ({disk.hit}): {outcome}")
    assert wrong == []


def retried(folder: Path, paths: Paths) -> str:
    """The same save again, without a fault."""
    try:
        save(folder, paths)
    except Exception as error:
        return f"retry blocked: {error!r}"
    if {found(folder / name) for name in paths} != {"new"}:
        return "retry not there"
    odd = left_over(folder, paths)
    return f"left over: {odd}" if odd else "right"
