"""Children of ``os.fork``, whose parent did the same before: nothing waits for threads of the parent."""

from __future__ import annotations

import ast
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import zarr.core.sync
from click.testing import CliRunner
from distributed import Client, LocalCluster

import outgrad as og
from outgrad import _forks
from outgrad.cli import main
from outgrad.storage.mts.checks import _Pass

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

Work = Callable[[Path], Any]
SECONDS = 60
"""A child that is not done by then waits for ever: it needs less than one."""

SAMPLES = og.Labels.range("sample", 40_000)
OTHERS = og.Labels("sample", np.arange(100, 40_100)[:, None])


def block() -> og.TensorBlock:
    """Large enough for operations in memory to use several threads."""
    values = np.random.default_rng(0).normal(size=(40_000, 24))
    return og.TensorBlock(values, SAMPLES, [], og.Labels.range("property", 24))


def save_all(folder: Path) -> None:
    lazy = og.open(folder / "in.zarr")
    og.save_all({folder / "a.zarr": lazy, folder / "b.zarr": lazy * 2}, overwrite=True)


def append(folder: Path) -> None:
    with og.ArchiveWriter(folder / "grown.zarr", overwrite=True) as writer:
        writer.append(og.TensorMap(og.Labels.single(), [og.open(folder / "in.zarr")]))


def convert(folder: Path) -> None:
    paths = [str(folder / "in.mts"), str(folder / "converted.zarr")]
    result = CliRunner().invoke(main, ["convert", *paths, "--overwrite"])
    assert result.exit_code == 0, result.output


def solve(folder: Path) -> None:
    lazy = og.TensorMap(og.Labels.single(), [og.open(folder / "in.zarr", target_bytes="1 MiB")])
    og.lstsq(lazy, lazy, rcond=1e-10).compute()


WORK: dict[str, Work] = {
    "load .zarr": lambda folder: og.load(folder / "in.zarr"),
    "load .mts": lambda folder: og.load(folder / "in.mts"),
    "compute": lambda folder: (og.open(folder / "in.zarr", target_bytes="1 MiB") * 2).compute(),
    "compute an array": lambda folder: og.open(folder / "in.zarr").values.sum().compute(),
    "persist": lambda folder: og.open(folder / "in.zarr").persist(),
    "save .zarr": lambda folder: og.save(folder / "a.zarr", og.open(folder / "in.zarr"), overwrite=True),
    "save .mts": lambda folder: og.save(folder / "a.mts", og.open(folder / "in.zarr"), overwrite=True),
    "save_all": save_all,
    "save_buffer": lambda folder: og.io.save_buffer(og.open(folder / "in.zarr")),
    "verify": lambda folder: og.verify(folder / "in.zarr"),
    "ArchiveWriter": append,
    "convert": convert,
    "solve": solve,
    "sets of labels": lambda folder: (SAMPLES.union(OTHERS), SAMPLES.intersection(OTHERS)),
    "in memory": lambda folder: block() * block(),
    "rows in memory": lambda folder: og.sort_block(block(), descending=True),
}


def do_everything(folder: Path) -> None:
    """Do all in one folder, which no other process uses; name what is under way."""
    folder.mkdir()
    og.save(folder / "in.zarr", block())
    og.save(folder / "in.mts", block())
    with dask.config.set({"outgrad.threads": 2}):
        for name, work in WORK.items():
            (folder / "doing").write_text(name)
            work(folder)
    (folder / "doing").write_text("nothing: all is done")


def wait_for(pid: int, where: Callable[[], str]) -> None:
    """Wait until a child has ended without an error; after a while it is killed."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"the child failed: {where()}"
            return
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail(f"the child hangs: {where()}")


def in_child(work: Callable[[], Any], where: Callable[[], str] = lambda: "") -> None:
    """Run ``work`` in a child made by ``os.fork``."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    wait_for(pid, where)


def doing(folder: Path) -> str:
    path = folder / "doing"
    return path.read_text() if path.exists() else "the first save"


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this process, which has done everything and so has all its threads."""
    folder = tmp_path_factory.mktemp("parent") / "own"
    do_everything(folder)
    return folder


def test_a_child_of_fork(used: Path, tmp_path: Path) -> None:
    in_child(lambda: do_everything(tmp_path / "child"), lambda: doing(tmp_path / "child"))


def test_a_child_of_a_thread(used: Path, tmp_path: Path) -> None:
    """Its only thread is not the one that Dask takes for the main thread."""
    failures: list[BaseException] = []

    def fork() -> None:
        og.load(used / "in.zarr")
        try:
            in_child(lambda: do_everything(tmp_path / "child"), lambda: doing(tmp_path / "child"))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    assert failures == []


def test_a_child_of_a_child(used: Path, tmp_path: Path) -> None:
    def first() -> None:
        do_everything(tmp_path / "child")
        in_child(lambda: do_everything(tmp_path / "grandchild"))

    in_child(first, lambda: f"{doing(tmp_path / 'child')}, {doing(tmp_path / 'grandchild')}")


def test_a_child_of_multiprocessing(used: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=do_everything, args=(tmp_path / "child",))
    process.start()
    process.join(SECONDS)
    is_hanging = process.is_alive()
    process.kill()
    process.join()
    assert not is_hanging, doing(tmp_path / "child")
    assert process.exitcode == 0


def samples_of(path: Path) -> float:
    return float(np.asarray(og.load(path).values).sum())


def test_a_pool_of_children_as_data_loaders_have(used: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(samples_of, [used / "in.zarr", used / "in.mts"] * 4).get(SECONDS)
    assert set(found) == {samples_of(used / "in.zarr")}


def test_a_child_that_ends_as_any_program(used: Path) -> None:
    """Functions that run at the end of a process wait for no thread either."""
    script = (
        "import os, sys, outgrad as og\n"
        f"og.load({str(used / 'in.zarr')!r})\n"
        "if os.fork():\n"
        "    sys.exit(os.wait()[1] != 0)\n"
        f"og.load({str(used / 'in.zarr')!r})\n"
    )
    pid = os.posix_spawn(sys.executable, [sys.executable, "-Wignore", "-c", script], os.environ)
    wait_for(pid, lambda: "at its end")


def test_the_parent_goes_on(used: Path, tmp_path: Path) -> None:
    in_child(lambda: og.load(used / "in.zarr"))
    do_everything(tmp_path / "parent")


def all_locks() -> list[Any]:
    """Locks of Outgrad, of cached properties, and of the modules that it says it needs."""
    zarr.core.sync._get_lock()
    foreign = [attrgetter(name)(sys.modules[module]) for module, name in _forks.FOREIGN_LOCKS]
    locks = _forks.locks()
    assert set(foreign) <= set(locks)
    return locks


def test_locks_that_another_thread_holds_at_the_fork(used: Path, tmp_path: Path) -> None:
    opened = [og.open(used / name) for name in ("in.zarr", "in.mts")]
    held, leave = threading.Event(), threading.Event()
    locks = all_locks()
    assert len(_forks._locks) >= 2 + len(opened), "two of modules, and one of each open file"

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(SECONDS)
        in_child(lambda: do_everything(tmp_path / "child"), lambda: doing(tmp_path / "child"))
    finally:
        leave.set()
        thread.join()


class Shared:
    """Work that threads share."""

    def __init__(self) -> None:
        self.shares = {"of a thread": 1}
        _forks.forgets_in_child(self)

    def forget_threads(self) -> None:
        self.shares = {}


def test_work_that_threads_share_is_forgotten() -> None:
    shared = Shared()

    def look() -> None:
        assert not shared.shares

    in_child(look)
    assert shared.shares == {"of a thread": 1}


def test_a_pass_of_which_another_thread_has_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who needs the checksum of a member waits until all threads have read their shares."""
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", 1 << 16)
    og.save(tmp_path / "in.mts", block())
    opened = og.open(tmp_path / "in.mts", target_bytes="1 MiB")
    reading, leave = threading.Event(), threading.Event()
    original = _Pass._crc

    def crc(self: _Pass, start: int, stop: int) -> int:
        if threading.current_thread().name == "reader":
            reading.set()
            leave.wait(SECONDS)
        return original(self, start, stop)

    def compute() -> None:
        opened.compute(scheduler="synchronous")

    monkeypatch.setattr(_Pass, "_crc", crc)
    thread = threading.Thread(target=compute, name="reader")
    thread.start()
    try:
        assert reading.wait(SECONDS)
        in_child(compute)
    finally:
        leave.set()
        thread.join()


FORGOTTEN = {
    "checks.py",
    "open_files.py",
    "_signals.py",
    "computing.py",
    "mapping.py",
    "local_store.py",
    "object_store.py",
    "starting.py",
}
"""Conditions of a pass over a member and locks of files that are being opened, which children forget; events
of the main thread alone; pools that end with the call that makes them."""


def test_every_lock_and_pool_is_known_here() -> None:
    """One that is made elsewhere would be held, or without threads, in a child."""
    makers = {"Lock", "RLock", "Condition", "Event", "Semaphore", "ThreadPoolExecutor"}
    found = {
        path.name
        for path in Path(og.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) in makers
    }
    assert found == {"_forks.py", "_threads.py", *FORGOTTEN}


@pytest.mark.parametrize("name", ["pool", "scheduler"])
def test_pools_chosen_for_dask_stay_with_the_parent(used: Path, name: str) -> None:
    with ThreadPoolExecutor(2) as pool, dask.config.set({name: pool}):
        expected = og.open(used / "in.zarr").compute()
        in_child(lambda: og.open(used / "in.zarr").compute())
        assert og.allclose_block(og.open(used / "in.zarr").compute(), expected)


@pytest.mark.cluster
def test_clients_stay_with_the_parent(used: Path, tmp_path: Path) -> None:
    """Its child computes with threads; the client goes on."""
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        expected = og.open(used / "in.zarr").compute()
        in_child(lambda: do_everything(tmp_path / "child"), lambda: doing(tmp_path / "child"))
        with client.as_current():
            in_child(lambda: og.open(used / "in.zarr").compute())
        assert og.allclose_block(og.open(used / "in.zarr").compute(), expected)
