"""A job through a real SLURM of one node on loopback, with the specification of the repository."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import outgrad as og
from tests.support import ROOT

SCRIPT = Path(__file__).with_name("slurm_loopback.sh")
MISSING = [
    name
    for name in ("slurmctld", "slurmd", "sbatch")
    if shutil.which(name, path="/usr/sbin:/usr/bin:/bin") is None
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(bool(MISSING), reason=f"SLURM is not installed: {', '.join(MISSING)}"),
]

EDITS = {
    "queue: EDIT": "queue: main",
    "account: EDIT": "account: null",
    "interface: EDIT": "interface: lo",
    "cores: 4": "cores: 1",
    "processes: 4": "processes: 1",
    "memory: 16GiB": "memory: 1GiB",
    "minimum: 8, maximum: 8": "minimum: 2, maximum: 2",
    "log_directory: slurm-logs": "log_directory: {folder}/logs",
    'shared_temp_directory: "~"': "shared_temp_directory: {folder}/keys",
    "wait: 12 hours": "wait: 60 s",
}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment with which commands find the loopback SLURM."""
    pytest.importorskip("dask_jobqueue")
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("slurm")
    environment = {
        **os.environ,
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin",
        "SLURM_CONF": f"{folder}/slurm.conf",
    }
    try:
        subprocess.run([SCRIPT, "start", folder], check=True, timeout=60)
        yield environment
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True, timeout=60)


def write_spec(folder: Path, **edits: str) -> Path:
    """The specification of the repository, edited as a user would."""
    text = (ROOT / "cluster/slurm.yaml").read_text()
    for old, new in {**EDITS, **edits}.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new.format(folder=folder))
    (folder / "keys").mkdir()
    path = folder / "slurm.yaml"
    path.write_text(text)
    return path


def command(folder: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "outgrad.cli",
        "run",
        str(folder / "job.yaml"),
        "--cluster",
        str(folder / "slurm.yaml"),
    ]


def batch_jobs(environment: dict[str, str]) -> list[str]:
    found = subprocess.run(
        ["squeue", "-h", "-o", "%i %T"], env=environment, capture_output=True, text=True, check=True
    )
    return found.stdout.splitlines()


def wait_for_no_jobs(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 30
    while batch_jobs(environment) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert batch_jobs(environment) == []


def test_a_job_runs_in_batch_jobs(slurm: dict[str, str], folder: Path, rho: og.TensorMap) -> None:
    write_spec(folder)
    found = subprocess.run(command(folder), env=slurm, capture_output=True, text=True, timeout=180)
    assert found.returncode == 0, found.stderr
    assert og.equal(og.load(folder / "squared.zarr"), og.multiply(rho, rho))
    assert "peak memory of tls://127.0.0.1:" in found.stdout
    assert list((folder / "keys").iterdir()) == []
    wait_for_no_jobs(slurm)


def test_a_terminated_client_ends_its_batch_jobs(slurm: dict[str, str], folder: Path) -> None:
    block = og.load(folder / "soap.zarr").block(0)
    og.save(folder / "soap.zarr", og.TensorMap(og.Labels.range("k", 1000), [block] * 1000), overwrite=True)
    before = {path.name for path in folder.iterdir()}
    write_spec(folder)
    environment = {**slurm, "DASK_OUTGRAD__CHUNK_BYTES": "1000"}
    job = subprocess.Popen([*command(folder), "-q"], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "squared.zarr/segments").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    _, stderr = job.communicate(timeout=60)
    assert job.returncode == 1
    assert "outgrad: interrupted; nothing was written" in stderr
    assert {path.name for path in folder.iterdir()} - before == {"keys", "logs", "slurm.yaml"}
    assert list((folder / "keys").iterdir()) == []
    wait_for_no_jobs(slurm)
