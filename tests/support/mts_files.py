"""What the tests of ``.mts`` files share: files built by NumPy and ``zipfile``, and copies by our writer."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk
from outgrad.data.outline import Piece
from outgrad.data.requests import Request, request
from outgrad.storage.mts.reader import OpenedMts
from outgrad.storage.mts.writer import MtsWriter
from tests.support.saving import commit

Members = dict[str, bytes]


def npy(array: np.ndarray) -> bytes:
    """An ``.npy`` member as NumPy writes it."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def table(names: str, rows: Any) -> np.ndarray:
    """A label table: one ``<i4`` field for each of the names."""
    values = np.asarray(rows, dtype="<i4").reshape(-1, len(names.split()))
    return values.copy().view([(name, "<i4") for name in names.split()]).reshape(len(values))


def block_arrays(prefix: str, samples: int, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """A block with a component, a gradient, and a gradient of it; systems of 4 atoms."""
    rng = np.random.default_rng([seed, samples])

    def values(*shape: int) -> np.ndarray:
        return rng.integers(0, 2 if dtype == "b1" else 100, shape).astype(dtype)

    row = np.repeat(np.arange(samples), rng.integers(0, 3, samples))
    below = np.repeat(np.arange(len(row)), rng.integers(0, 3, len(row)))
    gradient, nested = f"{prefix}gradients/positions/", f"{prefix}gradients/positions/gradients/cell/"
    number = np.arange(samples)
    return {
        f"{prefix}values": values(samples, 3, 4),
        f"{prefix}samples": table("system atom", np.stack([number // 4, number % 4], 1)),
        f"{prefix}components/0": table("o3_mu", [-1, 0, 1]),
        f"{prefix}properties": table("l n", [[0, 0], [0, 1], [1, 0], [1, 1]]),
        f"{gradient}values": values(len(row), 2, 3, 4),
        f"{gradient}samples": table("sample atom", np.stack([row, np.arange(len(row))], 1)),
        f"{gradient}components/0": table("xyz", [0, 2]),
        f"{gradient}components/1": table("o3_mu", [-1, 0, 1]),
        f"{nested}values": values(len(below), 2, 3, 4),
        f"{nested}samples": table("sample k", np.stack([below, np.arange(len(below))], 1)),
        f"{nested}components/0": table("xyz", [0, 2]),
        f"{nested}components/1": table("o3_mu", [-1, 0, 1]),
    }


def map_arrays(dtype: str = "f8", sizes: Iterable[int] = (13, 0, 1)) -> dict[str, np.ndarray]:
    """The arrays of a map, by the names of their members without suffix."""
    sizes = list(sizes)
    arrays = {"keys": table("l species", [[number, 2 * number] for number in range(len(sizes))])}
    for number, samples in enumerate(sizes):
        arrays |= block_arrays(f"blocks/{number}/", samples, dtype, number)
    return arrays


class Files:
    """Functions for tests, in one fixture."""

    npy = staticmethod(npy)
    table = staticmethod(table)
    block_arrays = staticmethod(block_arrays)
    map_arrays = staticmethod(map_arrays)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def members(arrays: dict[str, np.ndarray]) -> Members:
        return {f"{name}.npy": npy(array) for name, array in arrays.items()}

    def zip(self, members: Members, method: int = zipfile.ZIP_STORED, name: str = "in.mts") -> Path:
        """A ZIP file as Python writes it."""
        path = self.folder / name
        with zipfile.ZipFile(path, "w", method) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return path

    def listing(self) -> list[str]:
        """Names of all files in the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    def map(self, dtype: str = "f8", method: int = zipfile.ZIP_STORED) -> Path:
        return self.zip(self.members(map_arrays(dtype)), method)

    @staticmethod
    def requests(opened: OpenedMts) -> list[Request]:
        """One request for every chunk."""
        return [
            request(opened.outlines, Piece(block, chunk))
            for block, outline in enumerate(opened.outlines)
            for chunk in range(outline.chunk_count)
        ]

    def writer(self, opened: OpenedMts, name: str = "out.mts", **options: Any) -> MtsWriter:
        options = {"info": opened.info, "kind": opened.kind, "durable": False} | options
        return MtsWriter(self.folder / name, opened.keys, opened.metadata, opened.outlines, **options)

    def copy(self, opened: OpenedMts, name: str = "out.mts", **options: Any) -> Path:
        """Write what was opened, chunk by chunk, as tasks do: last chunk first, one chunk twice."""
        writer = self.writer(opened, name, **options)
        writer.start()
        task = pickle.loads(pickle.dumps(writer))
        requests = self.requests(opened)[::-1]
        for repeated in requests[:1]:
            task.write([repeated], opened.reader.read([repeated]))
        commit(writer, [task.write([each], opened.reader.read([each])) for each in requests])
        return self.folder / name

    def arrays(self, opened: OpenedMts) -> dict[str, np.ndarray]:
        """All that is in the file, by member name, with gradient rows counted from the start of the block."""
        found: dict[str, list[np.ndarray]] = {}
        for each in self.requests(opened):
            (chunk,) = opened.reader.read([each])
            starts = [start for start, _ in each.ranges]
            for name, array in _flat(f"blocks/{each.block}/", chunk, iter(starts), 0):
                found.setdefault(name, []).append(array)
        return {name: np.concatenate(pieces) for name, pieces in found.items()}


def _flat(prefix: str, chunk: Chunk, starts: Any, parent_start: int) -> Iterable[tuple[str, np.ndarray]]:
    start = next(starts)
    yield f"{prefix}values", chunk.values
    if chunk.table is not None:
        yield f"{prefix}samples", chunk.table + np.eye(1, chunk.table.shape[1], dtype=np.int32) * parent_start
    for parameter, gradient in chunk.gradients.items():
        yield from _flat(f"{prefix}gradients/{parameter}/", gradient, starts, start)
