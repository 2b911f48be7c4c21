"""A small ``.mts`` file of everything, and a process that reads damaged copies of it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

import outgrad as og

READER = Path(__file__).with_name("read_mts.py")
SPARE_BYTES = 300 << 20
SECONDS = 20


def sample_map() -> og.TensorMap:
    """Two blocks with a component, a gradient and one of it, and info; several pieces of 2 KiB each."""
    rng = np.random.default_rng(7)
    blocks = []
    for size in (40, 7):
        samples = og.Labels(["system", "atom"], np.stack(np.divmod(np.arange(size), 5), 1))
        component, properties = og.Labels.range("mu", 3), og.Labels.range("n", 4)
        block = og.TensorBlock(rng.random((size, 3, 4)), samples, [component], properties)
        rows = np.repeat(np.arange(size), 2)
        below = og.Labels(["sample", "atom"], np.stack([rows, np.arange(len(rows))], 1))
        xyz = og.Labels.range("xyz", 3)
        gradient = og.TensorBlock(rng.random((len(rows), 3, 3, 4)), below, [xyz, component], properties)
        deeper = og.Labels(
            ["sample", "k"], np.stack([np.arange(len(rows)), np.zeros(len(rows))], 1).astype(int)
        )
        nested = og.TensorBlock(rng.random((len(rows), 3, 3, 4)), deeper, [xyz, component], properties)
        gradient.add_gradient("cell", nested)
        block.add_gradient("positions", gradient)
        blocks.append(block)
    made = og.TensorMap(og.Labels(["l"], [[0], [3]]), blocks)
    made.set_info("unit", "Å")
    return made


def saved(folder: Path, method: int = zipfile.ZIP_STORED) -> Path:
    """Save this map, stored or compressed."""
    path = folder / "good.mts"
    og.save(path, sample_map(), overwrite=True)
    if method != zipfile.ZIP_STORED:
        with zipfile.ZipFile(path) as source:
            members = {name: source.read(name) for name in source.namelist()}
        with zipfile.ZipFile(path, "w", method) as target:
            for name, content in members.items():
                target.writestr(name, content)
    return path


def read_all(good: Path, paths: list[Path]) -> dict[str, str]:
    """What came of each file; a file at which the process ended is a crash, and the next is tried anew."""
    found: dict[str, str] = {}
    left = list(paths)
    while left:
        command = [sys.executable, str(READER), str(good), str(SPARE_BYTES), str(SECONDS), *map(str, left)]
        ended = subprocess.run(command, capture_output=True, text=True)
        for line in ended.stdout.splitlines():
            name, what = line.split("\t", 1)
            found[name] = what
        left = [path for path in left if path.name not in found]
        if left:
            found[left[0].name] = f"crash {ended.returncode}: {ended.stderr[-300:]}"
            left = left[1:]
    return found
