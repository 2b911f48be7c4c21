"""Whichever change of the file system fails while an archive grows: a version is there or not, and told."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad.errors import UnfinishedArchiveError, ValidationError
from outgrad.storage.zarr import revision
from outgrad.testing.asserts import assert_identical
from outgrad.testing.random_blocks import Parameter
from tests.support.archive_files import misplaced_files
from tests.support.faulty_disk import MODES, FaultyDisk, attempt, killed, moments, refuse_links
from tests.support.pieces import joined, piece


def part(seed: int, systems: int = 2) -> og.TensorMap:
    return piece(seed, systems=systems, keys=(0,), gradients={"positions": Parameter((3,))})


def whole(*seeds: int) -> og.TensorMap:
    return joined([part(seed) for seed in seeds])


LARGE = part(7, systems=9)


def grow(path: Path, *maps: og.TensorMap) -> None:
    for each in maps:
        og.append(path, each)


def refuse(path: Path) -> None:
    """Let data be kept that did not fit then, and do now."""
    grow(path, part(0))
    writer = og.ArchiveWriter(path, append=True)
    writer.append(part(1))
    og.append(path, part(1) * 2)
    with pytest.raises(ValidationError, match="is there already"):
        writer.close()
    og.restore(path, 1)


def write_two(path: Path) -> None:
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(part(1))
        writer.append(part(2))


def grow_without_links(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", refuse_links)
        grow(path, part(1))


def save_files(path: Path, *seeds: int) -> None:
    for seed in seeds:
        og.save(path.with_name(f"{seed}.mts"), part(seed))


def index_files(path: Path) -> None:
    og.index(sorted(path.parent.glob("*.mts")), path, append=True)


class Scenario(NamedTuple):
    before: Callable[[Path], None]
    call: Callable[[Path], Any]
    expected: og.TensorMap
    """What the newest version holds when all is done."""
    repeats: bool = False
    """Whether the call can be made again when it was done."""
    repeated_bytes: int = 10**9
    """How much a commit repeats while the call runs."""
    first: int = 1
    """The first version that is there when all is done."""


SCENARIOS = {
    "append, nothing there": Scenario(lambda p: None, lambda p: grow(p, part(0)), whole(0)),
    "append": Scenario(lambda p: grow(p, part(0)), lambda p: grow(p, part(1)), whole(0, 1)),
    "append, no hard links": Scenario(lambda p: grow(p, part(0)), grow_without_links, whole(0, 1)),
    "append, with a list": Scenario(
        lambda p: grow(p, *map(part, range(3))),
        lambda p: grow(p, part(3)),
        whole(*range(4)),
        repeated_bytes=10,
    ),
    "writer": Scenario(lambda p: grow(p, part(0)), write_two, whole(0, 1, 2)),
    "compact": Scenario(lambda p: grow(p, *map(part, range(3))), og.compact, whole(0, 1, 2), repeats=True),
    "compact, twice with a list": Scenario(
        lambda p: grow(p, part(0), part(1), LARGE, part(8), part(9)),
        partial(og.compact, smaller_than=LARGE.nbytes),
        joined([part(0), part(1), LARGE, part(8), part(9)]),
        repeats=True,
        repeated_bytes=10,
    ),
    "restore": Scenario(
        lambda p: grow(p, part(0), part(1)), lambda p: og.restore(p, 1), whole(0), repeats=True
    ),
    "commit": Scenario(refuse, og.commit, whole(0, 1), repeats=True),
    "index": Scenario(lambda p: save_files(p, 0, 1), index_files, whole(0, 1)),
    "index, append": Scenario(lambda p: (grow(p, part(0)), save_files(p, 1, 2)), index_files, whole(0, 1, 2)),
    "materialize": Scenario(
        lambda p: (save_files(p, 0, 1), index_files(p)), og.materialize, whole(0, 1), repeats=True
    ),
    "clean": Scenario(
        lambda p: (grow(p, *map(part, range(3))), og.compact(p), grow(p, part(3))),
        lambda p: og.clean(p, keep=1),
        whole(*range(4)),
        repeats=True,
        first=5,
    ),
}


@pytest.fixture(params=SCENARIOS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(name: str, tmp_path: Path) -> Callable[[], Path]:
    """Make the archive as it is before, again and again."""
    before = tmp_path / "before"
    before.mkdir()
    SCENARIOS[name].before(before / "a.zarr")

    def fresh() -> Path:
        folder = tmp_path / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        return folder / "a.zarr"

    return fresh


def call(scenario: Scenario, path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="synchronous"):
        patch.setattr(revision, "REPEATED_BYTES", scenario.repeated_bytes)
        scenario.call(path)


def versions(path: Path) -> dict[int, og.TensorMap]:
    """What each version holds."""
    if not path.exists() or not any(path.iterdir()):
        return {}
    try:
        return {each.version: og.open(path, version=each.version).compute() for each in og.history(path)}
    except UnfinishedArchiveError:
        return {}


def same(first: og.TensorMap, second: og.TensorMap) -> bool:
    try:
        assert_identical(first, second)
    except AssertionError:
        return False
    return True


def judge(
    scenario: Scenario, told: str, before: dict[int, og.TensorMap], now: dict[int, og.TensorMap]
) -> str:
    """One word for an outcome, which must be ``right``."""
    lost = [version for version in before if version not in now and version >= scenario.first]
    changed = [version for version in now if version in before and not same(now[version], before[version])]
    if lost or changed:
        return f"older versions: {lost} lost, {changed} changed"
    if told == "done" and min(now) < scenario.first:
        return "told done: versions are there that are not kept"
    newest = max(now, default=0)
    is_new = newest > max(before, default=0)
    if scenario.first == 1 and told == "done" and not is_new:
        return "told done: not there"
    if is_new and not same(now[newest], scenario.expected):
        return "neither old nor new"
    # The first of two compactions may be done when the second fails: the content is the same.
    if (
        told in ("failed", "interrupted")
        and is_new
        and not same(now[newest], before.get(newest - 1, scenario.expected))
    ):
        return f"told {told}: it is there"
    return "right"


def again(scenario: Scenario, path: Path, *, is_done: bool) -> str:
    """The same call without a fault; then cleaning leaves what is needed, and nothing else."""
    try:
        if is_done and not scenario.repeats:
            with pytest.raises(ValidationError, match="is there already"):
                call(scenario, path)
        else:
            call(scenario, path)
    except Exception as error:
        return f"again: {error!r}"
    if not same(og.load(path), scenario.expected):
        return "again: not there"
    og.clean(path)
    misplaced = misplaced_files(path)
    if misplaced:
        return f"misplaced: {misplaced}"
    problems = og.verify(path)
    return f"verify: {problems}" if problems else "right"


@pytest.mark.parametrize("mode", MODES)
def test_a_version_is_there_or_not_and_told(
    name: str, mode: str, start: Callable[[], Path], rounds: Any, tally: Any
) -> None:
    scenario = SCENARIOS[name]
    path, disk = start(), FaultyDisk()
    before = versions(path)
    with disk():
        call(scenario, path)
    names, wrong = disk.names, []
    chance = np.random.default_rng(sum(map(ord, mode + name)))
    tried = moments([*names, "link"], mode, few=False)[:-1]
    for at in sorted(chance.permutation(tried)[: rounds(2, len(tried))].tolist()):
        path, disk = start(), FaultyDisk(mode, at)
        if mode == "kill":
            told, text = ("killed" if killed(disk, partial(call, scenario, path)) else "done"), ""
        else:
            told, text = attempt(disk, partial(call, scenario, path))
        gc.collect()
        now = versions(path)
        outcome = judge(scenario, told, before, now)
        if outcome == "right":
            outcome = again(scenario, path, is_done=max(now, default=0) > max(before, default=0))
        tally(told if outcome == "right" else outcome.split(":")[0])
        if outcome != "right":
            wrong.append(f"{mode} at {at} of {len(names)} ({disk.hit}), told {told} ({text}): {outcome}")
    assert wrong == []
