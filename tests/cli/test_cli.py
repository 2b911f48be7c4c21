# ruff: noqa: E501 (a table with one case a line)
"""The command line: exit codes, one-line errors, and output that other programs can read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner, Result

import outgrad as og
from outgrad.cli import main

OUTGRAD = [sys.executable, "-m", "outgrad.cli"]


def outgrad(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_version() -> None:
    found = outgrad("--version")
    assert (found.exit_code, found.output) == (0, "outgrad 0.1.0\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("run",), 2, "Missing argument 'JOB'"),
        (("dance",), 2, "No such command 'dance'"),
        (("run", "no.yaml"), 2, "outgrad: no.yaml: cannot read the job: No such file or directory: no.yaml"),
        (("run", "bad.yaml"), 2, "outgrad: bad.yaml:4: step 'h': unknown operation 'multipli'; did you mean 'multiply'?"),
        (("run", "job.yaml", "--cluster", "nowhere"), 2, "outgrad: cluster 'nowhere': expected a specification"),
        (("run", "job.yaml", "--cluster", "x.yaml", "--workers", "2"), 2, "with --cluster edit SPEC instead"),
        (("run", "job.yaml", "--memory-limit", "lots"), 2, "'lots' is not a size; give bytes or a unit, e.g. 768MiB"),
        (("run", "job.yaml", "--workers", "0"), 2, "0 is not in the range x>=1"),
        (("run", "job.yaml", "--memory-limit", "100MiB"), 1, "outgrad: the job needs "),
        (("run", "job.yaml", "--dry-run", "--memory-limit", "100MiB"), 1, "a worker may use 100.00 MiB"),
        (("run", "lost.yaml"), 1, "outgrad: lost.yaml:2: input 'rho': "),
        (("run", "twice.yaml"), 1, "outgrad: twice.yaml:5: output 'h': there.zarr exists; choose another path, or pass --overwrite"),
        (("info", "nothing.zarr"), 1, "outgrad: "),
        (("convert", "soap.zarr", "soap.zarr"), 1, "--overwrite"),
        (("convert", "soap.zarr", "soap.xyz"), 1, "'.xyz' names no format"),
        (("verify", "nothing.zarr"), 1, "outgrad: "),
    ],
)  # fmt: skip
def test_exit_codes_and_one_line_errors(folder: Path, words: tuple[str, ...], code: int, text: str) -> None:
    job = Path("job.yaml").read_text()
    Path("bad.yaml").write_text(job.replace("multiply", "multipli"))
    Path("lost.yaml").write_text(job.replace("soap", "lost"))
    Path("twice.yaml").write_text(job.replace("squared", "there"))
    og.save("there.zarr", og.load("soap.zarr"))
    before = names(folder)
    found = outgrad(*words)
    assert found.exit_code == code
    assert text in found.stderr
    assert "Traceback" not in found.output
    if found.stderr.startswith("outgrad: "):
        assert found.stderr.count("\n") == 1
    assert names(folder) == before


def test_debug_shows_where_an_error_comes_from(folder: Path) -> None:
    found = outgrad("info", "nothing.zarr", "--debug")
    assert found.exit_code == 1
    assert isinstance(found.exception, og.OutgradError)


def test_a_dry_run_prints_the_plan(folder: Path) -> None:
    before = names(folder)
    found = outgrad("run", "job.yaml", "--dry-run", "--memory-limit", "1GiB")
    assert found.exit_code == 0
    assert [line.split("  ")[0] for line in found.stdout.splitlines()] == [
        "tasks",
        "bytes read",
        "bytes written",
        "peak memory of a worker",
        "fits",
    ]
    assert "of 1.00 GiB" in found.stdout
    assert names(folder) == before


def test_info_of_a_map(folder: Path) -> None:
    found = outgrad("info", "soap.zarr")
    assert found.exit_code == 0
    lines = [" ".join(line.split()) for line in found.stdout.splitlines()]
    assert lines[:4] == ["path soap.zarr", "kind map", "blocks 2", "size 480 B"]
    assert "archive version 1" in lines
    assert lines[-3:] == [
        "center_type samples components properties dtype gradients size chunks",
        "1 3 (system, atom) - 2 (n) float64 positions (4, 3, 2) 240 B 1",
        "8 3 (system, atom) - 2 (n) float64 positions (4, 3, 2) 240 B 1",
    ]
    assert "\x1b" not in found.stdout


def test_info_as_json(folder: Path) -> None:
    found = json.loads(outgrad("info", "soap.zarr", "--json").stdout)
    assert found["kind"] == "map"
    assert found["keys"] == {"names": ["center_type"], "values": [[1], [8]]}
    assert found["versions"]["format"] == 2
    assert found["versions"]["archive"] == 1
    assert found["bytes"] == 480
    block = found["blocks"][0]
    assert block["chunk_rows"] == [3]
    assert block["gradients"]["positions"]["shape"] == [4, 3, 2]
    assert block["gradients"]["positions"]["components"] == ["xyz"]


@pytest.mark.parametrize("suffix", [".zarr", ".mts", ".npz"])
def test_info_of_blocks_and_labels(folder: Path, rho: og.TensorMap, suffix: str) -> None:
    og.save(f"block{suffix}", rho.block(0))
    og.save(f"labels{suffix if suffix == '.zarr' else '.npy'}", rho.block(0).samples)
    block = outgrad("info", f"block{suffix}")
    assert block.stdout.split()[2:4] == ["kind", "block"]
    labels = outgrad("info", f"labels{suffix if suffix == '.zarr' else '.npy'}").stdout.split()
    assert labels[4:9] == ["names", "system,", "atom", "rows", "3"]


def test_convert_there_and_back(folder: Path, rho: og.TensorMap) -> None:
    assert outgrad("convert", "soap.zarr", "soap.mts").exit_code == 0
    assert outgrad("convert", "soap.mts", "again.zarr").exit_code == 0
    assert outgrad("convert", "soap.mts", "again.zarr", "--overwrite").exit_code == 0
    assert og.equal(og.load("again.zarr"), rho)


def test_verify_names_what_is_damaged(folder: Path) -> None:
    assert outgrad("verify", "soap.zarr").stdout == "soap.zarr: OK, all checksums match\n"
    chunk = max(
        (p for p in Path("soap.zarr").rglob("values/c*") if p.is_file()), key=lambda path: path.stat().st_size
    )
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    found = outgrad("verify", "soap.zarr")
    assert found.exit_code == 1
    assert "values" in found.stdout
    assert "do not match their checksum" in found.stdout
    assert found.stderr == "outgrad: soap.zarr is corrupted; problems found: 1\n"


def test_verify_as_json(folder: Path) -> None:
    assert outgrad("verify", "soap.zarr", "--json").output == ""
    next(Path("soap.zarr").glob("segments/*/blocks/1/values/c.0.0")).unlink()
    Path("soap.zarr/segments/zarr.json").unlink()
    found = outgrad("verify", "soap.zarr", "--json")
    assert found.exit_code == 1
    document, chunk = map(json.loads, found.stdout.splitlines())
    assert document["text"] == "segments/zarr.json is missing"
    assert chunk == {
        "text": chunk["text"],
        "array": "blocks/1/values",
        "what": "is missing",
        "file": f"segments/{chunk['segment']}/blocks/1/values/c.0.0",
        "segment": chunk["segment"],
        "version": 1,
        "chunks": [0, 1],
        "rows": [0, 3],
        "touches": [
            {"path": "blocks/1/values", "rows": [0, 3], "key": {"center_type": 8}, "systems": [0, 1]}
        ],
        "mended": False,
    }


def test_verify_repairs_only_if_asked_to(folder: Path, rho: og.TensorMap) -> None:
    shutil.copytree("soap.zarr", "copy.zarr")
    chunk = next(Path("soap.zarr").glob("segments/*/blocks/1/values/c.0.0"))
    chunk.unlink()
    for words in ([], ["--all-versions"], ["--json", "-q"]):
        assert outgrad("verify", "soap.zarr", *words).exit_code == 1
        assert not chunk.exists()
    found = outgrad("verify", "soap.zarr", "--repair-from", "copy.zarr")
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[0].endswith("; mended")
    assert found.stdout.endswith("soap.zarr: OK, all checksums match, 1 damage(s) mended\n")
    assert og.equal(og.load("soap.zarr"), rho)
    for each in ("soap.zarr", "copy.zarr"):
        next(Path(each).glob("segments/*/blocks/1/values/c.0.0")).unlink()
    found = outgrad("verify", "soap.zarr", "--repair-from", "copy.zarr")
    assert found.exit_code == 1
    assert "; not mended: in the copy, storage chunk 0 is missing" in found.stdout
    og.save("other.zarr", rho)
    found = outgrad("verify", "soap.zarr", "--repair-from", "other.zarr")
    assert found.exit_code == 1
    assert "other.zarr is another archive" in found.stderr


def test_all_versions_are_verified_if_asked_for(folder: Path, rho: og.TensorMap) -> None:
    og.append("soap.zarr", rho, shift={"system": 10})
    og.compact("soap.zarr")
    shutil.rmtree(Path("soap.zarr/segments") / og_segment("soap.zarr", 1))
    assert outgrad("verify", "soap.zarr").exit_code == 0
    assert outgrad("verify", "soap.zarr", "--all-versions").exit_code == 1


def og_segment(path: str, version: int) -> str:
    commit = json.loads(Path(path, "commits", f"{version:010d}.json").read_text())["commit"]
    return str(commit["segments"][0]["id"])


@pytest.mark.parametrize("quiet", [False, True])
def test_verify_shows_progress_on_a_terminal(folder: Path, quiet: bool) -> None:
    terminal, end = os.openpty()
    words = [*OUTGRAD, "verify", "soap.zarr", *(["-q"] if quiet else [])]
    found = subprocess.run(words, stdout=subprocess.PIPE, stderr=end, timeout=120)
    os.write(end, b"\n.")
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    os.close(end)
    assert found.stdout == b"soap.zarr: OK, all checksums match\n"
    assert ("verifying" in shown) is not quiet


@pytest.mark.cluster
def test_a_job_in_a_process_of_its_own(folder: Path, rho: og.TensorMap) -> None:
    found = subprocess.run([*OUTGRAD, "run", "job.yaml"], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert og.equal(og.load("squared.zarr"), og.multiply(rho, rho))
    assert found.stderr.startswith("dashboard: http://127.0.0.1:")
    assert found.stderr.count("\n") == 1
    lines = [line.split("  ")[0].strip() for line in found.stdout.splitlines()]
    assert lines[:5] == ["written squared.zarr", "wall time", "bytes read", "bytes written", "throughput"]
    assert [line.startswith("peak memory of tls://127.0.0.1:") for line in lines[5:]] == [True, True]
    assert "\x1b" not in found.stdout + found.stderr


def make_long_job(folder: Path) -> dict[str, str]:
    """A job of some hundred tasks, and the environment that cuts it into them."""
    values = np.ones((20, 2))
    block = og.TensorBlock(values, og.Labels.range("system", 20), [], og.Labels.range("n", 2))
    og.save("soap.zarr", og.TensorMap(og.Labels.range("k", 2000), [block] * 2000), overwrite=True)
    return {**os.environ, "DASK_OUTGRAD__CHUNK_BYTES": "100"}


@pytest.mark.cluster
@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_job_leaves_nothing(folder: Path, stop: signal.Signals) -> None:
    environment = make_long_job(folder)
    before = names(folder)
    job = subprocess.Popen(
        [*OUTGRAD, "run", "job.yaml", "--workers", "1", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not Path("squared.zarr/segments").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert job.poll() is None, job.communicate()
    workers = psutil.Process(job.pid).children(recursive=True)
    if stop == signal.SIGINT:
        os.killpg(job.pid, stop)  # a terminal sends it to the whole group
    else:
        job.send_signal(stop)
    _, stderr = job.communicate(timeout=60)
    assert job.returncode == 1
    assert stderr == "outgrad: interrupted; nothing was written\n"
    assert names(folder) == before
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
