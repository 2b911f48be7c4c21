"""Clocks that are wrong, disks that are full or only read: what grows is as before, and why is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import outgrad as og
from outgrad.errors import ArchiveError
from outgrad.storage import leases
from outgrad.testing.asserts import assert_identical
from tests.support.archive_files import misplaced_files
from tests.support.pieces import joined, piece

YEAR = 365 * 86400.0

CALLS: dict[str, Callable[[Path], Any]] = {
    "append": lambda path: og.append(path, piece(7)),
    "compact": og.compact,
    "restore": lambda path: og.restore(path, 1),
    "save": lambda path: og.save(path, piece(7), overwrite=True),
}


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# ---- clocks ----
@pytest.mark.parametrize("years", [-40, 40])
def test_a_clock_that_is_set_while_an_archive_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    """The order of versions, and who is at work, do not depend on it."""
    path, original = tmp_path / "a.zarr", time.time
    og.append(path, piece(0))
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(piece(1))
        monkeypatch.setattr(time, "time", lambda: original() + years * YEAR)
        monkeypatch.setattr(time, "gmtime", lambda seconds=None: time.localtime(original() + years * YEAR))
        og.append(path, piece(2))
        og.compact(path)
        og.clean(path, keep=1)
        og.append(path, piece(3))
        og.clean(path)
    assert_identical(og.load(path), joined([piece(0), piece(2), piece(3), piece(1)]))
    assert og.verify(path) == []
    og.clean(path, keep=1, older_than="1h")
    og.clean(path, keep=1)
    assert misplaced_files(path) == []


def test_files_of_the_future(tmp_path: Path) -> None:
    """Another machine has set its clock wrong: files are in the future, and from long ago."""
    path = tmp_path / "a.zarr"
    og.append(path, piece(0))
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(piece(1))
        for number, file in enumerate(sorted(path.rglob("*"))):
            moment = time.time() + YEAR * (10 if number % 2 else -10)
            os.utime(file, (moment, moment))
        og.append(path, piece(2))
        og.clean(path)
    assert_identical(og.load(path), joined([piece(0), piece(2), piece(1)]))
    assert misplaced_files(path) == []


def test_who_is_at_work_is_known_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system computes the start of a process from the clock of now."""
    machine, _, _, rest = leases.new_token().split("-")
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            ticks = leases._starts_of(child.pid)[0]
            token = f"{machine}-{child.pid:x}-{ticks:x}-{rest}"
            assert leases.is_at_work(token, 0.0)
            original = psutil.Process.create_time
            monkeypatch.setattr(psutil.Process, "create_time", lambda process: original(process) + 3600)
            assert leases.is_at_work(token, 0.0)
            assert not leases.is_at_work(f"{machine}-{child.pid:x}-{ticks - 1000:x}-{rest}", 0.0)
        finally:
            child.kill()
    assert not leases.is_at_work(token, 0.0)


# ---- disks ----
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB, where this may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def refused(call: Callable[[Path], Any], path: Path) -> str:
    try:
        call(path)
    except OSError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", CALLS)
def test_a_full_disk(small_disk: Path, name: str, rounds: Any, tally: Any) -> None:
    path = small_disk / "a.zarr"
    for seed in range(2):
        og.append(path, piece(seed))
    before = contents(path)
    statistics = os.statvfs(small_disk)
    free = statistics.f_bavail
    for left in range(0, free, rounds(max(1, free // 6), 3)):
        filler = small_disk / "filler"
        filler.write_bytes(bytes((free - left) * statistics.f_frsize))
        text = refused(CALLS[name], path)
        if text:
            assert "No space left on device" in text
            filler.unlink()
            assert contents(path) == before
            tally("full")
            continue
        tally("done")
        return
    pytest.fail("it never fits")


def test_a_limit_of_the_size_of_files(tmp_path: Path) -> None:
    """As quotas do, where nothing can be mounted."""
    path = tmp_path / "a.zarr"
    og.append(path, piece(0))
    before = contents(path)
    program = f"""
import resource, signal, numpy as np, outgrad as og
from tests.support.pieces import piece
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    og.append({str(path)!r}, piece(1, systems=100))
except OSError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "append" in found.stdout or "save" in found.stdout
    assert "File too large" in found.stdout
    assert contents(path) == before


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """An archive on a disk that may only be read: mounted so."""
    path = tmp_path / "disk" / "a.zarr"
    path.parent.mkdir()
    for seed in range(2):
        og.append(path, piece(seed))
    commands = [["mount", "--bind"], ["mount", "-o", "remount,ro,bind"]]
    for command in commands:
        done = subprocess.run(
            [*command, str(path.parent), str(path.parent)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("nothing can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path.parent)], check=True)


@pytest.mark.parametrize("name", [*CALLS, "clean", "writer", "commit"])
def test_a_disk_that_may_only_be_read(read_only: Path, name: str) -> None:
    calls = {
        **CALLS,
        "clean": lambda path: og.clean(path, keep=1),
        "writer": lambda path: og.ArchiveWriter(path, append=True),
    }
    before = contents(read_only)
    if name == "commit":
        assert og.commit(read_only) == 0
    else:
        text = (
            rf"{name.replace('writer', 'write')} .*a\.zarr: (.* is mounted read-only|Read-only file system)"
        )
        with pytest.raises(ArchiveError, match=text):
            calls[name](read_only)
    assert contents(read_only) == before
    assert og.clean(read_only) == []
    assert_identical(og.load(read_only), joined([piece(0), piece(1)]))
    assert np.array_equal(og.verify(read_only), [])
