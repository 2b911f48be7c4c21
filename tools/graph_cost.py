"""Compare the processor time of building graphs, and of opening an archive, with another checkout.

    git worktree add ../before COMMIT
    python tools/graph_cost.py ../before [--rounds 4]

Both are measured in processes that run in turns, this checkout first. A line has the medians in milliseconds,
and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import outgrad as og
from outgrad.testing import Parameter, random_block

HERE = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before", type=Path, nargs="?", help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=4, help="processes of each")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        with tempfile.TemporaryDirectory() as folder:
            found = ways(Path(folder))
            for build in [
                *found.values()
            ] * 2:  # what is imported late, and memory that the process grows into
                build()
            print(json.dumps({name: milliseconds(build) for name, build in found.items()}))
        return
    checkouts = [HERE, *([options.before] if options.before else [])]
    rounds: list[list[dict[str, float]]] = [[] for _ in checkouts]
    for _ in range(options.rounds):
        for checkout, rows in zip(checkouts, rounds, strict=True):
            rows.append(measured(checkout))
    for name in rounds[0][0]:
        medians = [statistics.median(row[name] for row in rows) for rows in rounds]
        ratio = f"{medians[0] / medians[-1]:7.2f}" if options.before else ""
        print(f"{name:34}", *(f"{median:9.1f}" for median in medians), ratio)


def measured(checkout: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, __file__, "--child"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def milliseconds(build: Callable[[], object], repeats: int = 7) -> float:
    """Median processor time: other programs of the machine count little."""
    build()
    found = []
    for _ in range(repeats):
        started = time.process_time()
        build()
        found.append(time.process_time() - started)
    return statistics.median(found) * 1000


def ways(folder: Path) -> dict[str, Callable[[], object]]:
    some, many = random_map(8, 400).chunk(16), random_map(1000, 8)
    archive = folder / "many.zarr"
    og.save(archive, many)
    many = many.chunk(4)
    five = og.Labels.range("q", 5)
    weights = [og.TensorBlock(np.ones((5, 8)), five, [], some.block(0).properties) for _ in some.keys]
    right = og.TensorMap(some.keys, weights)
    systems = og.Labels(["system"], [[number] for number in range(50)])
    return {
        "multiply": lambda: og.multiply(some, some),
        "add": lambda: og.add(some, some),
        "sum_over_samples": lambda: og.sum_over_samples(some, "atom"),
        "keys_to_properties": lambda: some.keys_to_properties("l"),
        "slice": lambda: og.slice(some, "samples", systems),
        "zeros_like": lambda: og.zeros_like(some),
        "join": lambda: og.join([some, some], "samples", add_dimension="t"),
        "dot": lambda: og.dot(some, right),
        "lstsq": lambda: og.lstsq(some, some, 1e-10),
        "multiply by 2, 1,000 blocks": lambda: og.multiply(many, 2.0),
        "multiply, 1,000 blocks": lambda: og.multiply(many, many),
        "open, 1,000 blocks": lambda: og.open(archive),
    }


def random_map(blocks: int, rows: int) -> og.TensorMap:
    generator = np.random.default_rng(seed=0)
    samples = og.Labels(["system", "atom"], [[row // 4, row % 4] for row in range(rows)])
    m, n = [og.Labels.range("m", 3)], og.Labels.range("n", 8)
    keys = og.Labels(["k", "l"], [[block, block % 3] for block in range(blocks)])
    gradients = {"positions": Parameter()}
    made = [random_block(generator, samples, m, n, gradients, sparsity=0.5) for _ in range(blocks)]
    return og.TensorMap(keys, made)


if __name__ == "__main__":
    main()
