"""What a user would write by hand with dask.array and zarr, for the same blocks and the same codec."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from benchmarks.data import BlockArrays

THREADS = 2
CHUNK_BYTES = 4 * 2**20
NAMES = ("values", "gradient")


def write_plain(path: Path, blocks: Sequence[BlockArrays]) -> None:
    """Write arrays as a Zarr group, in chunks and with a codec like those of an archive."""
    group = zarr.open_group(path, mode="w")
    for number, block in enumerate(blocks):
        for name in NAMES:
            array = getattr(block, name)
            rows = max(1, min(len(array), CHUNK_BYTES // (array.nbytes // len(array))))
            created = _create(group, f"{number}/{name}", array.shape, (rows, *array.shape[1:]))
            created[:] = array
        group.create_array(f"{number}/rows", data=block.rows[:, 0])


def _create(group: Any, name: str, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Any:
    codecs = (BloscCodec(cname="lz4", shuffle="shuffle"), Crc32cCodec())
    return group.create_array(name, shape=shape, chunks=chunks, dtype="f8", compressors=codecs)


def square_by_hand(source: Path, target: Path) -> None:
    """The square of all values, and the chain rule for the gradients, with one array operation each."""
    found, stored = zarr.open_group(source, mode="r"), zarr.open_group(target, mode="w")
    sources, targets = [], []
    for number, block in found.groups():
        values, gradient = da.from_zarr(block["values"]), da.from_zarr(block["gradient"])
        weight = 2 * values[block["rows"][:]].rechunk((gradient.chunks[0], -1))
        for name, result in (("values", values * values), ("gradient", weight[:, None, :] * gradient)):
            sources.append(result)
            targets.append(_create(stored, f"{number}/{name}", result.shape, block[name].chunks))
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        da.store(sources, targets, lock=False)


def copy_by_chunks(source: Path, target: Path) -> None:
    """Read every chunk and write it again through the same codec, on two threads."""
    found, stored = zarr.open_group(source, mode="r"), zarr.open_group(target, mode="w")
    pieces = []
    for number, block in found.groups():
        for name in NAMES:
            array = block[name]
            copy = _create(stored, f"{number}/{name}", array.shape, array.chunks)
            step = array.chunks[0]
            pieces += [(array, copy, slice(n, n + step)) for n in range(0, array.shape[0], step)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_copy, pieces))


def _copy(piece: tuple[Any, Any, slice]) -> None:
    source, copy, rows = piece
    copy[rows] = source[rows]
