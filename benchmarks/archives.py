"""Archives that grow: what appending, opening, reading a part and indexing cost as an archive gets larger.

    python -m benchmarks.archives appends parts index passes --scratch /path/on/a/local/disk

``appends`` adds pieces of 50 MB and looks whether the last take longer than the first, beside a plain file
of the same size that is written and flushed in turns. ``parts`` opens 100 systems of a million, and counts
what is read. ``index`` refers to 10,000 files of metatensor, beside loading them with metatensor.
``passes`` counts the bytes that are decoded while an archive is read chunk by chunk, and the tasks of
reading, multiplying and saving it, for archives of every writer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
from dask.callbacks import Callback

import outgrad as og
from benchmarks.data import block_arrays, make_map
from benchmarks.measure import extra_memory
from outgrad.graph.dask_names import Alias
from outgrad.storage.local_store import LocalStore
from outgrad.storage.zarr import storage_chunks

Row = dict[str, Any]


def piece(number: int, scale: float = 1.0, systems: int = 16) -> og.TensorMap:
    """About 50 MB at scale 1, values and gradients; random numbers, which hardly compress."""
    rng = np.random.default_rng(number)
    width = max(4, round(200 * scale))
    arrays = [block_arrays(rng, systems, 8, 40, width, first=number * systems) for _ in range(2)]
    return make_map(og, arrays[:2])


def digest(tensor: og.TensorMap) -> str:
    """Of all labels, values and gradients, block by block."""
    found = hashlib.sha256()
    for key, block in tensor.items():
        for each in (block, *(gradient for _, gradient in block.gradients())):
            found.update(np.ascontiguousarray(each.samples.values).tobytes())
            found.update(np.ascontiguousarray(np.asarray(each.values)).tobytes())
        found.update(str(key).encode())
    return found.hexdigest()


# ---- appends ----
def appends(folder: Path, scale: float) -> Row:
    """Append again and again; read each piece back, compact, and read again."""
    path, plain = folder / "grown.zarr", folder / "plain"
    count = max(20, round(200 * min(1.0, scale * 4)))
    seconds, raw, opening, digests = [], [], [], []
    for number in range(count):
        made = piece(number, scale)
        digests.append(digest(made))
        started = time.perf_counter()
        og.append(path, made)
        seconds.append(time.perf_counter() - started)
        content = os.urandom(2**20) * round(made.nbytes / 2**20 + 0.5)
        started = time.perf_counter()
        with plain.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        raw.append(time.perf_counter() - started)
        if number % 10 == 9:
            started = time.perf_counter()
            og.open(path)
            opening.append(time.perf_counter() - started)
    fresh = float(_in_a_process("import outgrad as og; og.open", f"og.open({str(path)!r})"))
    different = _different(path, digests)
    started = time.perf_counter()
    og.compact(path)
    compacting = time.perf_counter() - started
    changed = _different(path, digests)
    tail = 10 if count >= 100 else 5
    return {
        "appends": count,
        "bytes each": made.nbytes,
        "first appends s": statistics.median(seconds[:tail]),
        "last appends s": statistics.median(seconds[-tail:]),
        "last by first": statistics.median(seconds[-tail:]) / statistics.median(seconds[:tail]),
        "plain file, last by first": statistics.median(raw[-tail:]) / statistics.median(raw[:tail]),
        "append by plain file": statistics.median(seconds) / statistics.median(raw),
        "open s": max(opening),
        "open in a new process s": fresh,
        "pieces that differ": different,
        "compact s": compacting,
        "pieces that differ after compact": changed,
        "segments": [each.segments for each in og.history(path)][-2:],
        "problems": len(og.verify(path)),
    }


def _different(path: Path, digests: list[str]) -> int:
    """How many pieces are not what was appended, to the last bit."""
    return sum(digest(_piece_of(path, number)) != found for number, found in enumerate(digests))


def _piece_of(path: Path, number: int, systems: int = 16) -> og.TensorMap:
    chosen = og.Labels(["system"], np.arange(number * systems, (number + 1) * systems).reshape(-1, 1))
    return og.open(path, samples=chosen).compute()


def _in_a_process(before: str, timed: str) -> str:
    code = (
        f"{before}\nimport time\nstarted = time.perf_counter()\n{timed}\nprint(time.perf_counter() - started)"
    )
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


# ---- parts ----
def parts(folder: Path, scale: float) -> list[Row]:
    """Open 100 systems of very many."""
    path, systems = folder / "million.zarr", max(10_000, round(1_000_000 * scale))
    with og.ArchiveWriter(path) as writer:
        for first in range(0, systems, 10_000):
            count = min(10_000, systems - first)
            rng = np.random.default_rng(first)
            writer.append(make_map(og, [block_arrays(rng, count, 2, 2, 8, first=first)]))
    rng = np.random.default_rng(0)
    rows = []
    for name, chosen in (
        ("neighbours", np.arange(systems // 2, systems // 2 + 100)),
        ("scattered", np.sort(rng.choice(systems, 100, replace=False))),
    ):
        labels = og.Labels(["system"], chosen.reshape(-1, 1))
        fresh = [_opening_in_a_process(path, chosen) for _ in range(5)]
        with requests() as asked:
            opened = og.open(path, samples=labels)
        at_opening = len(asked)
        with requests() as asked:
            loaded = opened.compute()
        rows.append(
            {
                "systems": systems,
                "chosen": name,
                "open, in a new process ms": 1e3 * statistics.median(fresh),
                "requests to open": at_opening,
                "requests to read": len(asked),
                "chunks needed": _needed(path, chosen),
                "samples": len(loaded.block(0).samples),
            }
        )
    return rows


def _opening_in_a_process(path: Path, chosen: Any) -> float:
    before = (
        "import numpy as np, outgrad as og\n"
        f"og.open({str(path)!r})\n"  # what a process does once: imports, and the commit
        "from outgrad.storage.zarr import reader; reader._archives._items.clear()\n"
        f"labels = og.Labels(['system'], np.array({chosen.tolist()}).reshape(-1, 1))"
    )
    return float(_in_a_process(before, f"og.open({str(path)!r}, samples=labels)"))


def _needed(path: Path, chosen: Any) -> int:
    """Chunks of values and gradients that have rows of the systems."""
    commit = json.loads(max((path / "commits").glob("[0-9]*.json")).read_text())["commit"]
    found = 0
    for each in commit["segments"]:
        for array in each["arrays"]:
            if array["path"].endswith("values"):
                rows = 2 if "gradients" not in array["path"] else 4  # a system; two atoms, two neighbours
                size = array["chunk_rows"]
                places = {row // size for s in chosen.tolist() for row in (rows * s, rows * s + rows - 1)}
                found += len(places)
    return found


@contextmanager
def requests() -> Iterator[list[str]]:
    """The objects, or parts of them, that are read meanwhile."""
    asked: list[str] = []
    original = LocalStore._read

    def read(self: LocalStore, key: str, *arguments: Any) -> Any:
        asked.append(key)
        return original(self, key, *arguments)

    LocalStore._read = read  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        LocalStore._read = original  # type: ignore[method-assign]


# ---- index ----
def index(folder: Path, scale: float) -> Row:
    """Refer to very many files, and sum over them."""
    import metatensor  # noqa: PLC0415 - the peer

    count, path = max(100, round(10_000 * scale)), folder / "all.zarr"
    (folder / "files").mkdir()
    total = 0.0
    files = [folder / "files" / f"{number:05d}.mts" for number in range(count)]
    for number, file in enumerate(files):
        rng = np.random.default_rng(number)
        made = make_map(og, [block_arrays(rng, 1, 4, 4, 16)])
        og.save(file, made, durable=False)
        total += float(made.block(0).values.sum())
    started = time.perf_counter()
    memory = extra_memory(lambda: og.index(files, path, renumber="system"))
    indexing = time.perf_counter() - started
    started = time.perf_counter()
    first = og.open(path, samples=og.Labels("system", [[0]])).block(0).compute()
    opening = time.perf_counter() - started
    opened = og.open(path)
    started = time.perf_counter()
    summed = float(np.asarray(opened.block(0).values).sum())
    summing = time.perf_counter() - started
    started = time.perf_counter()
    peer = sum(float(np.asarray(metatensor.load(str(file)).block(0).values).sum()) for file in files)
    loading = time.perf_counter() - started
    return {
        "files": count,
        "index s": indexing,
        "index memory MB": memory / 1e6,
        "first system s": opening,
        "its rows": len(first),
        "sum over all s": summing,
        "load all with metatensor s": loading,
        "sum differs by": max(abs(summed - total), abs(peer - total)) / abs(total),
    }


# ---- passes ----
def passes(folder: Path, scale: float) -> list[Row]:
    """Bytes decoded, and tasks, for archives of every writer."""
    rows = []
    for write in WRITERS:
        name = write.__name__.strip("_").replace("_", " ")
        path = folder / f"{name.replace(' ', '-')}.zarr"
        write(path, max(0.1, scale))
        opened = og.open(path, target_bytes="16 MiB")  # as fine as parts are
        chunks = sum(block.values.npartitions for block in opened)
        with decoded() as nbytes, counted() as tasks, dask.config.set(scheduler="synchronous"):
            og.save(folder / "out.zarr", og.multiply(opened, opened), overwrite=True)
        rows.append(
            {
                "writer": name,
                "bytes": opened.nbytes,
                "decoded by bytes": sum(nbytes) / opened.nbytes,
                "chunks": chunks,
                "tasks a chunk": len(tasks) / chunks,
            }
        )
    return rows


def _joined(scale: float) -> og.TensorMap:
    return og.join([piece(number, scale) for number in range(4)], axis="samples")


def _in_memory(path: Path, scale: float) -> None:
    og.save(path, _joined(scale))


def _chunked(path: Path, scale: float) -> None:
    og.save(path, _joined(scale).chunk("32 MiB"))


def _writer(path: Path, scale: float) -> None:
    with og.ArchiveWriter(path) as out:
        for number in range(4):
            out.append(piece(number, scale))


def _appended(path: Path, scale: float) -> None:
    for number in range(4):
        og.append(path, piece(number, scale))


def _compacted(path: Path, scale: float) -> None:
    _appended(path, scale)
    og.compact(path)


def _computed(path: Path, scale: float) -> None:
    source = path.with_name("source.zarr")
    _writer(source, scale)
    og.save(path, og.multiply(og.open(source), 2.0))
    shutil.rmtree(source)


def _converted(path: Path, scale: float) -> None:
    source = path.with_name("source.mts")
    og.save(source, _joined(scale))
    og.save(path, og.open(source))
    source.unlink()


WRITERS = (_in_memory, _chunked, _writer, _appended, _compacted, _computed, _converted)


@contextmanager
def decoded() -> Iterator[list[int]]:
    """The bytes of values and gradients that are decoded meanwhile."""
    found: list[int] = []
    original = storage_chunks._unpack

    def unpack(array: Any, number: int, body: Any, out: Any) -> None:
        if "values" in array.path:
            found.append(out.nbytes)
        original(array, number, body, out)

    storage_chunks._unpack = unpack
    try:
        yield found
    finally:
        storage_chunks._unpack = original


@contextmanager
def counted() -> Iterator[list[Any]]:
    """The tasks that are run meanwhile."""
    found: list[Any] = []

    def count(key: Any, result: Any, graph: Any, *_: Any) -> None:
        if not isinstance(graph[key], Alias):  # another name of a task
            found.append(key)

    with Callback(posttask=count):
        yield found


GROUPS: dict[str, Callable[[Path, float], Row | list[Row]]] = {
    "appends": appends,
    "parts": parts,
    "index": index,
    "passes": passes,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure groups and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archives", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"some of {', '.join(GROUPS)}; by default all")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data; 1 is that of the targets")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="for files")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    for name in options.groups or GROUPS:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            found[name] = GROUPS[name](Path(folder), options.scale)
        print(name, json.dumps(found[name], indent=1), sep="\n", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
