"""Every benchmark runs, with little data: that its ways work and agree, not how long they take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("metatensor")

import zarr

import outgrad as og
from benchmarks import __main__ as command
from benchmarks import out_of_core
from benchmarks.data import block_arrays, both
from benchmarks.groups import GROUPS
from benchmarks.peers import copy_by_chunks, square_by_hand, write_plain
from benchmarks.table import OURS, Benchmark, as_json, as_text, run
from outgrad.run import run_job


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.filterwarnings("ignore")
def test_every_benchmark_runs(name: str, tmp_path: Path) -> None:
    for benchmark in GROUPS[name](0.002, tmp_path):
        assert OURS in benchmark.ways
        assert set(benchmark.targets) < set(benchmark.ways)
        if "2 s" not in benchmark.ways:
            for way in benchmark.ways.values():
                way()


def test_a_row_compares_medians(tmp_path: Path) -> None:
    calls: list[str] = []
    ways = {name: lambda name=name: calls.append(name) for name in (OURS, "peer")}
    (row,) = as_json(run(Benchmark("nothing", ways, {"peer": 1e-12}), repeats=2))
    assert calls[:6] == [OURS, "peer"] * 3  # warm, then in turns
    assert row["ratio"] == row["seconds"] / row["peer_seconds"]
    assert row["met"] is False
    assert "✗" in as_text([row])


def test_peers_by_hand_compute_the_same(tmp_path: Path) -> None:
    arrays = [block_arrays(np.random.default_rng(0), 3, 4, 5, 6) for _ in range(2)]
    write_plain(tmp_path / "plain.zarr", arrays)
    square_by_hand(tmp_path / "plain.zarr", tmp_path / "square.zarr")
    copy_by_chunks(tmp_path / "plain.zarr", tmp_path / "copy.zarr")
    ours = both(arrays)[0]
    square, copy = zarr.open_group(tmp_path / "square.zarr"), zarr.open_group(tmp_path / "copy.zarr")
    for number, block in enumerate(og.multiply(ours, ours)):
        np.testing.assert_allclose(square[f"{number}/values"][:], block.values)
        np.testing.assert_allclose(square[f"{number}/gradient"][:], block.gradient("positions").values)
        np.testing.assert_array_equal(copy[f"{number}/gradient"][:], arrays[number].gradient)


@pytest.mark.slow
def test_the_command_writes_a_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    options = ["--scale", "0.002", "--repeats", "1", "--scratch", str(tmp_path), "--json", str(out)]
    command.main(["reductions", *options])
    found = json.loads(out.read_text())
    assert found["limits"]["memory copy, GB/s, one thread"] > 0
    assert found["rows"][0]["name"] == "sum over samples"
    assert "| std over samples |" in capfd.readouterr().out


def test_unknown_groups_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["elementwise", "nothing"])
    assert "there is no group nothing; there are elementwise" in capsys.readouterr().err


@pytest.mark.parametrize("steps", out_of_core.STEPS)
def test_jobs_larger_than_memory_can_be_planned(steps: str, tmp_path: Path) -> None:
    out_of_core.write_archive(tmp_path / "soap.zarr", 10**6, 0.01)
    job = tmp_path / "job.yaml"
    job.write_text(out_of_core.JOB % ("soap.zarr", out_of_core.STEPS[steps]), encoding="utf-8")
    summary = run_job(job, dry_run=True)
    assert summary.projection.tasks > 0
    assert 0 < summary.projection.memory.task_bytes < 100 * 10**6


@pytest.mark.cluster
def test_sizes_are_measured(tmp_path: Path) -> None:
    found = tmp_path / "sizes.json"
    options = ["--sizes", "0.001,0.002", "--workers", "1", "--scale", "0.01", "--scratch", str(tmp_path)]
    out_of_core.main([*options, "--json", str(found)])
    rows = json.loads(found.read_text())
    assert [row["workers"] for row in rows] == [1, 1]
    assert all(0 < row["peak_mib"] <= row["projected_mib"] < row["limit_mib"] for row in rows)


def test_sizes_are_drawn(tmp_path: Path) -> None:
    plot = pytest.importorskip("benchmarks.plot", reason="matplotlib is not installed")
    row = {"workers": 1, "gigabytes": 1.0, "job_seconds": 2.0, "peak_mib": 200, "projected_mib": 300}
    rows = [{**row, "limit_mib": 1024}, {**row, "gigabytes": 4.0, "limit_mib": 1024}]
    (tmp_path / "sizes.json").write_text(json.dumps(rows))
    plot.main([str(tmp_path / "sizes.json"), str(tmp_path / "sizes.svg")])
    assert "<svg" in (tmp_path / "sizes.svg").read_text()
