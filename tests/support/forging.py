"""Archives whose every checksum is right and whose content lies: no damage makes them, a person can."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

import outgrad as og
from outgrad.labels.rows import table_digest
from outgrad.storage.local_store import LocalStore
from outgrad.storage.zarr.codecs import chain_from_json
from outgrad.storage.zarr.documents import array_document, serialize
from outgrad.storage.zarr.format import SEGMENTS, ArraySpec, ChunkSizes
from outgrad.storage.zarr.storage_chunks import SegmentStore


def shared_arrays(path: Path) -> None:
    """Write a map of three small blocks, whose gradients have gradients, in arrays that they share."""
    sizes = ChunkSizes(share_from=2)
    with og.ArchiveWriter(path, sizes=sizes) as writer:
        writer.append(make_map(np.random.default_rng(5)))


def own_arrays(path: Path) -> None:
    """Write such a map in arrays of several storage chunks, with several chunk edges."""
    rng = np.random.default_rng(6)
    sizes = ChunkSizes(
        shard=900,
        chunk=400,
        table_shard=120,
        table_chunk=60,
        share_below=0,
        fine_chunk=2500,
        whole_system=10**6,
    )
    with og.ArchiveWriter(path, sizes=sizes) as writer:
        writer.append(make_map(rng))
        writer.append(make_map(rng, 5, start=100))


def single_chunks(path: Path) -> None:
    """Write one block in arrays of one storage chunk, so that the manifest does not depend on rows."""
    block = og.TensorBlock(
        np.ones((7, 2, 3)), og.Labels.range("s", 7), [og.Labels.range("m", 2)], og.Labels.range("n", 3)
    )
    og.save(path, og.TensorMap(og.Labels.single(), [block]), compressor="none")


def make_map(rng: np.random.Generator, systems: int = 6, start: int = 0) -> og.TensorMap:
    """Whole numbers, whose sums are exact in any order."""
    blocks = []
    for number in range(3):
        rows = [[start + system, atom] for system in range(systems) for atom in range(2 + number % 2)]
        block = og.TensorBlock(
            rng.integers(-9, 9, (len(rows), 2, 3)).astype(float),
            og.Labels(["system", "atom"], rows),
            [og.Labels.range("m", 2)],
            og.Labels(["n"], np.arange(3)[:, None] + number // 2),
        )
        positions = _gradient(rng, block, 2, "xyz", 3)
        positions.add_gradient("cell", _gradient(rng, positions, 1, "abc", 2))
        block.add_gradient("positions", positions)
        blocks.append(block)
    keys = og.Labels(["centre", "order"], [[1, 0], [6, 0], [1, 1]])
    return og.TensorMap(keys, blocks)


def _gradient(
    rng: np.random.Generator, parent: og.TensorBlock, each: int, name: str, size: int
) -> og.TensorBlock:
    rows = len(parent.samples) * each
    samples = np.column_stack([np.repeat(np.arange(len(parent.samples)), each), np.arange(rows)])
    components = [og.Labels.range(name, size), *parent.components]
    shape = (rows, *(len(component) for component in components), len(parent.properties))
    values = rng.integers(-9, 9, shape).astype(float)
    return og.TensorBlock(values, og.Labels(["sample", "atom"], samples), components, parent.properties)


def content(tensor: og.TensorMap) -> list[Any]:
    """Every label and every number."""
    found = [tensor.keys.names, tensor.keys.values.tolist(), tensor.info()]

    def add(block: og.TensorBlock) -> None:
        for labels in (block.samples, *block.components, block.properties):
            found.extend((labels.names, labels.values.tolist()))
        found.append(np.asarray(block.values).tolist())
        for name in block.gradients_list():
            found.append(name)
            add(block.gradient(name))

    for block in tensor.blocks():
        add(block)
    return found


def write_commit(path: Path, body: bytes, version: int = 1) -> None:
    """Write any bytes as a commit with the right SHA-256."""
    content = b'{"sha256":"%s","commit":%s}\n' % (hashlib.sha256(body).hexdigest().encode(), body)
    (path / "commits" / f"{version:010d}.json").write_bytes(content)


def read_commit(path: Path, version: int = 1) -> Any:
    return json.loads((path / "commits" / f"{version:010d}.json").read_bytes())["commit"]


class Forgery:
    """An archive to be changed: ``commit`` is its JSON; :meth:`sign` makes everything agree with it again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commit = read_commit(path)
        self.segment = self.commit["segments"][0]
        self.store = SegmentStore(LocalStore(path), f"{SEGMENTS}/{self.segment['id']}/")

    def spec(self, array: dict[str, Any]) -> ArraySpec:
        chain = chain_from_json(self.segment["codecs"][array["codecs"]])
        dtype = np.dtype(array["dtype"]).newbyteorder("<")
        per_shard = array.get("chunks_per_shard", 1)
        return ArraySpec(array["path"], dtype, tuple(array["shape"]), array["chunk_rows"], chain, per_shard)

    def read(self, number: int) -> np.ndarray:
        spec = self.spec(self.segment["arrays"][number])
        chunks = [self.store.read_chunk(spec, None, chunk) for chunk in range(spec.chunk_count)]
        whole = np.concatenate([np.empty((0, *spec.shape[1:]), spec.dtype), *chunks])
        return whole[: spec.shape[0]]

    def write(self, number: int, rows: np.ndarray) -> None:
        spec = self.spec(self.segment["arrays"][number])
        for shard in range(spec.shard_count):
            self.store.write_shard(spec, shard, rows[slice(*spec.shard_range(shard))])

    def table(self, number: int) -> np.ndarray:
        array, first, rows, *_ = self.segment["tables"][number]
        return self.read(array)[first : first + rows].copy()

    def write_table(self, number: int, rows: np.ndarray, with_digest: bool) -> None:
        array, first, *_ = self.segment["tables"][number]
        whole = self.read(array).copy()
        whole[first : first + len(rows)] = rows
        self.write(array, whole)
        if with_digest:
            self.segment["tables"][number][4] = table_digest(self.names(number), rows)

    def names(self, number: int) -> list[str]:
        return self.segment["names"][self.segment["tables"][number][3]]

    def sign(self) -> None:
        """Write the manifest, every ``zarr.json`` of an array, and the commit anew."""
        found: list[tuple[int, int]] = []
        for array in self.segment["arrays"]:
            spec = self.spec(array)
            for shard in range(spec.shard_count):
                found.extend(self._records(spec, shard))
            self._document(spec)
        manifest = self.segment["chunks"]
        manifest["shape"] = [len(found), 2]
        spec = self.spec(manifest)
        rows = np.array(found, dtype="<u4").reshape(-1, 2)
        manifest["crc32c"] = [
            int(self.store.write_shard(spec, shard, rows[slice(*spec.shard_range(shard))])[0, 0])
            for shard in range(spec.shard_count)
        ]
        self._document(spec)
        write_commit(self.path, json.dumps(self.commit, separators=(",", ":")).encode())

    def _records(self, spec: ArraySpec, shard: int) -> list[tuple[int, int]]:
        """Checksum and size of each chunk of a shard."""
        file = self.path / self.store.prefix / spec.shard_key(shard)
        data = file.read_bytes() if file.exists() else b"\0\0\0\0"
        index = [(0, len(data))]
        if spec.chunks_per_shard > 1:
            # Of a lie about the shape, the shard may have more or fewer chunks than the commit says.
            count, stored = len(spec.chunks_in(shard)), data[-16 * spec.chunks_per_shard - 4 : -4]
            places = np.frombuffer(stored, "<u8").reshape(-1, 2)[:count].tolist()
            index = [(start, start + size) if size < len(data) else (0, 4) for start, size in places]
            index += [(0, 4)] * (count - len(index))
        return [(int.from_bytes(data[int(e) - 4 : int(e)], "little"), int(e - s)) for s, e in index]

    def _document(self, spec: ArraySpec) -> None:
        file = self.path / self.store.prefix / spec.path / "zarr.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(file.read_bytes()) if file.exists() else {"attributes": {}}
        file.write_bytes(serialize(array_document(spec, before["attributes"])))

    def honest(self) -> og.TensorMap:
        """What the archive says, read without the code under test; an error if it contradicts itself."""
        keys = self._labels(self.segment["keys"]["table"])
        values = self.segment["keys"]["values"]
        assert values is None or values == keys.values.tolist(), "the keys are two"
        return og.TensorMap(keys, [self._block(block) for block in self.segment["blocks"]])

    def _labels(self, number: int) -> og.Labels:
        labels = og.Labels(self.names(number), self.table(number))
        assert labels.digest == self.segment["tables"][number][4], "another digest"
        return labels

    def _block(self, data: dict[str, Any], parent: og.TensorBlock | None = None) -> og.TensorBlock:
        samples = self._labels(data["samples"])
        array, first = data["values"]
        components = [self._labels(number) for number in data.get("components", [])]
        properties = self._labels(data["properties"]) if parent is None else parent.properties
        rows = self.read(array)[first : first + len(samples)]
        block = og.TensorBlock(rows, samples, components, properties)
        for name, below in data.get("gradients", []):
            block.add_gradient(name, self._block(below, block))
        return block


DELETED = object()


def changed(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of JSON data with another value at a place, or without it if that is ``DELETED``."""
    data = copy.deepcopy(data)
    node = data
    for step in place[:-1]:
        node = node[step]
    if value is DELETED:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return data
