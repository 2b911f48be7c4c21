"""Jobs on a real cluster: right results, nothing left of a failure, bounded memory, loopback only."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import cloudpickle
import dask
import psutil
import pytest
import zarr
from dask.utils import format_bytes
from distributed import Client
from rich.console import Console

import outgrad as og
from outgrad.errors import (
    ArchiveExistsError,
    ClusterError,
    DamagedArchiveError,
    JobError,
    MemoryLimitError,
    NotEqualError,
)
from outgrad.graph.computing import _runs_any, stop_tasks
from outgrad.graph.memory import PIECES_BYTES
from outgrad.run import SchedulerAddress, build, embedded, preload, read_job, run_job
from outgrad.run.cluster import connect
from outgrad.run.execute import plan_job
from outgrad.run.watch import worker_states

MIB = 2**20

# Workers cannot import this file: the functions that they run travel by their code.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def names(folder: Path) -> set[str]:
    """Everything in a folder, at any depth."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def check_results(folder: Path, rho: og.TensorMap) -> None:
    squared = og.multiply(rho, rho)
    assert og.equal(og.load(folder / "squared.zarr"), squared)
    total = og.load(folder / "total.mts")
    assert og.allclose(total, og.sum_over_samples(squared, ["atom"]), rtol=1e-12, atol=1e-12)


def damage(archive: Path) -> None:
    """Flip a bit of the largest chunk: of values or gradients."""
    chunk = max((path for path in archive.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)


# ---- without a cluster ----


def test_a_job_is_a_few_lines_of_python(folder: Path, rho: og.TensorMap) -> None:
    maps = build(read_job(folder / "job.yaml"))
    assert list(maps) == ["h", "total"]
    assert og.equal(maps["h"].compute(), og.multiply(rho, rho))


def test_a_dry_run_writes_and_starts_nothing(folder: Path) -> None:
    before = names(folder)
    children = psutil.Process().children()
    projection = run_job(folder / "job.yaml", dry_run=True).projection
    assert names(folder) == before
    assert psutil.Process().children() == children
    assert projection.read_bytes == og.open(folder / "soap.zarr").nbytes
    assert projection.written_bytes > projection.read_bytes
    assert projection.fits


def test_what_two_outputs_share_is_computed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrad.graph.fuse._takes_in", lambda task: False)  # names of single tasks
    with dask.config.set({"outgrad.chunk-bytes": "16 KiB"}):
        plan = plan_job(read_job(folder / "job.yaml"), embedded())
    names = [str(key[0]).split("-")[0] for key in plan.graph if isinstance(key, tuple)]
    blocks = len(og.open(folder / "soap.zarr"))
    assert names.count("read") == names.count("multiply") == names.count("sum_rows") == blocks
    assert names.count("write") == 2 * blocks


def test_memory_is_projected_from_the_chunks(folder: Path) -> None:
    def task_bytes(chunk_bytes: str) -> int:
        with dask.config.set({"outgrad.chunk-bytes": chunk_bytes}):
            return plan_job(read_job(folder / "job.yaml"), embedded()).projection.memory.task_bytes

    size = og.open(folder / "soap.zarr").nbytes
    assert 2 * size < task_bytes("1 GiB") - PIECES_BYTES < 3 * size
    assert task_bytes("16 KiB") < task_bytes("1 GiB") - size


def test_too_little_memory_is_refused_before_anything_starts(folder: Path) -> None:
    before = names(folder)
    children = psutil.Process().children()
    message = (
        r"^the job needs \d+\.\d\d MiB of memory in each worker: \d+\.\d\d MiB for the process and its "
        r"files, \d+\.\d\d MiB for 2 tasks at once, .* for results that wait; a worker may use 100\.00 MiB\. "
        r"Give workers more memory \(--memory-limit, memory_limit\) or fewer threads"
    )
    with pytest.raises(MemoryLimitError, match=message):
        run_job(folder / "job.yaml", embedded(memory_limit=100 * MIB, threads=2))
    assert names(folder) == before
    assert psutil.Process().children() == children


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("soap.zarr", "soup.zarr", og.OutgradError, r"^job\.yaml:2: input 'rho': .*soup\.zarr"),
        ("[atom]", "[atoms]", og.OutgradError, r"^job\.yaml:5: step 'total': sum_over_samples.*atoms"),
        ("[atom]", "7", JobError, r"^job\.yaml:5: step 'total': "),
        ("[rho, rho]", "[rho, other]", NotEqualError, r"^job\.yaml:4: step 'h': "),
        (
            "soap.zarr",
            "labels.zarr",
            JobError,
            r"^job\.yaml:2: input 'rho': labels\.zarr holds a Labels; a job works on",
        ),
    ],
)
def test_what_an_operation_refuses_is_told_with_its_line(
    folder: Path, rho: og.TensorMap, old: str, new: str, error: type[Exception], message: str
) -> None:
    og.save(folder / "other.zarr", og.slice(rho, "samples", [0]))
    og.save(folder / "labels.zarr", rho.keys)
    path = folder / "job.yaml"
    text = path.read_text().replace(old, new)
    path.write_text(text.replace("inputs:  {", "inputs:  {other: other.zarr, "))
    with pytest.raises(error, match=message):
        run_job(path, dry_run=True)


WRONG_STEPS = [
    "op: slice, args: [rho, samples], selection: {names: [system, system], values: [[0, 0]]}",
    "op: slice, args: [rho, samples], selection: {names: [system], values: [[99999999999999999999]]}",
    "op: slice, args: [rho, samples], selection: 5",
    "op: slice, args: [rho, 7], selection: [0]",
    "op: multiply, args: [rho, {a: 1}]",
    "op: multiply, args: [rho, [rho]]",
    "op: sum_over_samples, args: [rho], sample_names: [[atom]]",
    "op: keys_to_samples, args: [rho], keys_to_move: true",
]


@pytest.mark.parametrize("step", WRONG_STEPS)
def test_whatever_a_step_refuses_is_told_with_its_line(folder: Path, step: str) -> None:
    path = folder / "job.yaml"
    path.write_text(path.read_text().replace("steps:\n", f"steps:\n  - {{name: wrong, {step}}}\n"))
    with pytest.raises(og.OutgradError, match=r"^job\.yaml:4: step 'wrong': "):
        run_job(path, dry_run=True)


def test_a_folder_that_cannot_be_made_is_told_with_its_line(folder: Path) -> None:
    (folder / "file").write_bytes(b"mine")
    path = folder / "job.yaml"
    path.write_text(path.read_text().replace("squared.zarr", "file/squared.zarr"))
    with pytest.raises(og.OutgradError, match=r"^job\.yaml:6: output 'h': .*one of its folders is a file"):
        run_job(path, dry_run=True)


def test_an_output_that_exists_is_refused_before_anything_starts(folder: Path) -> None:
    (folder / "total.mts").write_bytes(b"mine")
    before = names(folder)
    with pytest.raises(
        ArchiveExistsError, match=r"^job\.yaml:6: output 'total': total\.mts exists; .*overwrite=True"
    ):
        run_job(folder / "job.yaml")
    assert names(folder) == before


def test_a_scheduler_that_does_not_answer_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrad.run.cluster.CONNECT_SECONDS", 0.3)
    before = names(folder)
    with pytest.raises(ClusterError, match=r"^no scheduler answers at tcp://127\.0\.0\.1:9: "):
        run_job(folder / "job.yaml", "tcp://127.0.0.1:9")
    assert names(folder) == before


# ---- on a cluster ----


def variables() -> dict[str, str]:
    """The environment with which this process was started."""
    entries = Path("/proc/self/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def memory_settings() -> tuple[dict[str, object], int]:
    return dask.config.get("distributed.worker.memory"), dask.config.get("distributed.comm.retry.count")


def zarr_settings() -> tuple[int, int]:
    return zarr.config.get("async.concurrency"), zarr.config.get("threading.max_workers")


@pytest.mark.cluster
def test_workers_have_the_environment_of_the_specification(client: Client) -> None:
    for found in client.run(variables).values():
        assert embedded().environment.items() <= found.items()
    for settings, retries in client.run(memory_settings).values():
        assert (settings["target"], settings["spill"], settings["pause"]) == (False, False, False)
        assert settings["terminate"] == 0.95
        assert retries == 1
    assert set(client.run(zarr_settings).values()) == {(4, 2)}


@pytest.mark.cluster
def test_everything_listens_on_loopback_only(client: Client) -> None:
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    listening = [
        (connection.laddr.ip, process.pid)
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len({pid for _, pid in listening}) == 3
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert client.dashboard_link.startswith("http://127.0.0.1:")


@pytest.mark.cluster
@pytest.mark.parametrize("chunk_bytes", ["16 KiB", "32 MiB"])
def test_a_job_gives_what_the_operations_give(
    client: Client, folder: Path, rho: og.TensorMap, chunk_bytes: str
) -> None:
    with dask.config.set({"outgrad.chunk-bytes": chunk_bytes}):
        summary = run_job(folder / "job.yaml", client)
    check_results(folder, rho)
    assert summary.outputs == (folder / "squared.zarr", folder / "total.mts")
    assert summary.wall_seconds is not None
    assert summary.wall_seconds > 0
    assert summary.throughput > 0
    assert len(summary.workers) == 2
    assert 50 * MIB < summary.peak_bytes <= summary.projection.worker_bytes < 768 * MIB


@pytest.fixture(scope="module")
def open_client() -> Iterator[Client]:
    """A cluster of somebody else, which everybody can reach."""
    spec = embedded(memory_limit=768 * MIB)
    with connect(replace(spec, kwargs={**spec.kwargs, "security": None})) as client:
        yield client


@pytest.mark.cluster
@pytest.mark.parametrize("form", ["address", "file"])
def test_a_running_scheduler_is_used_and_left_running(
    open_client: Client, folder: Path, rho: og.TensorMap, form: str
) -> None:
    client = open_client
    file = folder / "scheduler.json"
    file.write_text(json.dumps({"address": client.scheduler.address}))
    where = client.scheduler.address if form == "address" else file
    run_job(folder / "job.yaml", where)
    check_results(folder, rho)
    assert len(worker_states(client)) == 2


@pytest.mark.cluster
def test_a_damaged_input_leaves_nothing_of_any_output(client: Client, folder: Path) -> None:
    damage(folder / "soap.zarr")
    before = names(folder)
    with pytest.raises(DamagedArchiveError, match=r"soap\.zarr.*gradients/positions/values"):
        run_job(folder / "job.yaml", client)
    assert names(folder) == before


@pytest.mark.cluster
def test_a_failure_leaves_the_outputs_of_before(open_client: Client, folder: Path, rho: og.TensorMap) -> None:
    client = open_client
    run_job(folder / "job.yaml", client)
    before = names(folder)
    damage(folder / "soap.zarr")
    with pytest.raises(DamagedArchiveError):
        run_job(folder / "job.yaml", SchedulerAddress(client.scheduler.address), overwrite=True)
    assert names(folder) == before
    check_results(folder, rho)


@pytest.mark.cluster
def test_progress_tells_bytes_rate_and_memory(client: Client, folder: Path) -> None:
    console = Console(file=StringIO(), force_terminal=True, width=150)
    run_job(folder / "job.yaml", client, console=console)
    shown = console.file.getvalue()
    assert shown.startswith(f"dashboard: {client.dashboard_link}")
    total = format_bytes(og.open(folder / "squared.zarr").nbytes + og.open(folder / "total.mts").nbytes)
    assert f"/{total.split('.')[0]}." in shown.replace("\x1b[0m", "")
    assert "B/s" in shown
    assert "2 workers, largest " in shown


@pytest.mark.cluster
def test_tasks_have_ended_when_a_job_is_stopped(client: Client) -> None:
    slow = client.submit(time.sleep, 1.5, key="slow")
    keys = frozenset({"slow"})
    while not any(client.run(_runs_any, keys).values()):
        time.sleep(0.02)
    stop_tasks(client, [slow], keys)
    assert slow.cancelled()
    assert not any(client.run(_runs_any, keys).values())


@pytest.mark.cluster
def test_outputs_are_replaced_when_asked(client: Client, folder: Path, rho: og.TensorMap) -> None:
    run_job(folder / "job.yaml", client)
    run_job(folder / "job.yaml", client, overwrite=True)
    check_results(folder, rho)


@pytest.mark.cluster
def test_an_embedded_cluster_ends_with_the_job(folder: Path, rho: og.TensorMap) -> None:
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    before = dict(os.environ)
    summary = run_job(folder / "job.yaml", embedded(workers=1, memory_limit=500 * MIB))
    check_results(folder, rho)
    assert [state.version for state in summary.workers] == [summary.baseline[0].version]
    assert summary.projection.workers.limit_bytes == 500 * MIB
    left = {child.pid for child in psutil.Process().children(recursive=True) if child.is_running()} - children
    assert not left
    assert {name: os.environ.get(name) for name in before} == before


def test_workers_do_not_warn_of_cancelled_tasks() -> None:
    logger = logging.getLogger("distributed.worker.state_machine")
    before = list(logger.filters)
    try:
        preload.dask_setup(None)
        (drops,) = [each for each in logger.filters if each not in before]
    finally:
        logger.filters[:] = before
    texts = ["Async instruction for <Task cancelled> ended with CancelledError", "something else"]
    records = [logging.makeLogRecord({"msg": text}) for text in texts]
    assert [bool(drops(record)) for record in records] == [False, True]
