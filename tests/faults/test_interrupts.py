"""Ctrl-C and SIGTERM at any moment of a save: the path is as before, nothing is left, and a retry works."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import psutil
import pytest

import outgrad as og
from outgrad.cli import main
from tests.support import ROOT

STOP_SECONDS = 60
"""A process that has not ended by then hangs."""

ROWS, CHUNKS = 240, 24


def slow(block: np.ndarray) -> np.ndarray:
    time.sleep(0.004)
    return block


def lazy(value: float) -> og.TensorMap:
    values = da.full((ROWS, 50), value, chunks=(ROWS // CHUNKS, 50)).map_blocks(slow, dtype=float)
    block = og.TensorBlock(values, og.Labels.range("system", ROWS), [], og.Labels.range("n", 50))
    return og.TensorMap(og.Labels.single(), [block])


def pieces() -> Iterator[og.TensorMap]:
    for number in range(12):
        rows = og.Labels("system", np.arange(20 * number, 20 * number + 20)[:, None])
        block = og.TensorBlock(np.full((20, 50), 2.0), rows, [], og.Labels.range("n", 50))
        yield og.TensorMap(og.Labels.single(), [block])
        time.sleep(0.005)


def save_archive(folder: Path) -> None:
    og.save(folder / "a.zarr", lazy(2.0), overwrite=True)


def save_file(folder: Path) -> None:
    og.save(folder / "a.mts", lazy(2.0), overwrite=True)


def save_several(folder: Path) -> None:
    og.save_all({folder / "a.zarr": lazy(2.0), folder / "a.mts": lazy(2.0)}, overwrite=True)


def write_pieces(folder: Path) -> None:
    with og.ArchiveWriter(folder / "a.zarr", overwrite=True) as writer:
        for piece in pieces():
            writer.append(piece)


def write_pieces_without_with(folder: Path) -> None:
    writer = og.ArchiveWriter(folder / "a.zarr", overwrite=True)
    for piece in pieces():
        writer.append(piece)
    writer.close()


def convert(folder: Path) -> None:
    source, target = str(folder / "source.zarr"), str(folder / "a.zarr")
    with dask.config.set({"outgrad.chunk-bytes": 4000}):
        main(["convert", source, target, "--overwrite"])


ENTRIES = [save_archive, save_file, save_several, write_pieces, write_pieces_without_with, convert]


def values_at(path: Path) -> float | None:
    """The one number that an output holds; None if nothing is there."""
    if not path.exists():
        return None
    found = np.unique(og.load(path).block().values)
    assert found.size == 1, "two saves are mixed"
    return float(found[0])


def forked(function: Callable[[Path], None], folder: Path) -> int:
    """Call a function in a child with the handlers of a new process; its number."""
    child = os.fork()
    if child:
        return child
    codes = [70]
    try:
        codes.append(called(function, folder))
    finally:  # an interrupt that comes late must not lead back into the parent's tests
        os._exit(codes[-1])


def called(function: Callable[[Path], None], folder: Path) -> int:
    """Call a function as a new process would; its exit code."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(folder.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        (folder / "started").touch()
        function(folder)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 130
    except SystemExit as end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        os.write(2, repr(error).encode())
        return 1
    finally:
        gc.collect()


def wait_for(child: int) -> int:
    """The exit code of a child, which must end."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("it did not stop")


def interrupted(function: Callable[[Path], None], folder: Path, number: int, after: float) -> int:
    child = forked(function, folder)
    while not (folder / "started").exists():
        time.sleep(0.001)
    (folder / "started").unlink()
    time.sleep(after)
    os.kill(child, number)
    return wait_for(child)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    folder = tmp_path / "before"
    folder.mkdir()
    for name in ("a.zarr", "a.mts", "source.zarr"):
        og.save(folder / name, lazy(2.0 if name == "source.zarr" else 1.0).compute())
    return folder


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("is_new", [False, True])
def test_interrupts_at_random_moments(
    before: Path, entry: Callable[[Path], None], is_new: bool, rounds: Any, tally: Any
) -> None:
    chance = random.Random(str(entry))
    folder = before.parent / "folder"

    def fresh() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        if is_new:
            shutil.rmtree(folder / "a.zarr")
            (folder / "a.mts").unlink()
        return folder

    start = time.monotonic()
    assert wait_for(forked(entry, fresh())) == 0
    seconds = time.monotonic() - start
    for _ in range(rounds(2, 40)):
        names = {path.name: values_at(path) for path in sorted(fresh().iterdir())}
        number = chance.choice([signal.SIGINT, signal.SIGTERM])
        code = interrupted(entry, folder, number, chance.uniform(0, 0.7 * seconds))
        found = {path.name: values_at(path) for path in sorted(folder.iterdir()) if path.name != "started"}
        is_done = found != names
        if is_done:
            # It came after all was there: then the call has returned, or the process was ended thereafter.
            assert set(found.values()) <= {2.0, names.get("a.zarr"), names.get("a.mts")}
            assert code in (0, 130, 128 + number, -number)
        else:
            assert code in (130, 1, 128 + number, -number), (folder.parent / "log").read_text()
        assert not list(folder.rglob("*.partial"))
        tally("done" if is_done else "as before")
        assert wait_for(forked(entry, folder)) == 0, (folder.parent / "log").read_text()
        assert not list(folder.rglob("*.partial"))
        for path in folder.glob("*.zarr/segments"):
            assert len(list(path.glob("*/"))) == 1


def append(folder: Path) -> None:
    og.append(folder / "a.zarr", og.shift_dimension(lazy(2.0), "system", 2 * ROWS))


def append_pieces(folder: Path) -> None:
    with og.ArchiveWriter(folder / "a.zarr", append=True) as writer:
        for piece in pieces():
            writer.append(piece, shift={"system": 2 * ROWS})


def compact(folder: Path) -> None:
    with dask.config.set({"outgrad.chunk-bytes": 4000}):
        og.compact(folder / "a.zarr")


GROWING = {append: 3 * ROWS, append_pieces: 3 * ROWS, compact: 2 * ROWS}
"""What makes a third version of an archive of two, and the rows that it has then."""


@pytest.mark.parametrize("entry", GROWING)
def test_interrupts_while_an_archive_grows(
    before: Path, entry: Callable[[Path], None], rounds: Any, tally: Any
) -> None:
    chance = random.Random(str(entry))
    folder = before.parent / "folder"
    og.append(before / "a.zarr", og.shift_dimension(lazy(1.0), "system", ROWS).compute())

    def fresh() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        return folder

    def versions() -> int:
        """The number of versions; the newest one must be whole."""
        count = len(og.history(folder / "a.zarr"))
        values = og.load(folder / "a.zarr").block().values
        assert len(values) == (GROWING[entry] if count == 3 else 2 * ROWS)
        assert set(np.unique(values[: 2 * ROWS])) == {1.0}
        assert set(np.unique(values[2 * ROWS :])) <= {2.0}
        assert og.verify(folder / "a.zarr") == []
        assert not list(folder.rglob("*.partial"))
        segments = len(list(folder.glob("a.zarr/segments/*/")))
        assert segments == count, "a segment is left over, or gone"
        return count

    start = time.monotonic()
    assert wait_for(forked(entry, fresh())) == 0
    seconds = time.monotonic() - start
    for _ in range(rounds(2, 40)):
        number = chance.choice([signal.SIGINT, signal.SIGTERM])
        code = interrupted(entry, fresh(), number, chance.uniform(0, 0.7 * seconds))
        if versions() == 3:
            assert code in (0, 130, 128 + number, -number)
            tally("done")
            continue
        assert code in (130, 1, 128 + number, -number), (folder.parent / "log").read_text()
        tally("as before")
        assert wait_for(forked(entry, folder)) == 0, (folder.parent / "log").read_text()
        assert versions() == 3


SCRIPT = """
import sys, pathlib
from distributed import Client, LocalCluster
from tests.faults.test_interrupts import save_archive
if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster):
        (folder / "started").touch()
        save_archive(folder)
"""


@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts_with_a_client(before: Path, number: int, rounds: Any, tally: Any) -> None:
    folder, script = before.parent / "folder", before.parent / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    for _ in range(rounds(1, 20)):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        command = [sys.executable, str(script), str(folder)]
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
        )
        while not (folder / "started").exists():
            assert process.poll() is None
            time.sleep(0.01)
        (folder / "started").unlink()
        time.sleep(random.uniform(0, 0.4))
        process.send_signal(number)
        code = process.wait(STOP_SECONDS)
        value = values_at(folder / "a.zarr")
        assert value == 1.0 or (value == 2.0 and code in (0, 1, 130, 143, -number))
        assert not list(folder.rglob("*.partial"))
        assert len(list((folder / "a.zarr" / "segments").glob("*/"))) == 1
        gone = time.monotonic() + STOP_SECONDS
        while members(process.pid):
            assert time.monotonic() < gone, "processes are left over"
            time.sleep(0.1)
        tally("done" if value == 2.0 else "as before")


def members(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
