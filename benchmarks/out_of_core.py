"""Data larger than memory: time and memory of a job against the size of its input and the number of workers.

    python -m benchmarks.out_of_core --scratch /path/on/a/local/disk --sizes 1,4,10,40

A map of the shape of SOAP gradients is repeated, with other systems, until an archive has the size asked for.
The job squares it and sums over the atoms of each system; only the sums are saved. Each worker has 1 GiB.
Other jobs (--job) show the memory of moves, of sums over chunks and of variances.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dask.utils import parse_bytes

import outgrad as og
from benchmarks.data import block_arrays, make_map
from outgrad.run import embedded, run_job

JOB = """\
version: 1
inputs:  {rho: %s}
steps:
%s
outputs: {result: result.zarr}
"""

STEPS = {
    "square": """\
  - {name: h, op: multiply, args: [rho, rho]}
  - {name: result, op: sum_over_samples, args: [h], sample_names: [atom]}""",
    "total": "  - {name: result, op: sum_over_samples, args: [rho], sample_names: [system]}",
    "var": "  - {name: result, op: var_over_samples, args: [rho], sample_names: [atom]}",
    "properties": "  - {name: result, op: keys_to_properties, args: [rho, neighbor_type]}",
    "sort": "  - {name: result, op: sort, args: [rho, samples], descending: true}",
}


def piece(scale: float) -> og.TensorMap:
    """About 0.4 GB at scale 1: smooth numbers, which compress like descriptors do, to three quarters."""
    rng = np.random.default_rng(0)
    arrays = [block_arrays(rng, max(2, round(65 * scale)), 8, 40, 200) for _ in range(4)]
    return make_map(og, arrays)


def write_archive(path: Path, nbytes: int, scale: float) -> None:
    """Repeat a piece, each time with other systems, until there are ``nbytes`` bytes."""
    given, written, number = piece(scale), 0, 0
    with og.ArchiveWriter(path, overwrite=True) as writer:
        while written < nbytes:
            writer.append(_shifted(given, number))
            written, number = written + given.nbytes, number + 1


def _shifted(given: og.TensorMap, number: int) -> og.TensorMap:
    blocks = []
    for block in given:
        table = block.samples.values.copy()
        table[:, 0] += number * (int(table[:, 0].max()) + 1)
        samples = og.Labels(block.samples.names, table, assume_unique=True)
        moved = og.TensorBlock(block.values, samples, block.components, block.properties)
        for parameter, gradient in block.gradients():
            moved.add_gradient(parameter, gradient)
        blocks.append(moved)
    return og.TensorMap(given.keys, blocks)


def measure(archive: Path, workers: int, memory_limit: str, steps: str) -> dict[str, Any]:
    """Run the job once, and see what it took."""
    folder = archive.parent
    job = folder / "job.yaml"
    job.write_text(JOB % (archive.name, STEPS[steps]), encoding="utf-8")
    started = time.perf_counter()
    summary = run_job(job, embedded(workers, memory_limit=int(parse_bytes(memory_limit))), overwrite=True)
    return {
        "job": steps,
        "workers": workers,
        "gigabytes": og.open(archive).nbytes / 1e9,
        "job_seconds": summary.wall_seconds,
        "all_seconds": time.perf_counter() - started,
        "gigabytes_a_second": summary.throughput / 1e9,
        "peak_mib": summary.peak_bytes / 2**20,
        "projected_mib": summary.projection.worker_bytes / 2**20,
        "limit_mib": (summary.projection.workers.limit_bytes or 0) / 2**20,
    }


def _short(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Write archives of some sizes, one after the other, and run the job on each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.out_of_core", description=__doc__)
    parser.add_argument("--sizes", default="1,4,10,40", help="gigabytes, separated by commas")
    parser.add_argument("--job", choices=STEPS, default="square")
    parser.add_argument("--workers", default="1,2", help="numbers of workers, separated by commas")
    parser.add_argument("--memory-limit", default="1GiB", help="of each worker")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--scale", type=float, default=1.0, help="size of the piece that is repeated")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args(arguments)
    found = []
    for size in map(float, options.sizes.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="outgrad-", dir=options.scratch))
        try:
            write_archive(folder / "soap.zarr", int(size * 1e9), options.scale)
            for workers in map(int, options.workers.split(",")):
                found.append(measure(folder / "soap.zarr", workers, options.memory_limit, options.job))
                print({name: _short(value) for name, value in found[-1].items()}, flush=True)
        finally:
            shutil.rmtree(folder)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
