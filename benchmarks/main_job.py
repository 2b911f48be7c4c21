"""The main job against metatensor and against copying files: open, square with gradients, save.

    python examples/data/make_large.py --size 3GB --output soap.zarr
    python -m benchmarks.main_job soap.zarr --scratch /path/on/a/local/disk

Each candidate is a process of its own, started anew for every run, in turn. Memory is that of all its
processes together, the scheduler included. metatensor gets the same data as an ``.mts`` file, its own format.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click

import outgrad as og
from benchmarks.process import Run, run

JOB = """\
version: 1
inputs:  {rho: %s}
steps:
  - {name: h, op: multiply, args: [rho, rho]}
outputs: {h: %s}
"""

METATENSOR = """\
import metatensor
rho = metatensor.load({source!r})
metatensor.save({target!r}, metatensor.multiply(rho, rho))
"""

NUMPY_IO = """\
import metatensor
rho = metatensor.load({source!r}, use_numpy=True)
metatensor.save({target!r}, metatensor.multiply(rho, rho), use_numpy=True)
"""

COPY = "import shutil; shutil.copytree({source!r}, {target!r})"
FLUSH = "import os; os.sync()"

Candidate = Callable[[Path, int], list[str]]


def _outgrad(source: str, target: str, options: list[str]) -> Candidate:
    def command(folder: Path, number: int) -> list[str]:
        job = folder / "job.yaml"
        job.write_text(JOB % (source, target))
        return [str(Path(sys.executable).parent / "outgrad"), "run", str(job), "--overwrite", *options]

    return command


def _python(code: str, source: str, target: str) -> Candidate:
    def command(folder: Path, number: int) -> list[str]:
        return [sys.executable, "-c", code.format(source=source, target=target)]

    return command


def candidates(with_metatensor: bool, options: list[str]) -> dict[str, tuple[str, Candidate]]:
    """Name, output and command of each."""
    found = {
        "outgrad run, .zarr": ("squared.zarr", _outgrad("soap.zarr", "squared.zarr", options)),
        "copy of the archive": ("copy.zarr", _python(COPY, "soap.zarr", "copy.zarr")),
    }
    if with_metatensor:
        found["outgrad run, .mts"] = ("squared.mts", _outgrad("soap.mts", "squared.mts", options))
        found["metatensor"] = ("native.mts", _python(METATENSOR, "soap.mts", "native.mts"))
        found["metatensor, use_numpy"] = ("numpy.mts", _python(NUMPY_IO, "soap.mts", "numpy.mts"))
    return found


@click.command()
@click.argument("archive", type=click.Path(exists=True, path_type=Path))
@click.option("--scratch", type=click.Path(exists=True, path_type=Path), help="Where to write.")
@click.option("--rounds", default=3, help="Runs of each candidate.")
@click.option("--memory-limit", default="768MiB", help="Of each of the two workers.")
@click.option("--metatensor/--no-metatensor", default=True, help="Leave metatensor out of large runs.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the runs there.")
def main(
    archive: Path,
    scratch: Path | None,
    rounds: int,
    memory_limit: str,
    metatensor: bool,
    json_path: Path | None,
) -> None:
    """Run all candidates in turn and print medians and ratios."""
    folder = Path(tempfile.mkdtemp(prefix="outgrad-", dir=scratch))
    try:
        (folder / "soap.zarr").symlink_to(archive.resolve())
        if metatensor:
            og.save(folder / "soap.mts", og.open(archive))
        options = ["--workers", "2", "--memory-limit", memory_limit, "--no-progress"]
        runs = _rounds(folder, candidates(metatensor, options), rounds)
        _print(og.open(archive).nbytes, runs)
        if json_path is not None:
            json_path.write_text(json.dumps({k: [vars(r) for r in v] for k, v in runs.items()}, indent=1))
    finally:
        shutil.rmtree(folder)


def _rounds(folder: Path, found: dict[str, tuple[str, Candidate]], rounds: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(rounds):
        for name, (output, command) in found.items():
            run([sys.executable, "-c", FLUSH], folder)  # nobody pays for what another left in the cache
            runs[name].append(run(command(folder, number), folder))
            _remove(folder / output)
    return runs


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _print(nbytes: int, runs: dict[str, list[Run]]) -> None:
    first = next(iter(runs.values()))
    base, memory = median(r.seconds for r in first), median(r.peak_bytes for r in first)
    print(f"{nbytes / 1e9:.2f} GB of values and gradients, medians of {len(first)} runs")
    print(f"{'':24} {'seconds':>9} {'outgrad/this':>13} {'peak MB':>9} {'outgrad/this':>13}")
    for name, own in runs.items():
        seconds, peak = median(r.seconds for r in own), median(r.peak_bytes for r in own)
        print(f"{name:24} {seconds:9.2f} {base / seconds:13.2f} {peak / 1e6:9.0f} {memory / peak:13.2f}")
    print()
    print(first[-1].output)


if __name__ == "__main__":
    main()
