"""Workers and schedulers that are killed or stopped: the same bits, or one clear line, and nothing left."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import psutil
import pytest

import outgrad as og
from outgrad.errors import ClusterError
from outgrad.run import ClusterSpec, build, embedded, read_job, run_job

pytestmark = pytest.mark.cluster

SYSTEMS, ATOMS, PROPERTIES, BLOCKS = 40, 4, 6, 4
HANG_SECONDS = 180
JOB = """\
version: 1
inputs:  {rho: soap.zarr}
steps:
  - {name: h, op: multiply, args: [rho, rho]}
  - {name: total, op: sum_over_samples, args: [h], sample_names: [atom]}
  - {name: k, op: keys_to_samples, args: [h], keys_to_move: [center_type]}
  - {name: m, op: mean_over_samples, args: [k], sample_names: [system]}
outputs: {h: squared.zarr, total: total.mts, m: m.zarr}
"""
OUTPUTS = ("squared.zarr", "total.mts", "m.zarr")


def make_map() -> og.TensorMap:
    generator = np.random.default_rng(seed=5)
    samples = [[system, atom] for system in range(SYSTEMS) for atom in range(ATOMS)]
    blocks = []
    for _ in range(BLOCKS):
        block = og.TensorBlock(
            generator.normal(size=(len(samples), PROPERTIES)),
            og.Labels(["system", "atom"], samples),
            [],
            og.Labels.range("n", PROPERTIES),
        )
        gradient = og.TensorBlock(
            generator.normal(size=(len(samples), 3, PROPERTIES)),
            og.Labels.range("sample", len(samples)),
            [og.Labels.range("xyz", 3)],
            block.properties,
        )
        block.add_gradient("positions", gradient)
        blocks.append(block)
    return og.TensorMap(og.Labels.range("center_type", BLOCKS), blocks)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a job of some hundred tasks, whose results move from worker to worker."""
    og.save(tmp_path / "soap.zarr", make_map())
    (tmp_path / "job.yaml").write_text(JOB)
    with dask.config.set({"outgrad.chunk-bytes": "16 KiB"}):
        yield tmp_path


def spec(**config: object) -> ClusterSpec:
    """The embedded cluster, with other settings where given."""
    own = embedded(memory_limit=768 * 2**20, dashboard=False)
    return replace(own, config={**own.config, **config})


_of_others: set[object] = set()
"""Processes and threads of tests that ran before."""


@pytest.fixture(autouse=True, scope="module")
def _others() -> None:
    _of_others.update(workers(), threading.enumerate())


def workers(parent: int | None = None) -> list[psutil.Process]:
    """Worker processes; each is started by this command line."""
    found = []
    for process in psutil.Process(parent).children():
        try:
            if process not in _of_others and "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def digest(folder: Path) -> str:
    """Of all bits of all outputs."""
    content = hashlib.sha256()
    for name in OUTPUTS:
        for block in og.load(folder / name).blocks():
            for part in (block, *(gradient for _, gradient in block.gradients())):
                content.update(part.values.tobytes() + part.samples.values.tobytes())
    return content.hexdigest()


def calm_digest(folder: Path) -> str:
    """Of the same tasks, on threads of this process; the outputs are removed."""
    maps = build(read_job(folder / "job.yaml"))
    files = dict(zip(("h", "total", "m"), OUTPUTS, strict=True))
    og.save_all({folder / files[name]: each for name, each in maps.items()})
    found = digest(folder)
    remove_outputs(folder)
    return found


def left_over() -> list[str]:
    """Processes and threads of a cluster."""
    threads = [each.name for each in threading.enumerate() if each not in _of_others]
    return [
        *map(str, workers()),
        *(name for name in threads if name.startswith(("IO loop", "outgrad cluster", "Async"))),
    ]


@contextmanager
def when_running(folder: Path, delay: float, act: Callable[[], None]) -> Iterator[None]:
    """Do something to a job some seconds after it began to write, unless it has ended."""
    ended = threading.Event()

    def wait_and_act() -> None:
        while not any(folder.glob("squared.zarr/segments/*/*")):
            if ended.wait(0.005):
                return
        if not ended.wait(delay):
            act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def remove_outputs(folder: Path) -> None:
    for name in OUTPUTS:
        path = folder / name
        if path.is_dir():
            for each in sorted(path.rglob("*"), reverse=True):
                each.rmdir() if each.is_dir() else each.unlink()
            path.rmdir()
        else:
            path.unlink()


def test_a_killed_worker_changes_no_bit(
    folder: Path, rounds: Callable[[int, int], int], tally: Callable[[str], None]
) -> None:
    """A worker that was asked for its results when it died held the job up for three minutes."""
    wanted = calm_digest(folder)
    before = set(folder.rglob("*"))
    chance = random.Random(8)
    seconds: list[float] = []
    for _ in range(rounds(1, 100)):
        killed: list[int] = []

        def kill(killed: list[int] = killed) -> None:
            victim = chance.choice(workers())
            killed.append(victim.pid)
            victim.kill()

        with when_running(folder, chance.random() * 3, kill):
            found = run_job(folder / "job.yaml", spec())
        assert digest(folder) == wanted
        remove_outputs(folder)
        assert set(folder.rglob("*")) == before
        assert left_over() == []
        assert found.wall_seconds is not None
        seconds.append(found.wall_seconds)
        tally("killed" if killed else "ended before")
    tally(f"the slowest {max(seconds) - min(seconds):.0f} s above the fastest")
    assert max(seconds) < HANG_SECONDS


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(folder: Path, tally: Callable[[str], None]) -> None:
    wanted = calm_digest(folder)
    stopped: list[psutil.Process] = []

    def stop() -> None:
        stopped.append(workers()[0])
        stopped[0].suspend()

    with when_running(folder, 0.3, stop):
        run_job(folder / "job.yaml", spec(**{"distributed.scheduler.worker-ttl": "5 s"}))
    assert digest(folder) == wanted
    assert left_over() == []
    tally("replaced" if stopped else "ended before")


def test_a_worker_that_stops_while_the_cluster_starts(folder: Path) -> None:
    before = set(folder.rglob("*"))

    def stop() -> None:
        while not workers():
            time.sleep(0.001)
        workers()[0].suspend()

    thread = threading.Thread(target=stop)
    thread.start()
    message = (
        r"^local\.yaml: LocalCluster did not start in 5 s: [01] of 2 workers connected; look for a process"
    )
    with pytest.raises(ClusterError, match=message):
        run_job(folder / "job.yaml", replace(spec(), wait_seconds=5))
    thread.join()
    assert left_over() == []
    assert set(folder.rglob("*")) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_start_that_hangs(folder: Path, number: signal.Signals) -> None:
    before = set(folder.rglob("*"))
    job = subprocess.Popen(
        [sys.executable, "-m", "outgrad.cli", "run", str(folder / "job.yaml"), "-q"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (started := workers(job.pid)):
        time.sleep(0.001)
    started[0].suspend()
    time.sleep(1.5)
    started = workers(job.pid)
    job.send_signal(number)
    _, stderr = job.communicate(timeout=HANG_SECONDS)
    assert (job.returncode, stderr) == (1, "outgrad: interrupted; nothing was written\n")
    assert set(folder.rglob("*")) == before
    assert psutil.wait_procs(started, timeout=10)[1] == []


def interrupt(job: subprocess.Popen[str], chance: random.Random) -> None:
    """As a terminal does it, which sends Ctrl-C to all processes, or a batch system."""
    if chance.random() < 0.5:
        os.killpg(job.pid, signal.SIGINT)
    else:
        job.send_signal(signal.SIGTERM)


def test_random_interrupts_leave_nothing(
    folder: Path, rounds: Callable[[int, int], int], tally: Callable[[str], None]
) -> None:
    """At every moment: start, tasks, commit and close; a second signal does not cut the cleaning short."""
    before = set(folder.rglob("*"))
    temporary = folder.parent / f"{folder.name}-tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "DASK_OUTGRAD__CHUNK_BYTES": "16KiB"}
    command = [sys.executable, "-m", "outgrad.cli", "run", str(folder / "job.yaml"), "-q"]
    chance = random.Random(9)
    for _ in range(rounds(1, 100)):
        job = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        while not workers(job.pid):
            time.sleep(0.01)
        time.sleep(6 * chance.random())
        processes = workers(job.pid) if job.poll() is None else []
        for _ in range(chance.choice([1, 2])):
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGINT) if chance.random() < 0.5 else job.send_signal(
                    signal.SIGTERM
                )
        _, stderr = job.communicate(timeout=HANG_SECONDS)
        assert psutil.wait_procs(processes, timeout=10)[1] == []
        assert list(temporary.iterdir()) == []
        if all((folder / name).exists() for name in OUTPUTS):
            assert stderr in ("", "outgrad: interrupted when all outputs were written\n")
            remove_outputs(folder)
            tally("written")
        else:
            assert (job.returncode, stderr) == (1, "outgrad: interrupted; nothing was written\n")
            tally("interrupted")
        assert set(folder.rglob("*")) == before


def test_a_scheduler_that_is_killed_is_named(folder: Path) -> None:
    before = set(folder.rglob("*"))
    file = folder.parent / f"{folder.name}.json"
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [
            *DASK,
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(file),
        ],
        **options,  # type: ignore[call-overload]
    )
    worker = subprocess.Popen(
        [*DASK, "worker", "--scheduler-file", str(file), "--no-dashboard", "--no-nanny", "--nthreads", "1"],
        **options,  # type: ignore[call-overload]
    )
    try:
        while not file.exists():
            time.sleep(0.05)
        with (
            when_running(folder, 0.2, scheduler.kill),
            pytest.raises(
                ClusterError, match=r"^the scheduler was lost while the job ran; nothing was written"
            ),
        ):
            run_job(folder / "job.yaml", file)
        assert set(folder.rglob("*")) == before
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


DASK = [sys.executable, "-m", "dask"]
