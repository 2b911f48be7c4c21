"""Compare compressors on the gradients of a real map: speed of writing and reading through Zarr, and size.

    python examples/data/make_large.py --size 400MB --output soap.mts
    python benchmarks/codecs.py soap.mts --scratch /path/on/a/local/disk

Each codec chain ends in crc32c. A process bound to one core, then one bound to two, writes and reads the
same arrays through each chain in turn, several times over. The table has the medians: of processor time on
one core, of elapsed time on two. ``--through outgrad`` codes chunks as an archive does; ``--through zarr``
uses zarr's own arrays, as another reader would. Nothing is flushed and the page cache is warm, so the speeds
are not those of the disk. The last column adds the disk: seconds on two cores for each GB that is read and
written back, when the disk takes 0.4 GB/s of stored bytes while the cores go on.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import metatensor
import numpy as np
import zarr
from dask.utils import parse_bytes

from outgrad.storage.zarr.codecs import Compressor, chain_to_json, decode, encode

CHUNK_BYTES = 4 * 2**20
SLAB_CHUNKS = 16  # what one task writes: 64 MiB
DISK_GB_PER_SECOND = 0.4
CORES = (1, 2)
# As `cluster/local.yaml` sets them for workers: without them each chunk is faulted in anew.
MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**28),
}


CHAINS = {
    "none": None,
    "blosc lz4 1 shuffle": Compressor("blosc", 1, "lz4", "shuffle"),
    "blosc lz4 5 shuffle": Compressor("blosc", 5, "lz4", "shuffle"),
    "blosc lz4 1 bitshuffle": Compressor("blosc", 1, "lz4", "bitshuffle"),
    "blosc lz4 5 bitshuffle": Compressor("blosc", 5, "lz4", "bitshuffle"),
    "blosc zstd 1 shuffle": Compressor("blosc", 1, "zstd", "shuffle"),
    "blosc zstd 3 shuffle": Compressor("blosc", 3, "zstd", "shuffle"),
    "zstd -5": Compressor("zstd", -5),
    "zstd -1": Compressor("zstd", -1),
    "zstd 0": Compressor("zstd", 0),
    "zstd 1": Compressor("zstd", 1),
    "zstd 3": Compressor("zstd", 3),
}


@dataclass(frozen=True)
class Timing:
    """One pass over all arrays: seconds to write and to read, and bytes on disk."""

    write_seconds: float
    read_seconds: float
    stored_bytes: int


def chunk_rows(array: np.ndarray) -> int:
    """Return the rows of a chunk of about `CHUNK_BYTES`."""
    return max(1, CHUNK_BYTES * len(array) // array.nbytes)


def whole_chunks(array: np.ndarray) -> np.ndarray:
    """Return the array without its last part of a chunk, which Zarr would pad: it would spoil the ratios."""
    return array[: max(1, len(array) // chunk_rows(array)) * chunk_rows(array)]


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    rounds: int
    scratch: Path
    through: str
    cores: int


@dataclass(frozen=True)
class Gradients:
    """The gradients of a file that are measured."""

    path: Path
    limit_bytes: int
    dtype: str

    def read(self) -> list[np.ndarray]:
        """Return the first gradient rows of every block, joined for each parameter, in whole chunks."""
        gradients = [item for block in metatensor.load(str(self.path)).blocks() for item in block.gradients()]
        total = sum(gradient.values.size for _, gradient in gradients) * np.dtype(self.dtype).itemsize
        pieces = defaultdict(list)
        for parameter, gradient in gradients:
            stop = math.ceil(len(gradient.samples) * min(1, self.limit_bytes / total))
            pieces[parameter].append(np.asarray(gradient.values[:stop], dtype=self.dtype))
        return [whole_chunks(np.concatenate(pieces[parameter])) for parameter in sorted(pieces)]


class ZarrTarget:
    """An array that zarr itself writes and reads."""

    def __init__(self, path: Path, like: np.ndarray, compressor: Compressor | None) -> None:
        self.array = zarr.create_array(
            zarr.storage.LocalStore(path),
            shape=like.shape,
            chunks=(chunk_rows(like), *like.shape[1:]),
            dtype=like.dtype,
            compressors=chain_to_json(compressor, like.itemsize)[1:],
            config={"write_empty_chunks": True},
        )

    def write(self, rows: slice, values: np.ndarray) -> None:
        """Write whole chunks."""
        self.array[rows] = values

    def read(self, rows: slice) -> np.ndarray:
        """Read whole chunks."""
        return np.asarray(self.array[rows])


class ChunkTarget:
    """Chunks in files, coded as an archive codes them."""

    def __init__(self, path: Path, like: np.ndarray, compressor: Compressor | None) -> None:
        path.mkdir()
        self.path, self.compressor, self.step = path, compressor, chunk_rows(like)
        self.trailing, self.dtype = like.shape[1:], like.dtype

    def write(self, rows: slice, values: np.ndarray) -> None:
        """Write whole chunks."""
        for start in range(0, len(values), self.step):
            coded, _ = encode(values[start : start + self.step], self.compressor)
            (self.path / str(rows.start + start)).write_bytes(coded)

    def read(self, rows: slice) -> np.ndarray:
        """Read whole chunks."""
        values = np.empty((rows.stop - rows.start, *self.trailing), self.dtype)
        for start in range(0, len(values), self.step):
            coded = np.fromfile(self.path / str(rows.start + start), np.uint8)
            decode(coded, self.compressor, values[start : start + self.step])
        return values


Target = ChunkTarget | ZarrTarget
TARGETS: dict[str, type[Target]] = {"outgrad": ChunkTarget, "zarr": ZarrTarget}


def slabs(array: np.ndarray) -> list[slice]:
    """Return the row ranges of the tasks: whole chunks."""
    step = chunk_rows(array) * SLAB_CHUNKS
    return [slice(start, min(start + step, len(array))) for start in range(0, len(array), step)]


def measure(
    arrays: list[np.ndarray], target: type[Target], compressor: Compressor | None, plan: Plan
) -> Timing:
    """Write and read all arrays once, by as many threads as cores."""
    directory = Path(tempfile.mkdtemp(dir=plan.scratch))
    stores = [target(directory / str(i), array, compressor) for i, array in enumerate(arrays)]
    tasks = [(x, store, rows) for x, store in zip(arrays, stores, strict=True) for rows in slabs(x)]
    # Time on the processor is not disturbed by other programs, but does not show what threads wait for.
    clock = time.process_time if plan.cores == 1 else time.perf_counter
    with ThreadPoolExecutor(plan.cores) as pool:
        start = clock()
        list(pool.map(lambda task: task[1].write(task[2], task[0][task[2]]), tasks))
        written = clock()
        # Results are dropped at once, as a task drops them: keeping them would measure page faults.
        list(pool.map(lambda task: task[1].read(task[2]).shape, tasks))
        stop = clock()
    array, store, rows = tasks[0]
    assert np.array_equal(store.read(rows), array[rows]), "a codec chain is not lossless"
    stored = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    shutil.rmtree(directory)
    return Timing(written - start, stop - written, stored)


def measure_all(gradients: Gradients, plan: Plan) -> dict[str, Timing]:
    """Bind this process to some cores and return the median timing of each chain."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: plan.cores]))
    arrays = gradients.read()
    timings = defaultdict(list)
    for _ in range(plan.rounds + 1):
        for name, compressor in CHAINS.items():
            timings[name].append(measure(arrays, TARGETS[plan.through], compressor, plan))
    gigabyte = sum(array.nbytes for array in arrays) / 1e9
    return {name: summarise(values[1:], gigabyte) for name, values in timings.items()}


def summarise(timings: list[Timing], gigabyte: float) -> Timing:
    """Return the medians for each GB of values; the first round, which warms up, is not among them."""
    return Timing(
        median(timing.write_seconds for timing in timings) / gigabyte,
        median(timing.read_seconds for timing in timings) / gigabyte,
        int(timings[0].stored_bytes / gigabyte),
    )


def run_bound(gradients: Gradients, plan: Plan) -> dict[str, Timing]:
    """Run `measure_all` in a fresh process: threads keep the cores they started on, malloc its settings."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure_all, gradients, plan).result()


def format_table(dtype: str, results: dict[int, dict[str, Timing]]) -> str:
    """Return the table of one dtype as Markdown; "write 2" is MB/s on two cores."""
    speeds = [f"{what} {cores}" for cores in results for what in ("write", "read")]
    lines = [" | ".join([f"| {dtype}, MB/s", *speeds, "ratio", "s/GB with disk |"])]
    lines.append("|---" * (len(speeds) + 3) + "|")
    for name, last in results[CORES[-1]].items():
        pairs = [(timings[name].write_seconds, timings[name].read_seconds) for timings in results.values()]
        cells = [f"{1e3 / seconds:.0f}" for pair in pairs for seconds in pair]
        disk_seconds = last.stored_bytes / 1e9 / DISK_GB_PER_SECOND
        total = last.read_seconds + max(last.write_seconds, disk_seconds)
        lines.append(f"| {name} | {' | '.join(cells)} | {1e9 / last.stored_bytes:.2f} | {total:.2f} |")
    return "\n".join(lines)


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--size", default="160MB", show_default=True, help="Bytes of gradients in each pass.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--scratch", default=Path(tempfile.gettempdir()), type=click.Path(path_type=Path))
@click.option("--dtype", "dtypes", multiple=True, default=["float64", "float32"], show_default=True)
@click.option("--through", default="outgrad", show_default=True, type=click.Choice(sorted(TARGETS)))
def main(path: Path, size: str, rounds: int, scratch: Path, dtypes: tuple[str, ...], through: str) -> None:
    """Print a table of codecs for the gradients of the file PATH, an .mts file with gradients."""
    os.environ.update(MALLOC)
    for dtype in dtypes:
        gradients = Gradients(path, parse_bytes(size), dtype)
        results = {cores: run_bound(gradients, Plan(rounds, scratch, through, cores)) for cores in CORES}
        click.echo(format_table(dtype, results) + "\n")


if __name__ == "__main__":
    main()
