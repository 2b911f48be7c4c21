"""Write the archives that every later release must still read: ``python -m tests.support.old_archives``.

They were made once for each format version and are kept. The contents follow from formulas, so that a test
can build what it should find without the archives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import outgrad as og
from tests.support import ROOT

FORMAT_VERSION = 1
FOLDER = ROOT / "tests" / "storage" / "zarr" / "archives" / str(FORMAT_VERSION)


def ramp(shape: tuple[int, ...], dtype: str, start: int) -> np.ndarray:
    """Numbers that are exact in every dtype."""
    values = (np.arange(np.prod(shape)) + start) % 113
    return values.reshape(shape).astype(dtype)


def block(samples: int, properties: int, dtype: str, start: int, *, nested: bool) -> og.TensorBlock:
    """A block with components, a dense and a sparse gradient, and gradients of a gradient."""
    mu = og.Labels("o3_mu", [[-1], [0], [1]])
    n = og.Labels.range("n", properties)
    systems = [[s // 2, s % 2] for s in range(samples)]
    made = og.TensorBlock(
        ramp((samples, 3, properties), dtype, start),
        og.Labels(["system", "atom"], np.array(systems, dtype=np.int32).reshape(-1, 2)),
        [mu],
        n,
    )
    made.add_gradient("positions", positions(samples, properties, dtype, start, nested=nested))
    no_rows = og.Labels.empty(["sample"])
    made.add_gradient("cell", og.TensorBlock(ramp((0, 3, properties), dtype, 0), no_rows, [mu], n))
    return made


def positions(samples: int, properties: int, dtype: str, start: int, *, nested: bool) -> og.TensorBlock:
    """Two rows for each sample but every third, which has none."""
    mu = og.Labels("o3_mu", [[-1], [0], [1]])
    xyz = og.Labels.range("xyz", 3)
    n = og.Labels.range("n", properties)
    rows = [[s, s // 2, atom] for s in range(samples) if s % 3 for atom in (0, 1)]
    made = og.TensorBlock(
        ramp((len(rows), 3, 3, properties), dtype, start + 7),
        og.Labels(["sample", "system", "atom"], np.array(rows, dtype=np.int32).reshape(-1, 3)),
        [xyz, mu],
        n,
    )
    if nested:
        own = og.Labels(
            ["sample", "strain"], np.array([[r, 0] for r in range(0, len(rows), 2)]).reshape(-1, 2)
        )
        values = ramp((len(own), 3, 3, properties), dtype, start + 11)
        made.add_gradient("strain", og.TensorBlock(values, own, [xyz, mu], n))
    return made


COMPRESSORS = ("lz4", "zstd", "none")
ALL_CONTENTS = "lz4"
"""The others only hold one map: what differs is how chunks are coded."""


def archives() -> dict[Path, og.TensorMap | og.TensorBlock | og.Labels]:
    """What each archive holds, by its path below the folder of its version."""
    return {
        Path(compressor) / name: data
        for compressor in COMPRESSORS
        for name, data in contents().items()
        if compressor == ALL_CONTENTS or name == "map-float64.zarr"
    }


def contents() -> dict[str, og.TensorMap | og.TensorBlock | og.Labels]:
    """What each archive holds, by file name."""
    keys = og.Labels(["center_type", "neighbor_type"], [[1, 8], [6, 8], [8, 8], [1, 1]])
    sizes = [(5, 2), (7, 2), (0, 2), (3, 4)]
    found: dict[str, og.TensorMap | og.TensorBlock | og.Labels] = {}
    for dtype in ("float64", "float32", "int16", "bool", "complex128"):
        blocks = [block(s, p, dtype, k, nested=dtype == "float64") for k, (s, p) in enumerate(sizes)]
        found[f"map-{dtype}.zarr"] = og.TensorMap(keys, blocks)
    described = found["map-float64.zarr"]
    assert isinstance(described, og.TensorMap), "it is a map"
    described.set_info("unit", "Å⁻¹")
    found["block.zarr"] = block(6, 3, "float64", 0, nested=True)
    found["labels.zarr"] = keys
    return found


if __name__ == "__main__":
    for path, data in archives().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, og.Labels):
            og.save(FOLDER / path, data)
        else:
            og.save(FOLDER / path, data, compressor=path.parts[0])
