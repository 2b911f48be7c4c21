"""Maps made of random numbers, and the loop that Dask would run: start, write each part, seams, commit."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from outgrad.data.chunk import Chunk, cut_chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.data.requests import Request
from outgrad.labels.labels import Labels
from outgrad.storage.local_store import LocalStore
from outgrad.storage.zarr.format import (
    DEFAULT_COMPRESSOR,
    ArchiveKind,
    ChunkOptions,
    ChunkSizes,
    find_compressor,
)
from outgrad.storage.zarr.layout import Contents
from outgrad.storage.zarr.reader import Opened
from outgrad.storage.zarr.save_session import Description
from outgrad.storage.zarr.updates import Save
from outgrad.storage.zarr.writer import ZarrWriter
from tests.support.saving import commit

Path_ = tuple[str, ...]


@dataclass
class Model:
    """A map in memory: whole blocks as one chunk each."""

    keys: Labels
    metadata: list[BlockMetadata]
    chunks: list[Chunk]

    @property
    def outlines(self) -> list[Outline]:
        return [outline_of(chunk) for chunk in self.chunks]

    def whole(self) -> list[Request]:
        """One request a block."""
        return [whole_block(number, chunk) for number, chunk in enumerate(self.chunks)]


def outline_of(chunk: Chunk) -> Outline:
    edges = np.array([0, len(chunk.values)])
    gradients = {name: outline_of(gradient) for name, gradient in chunk.gradients.items()}
    return Outline(edges, chunk.values.shape[1:], chunk.values.dtype, gradients)


def whole_block(number: int, chunk: Chunk) -> Request:
    return Request(number, tuple((0, len(each.values)) for _, each in chunk.walk()))


def random_values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    kind = np.dtype(dtype).kind
    if kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    if kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 2 if kind == "b" else 120, size=shape).astype(dtype)


def gradient(
    rng: np.random.Generator,
    parent: tuple[BlockMetadata, Chunk],
    rows: int,
    components: Sequence[int] = (3,),
    is_sorted: bool = True,
    prefix: str = "xyz",
) -> tuple[BlockMetadata, Chunk]:
    """A gradient of random rows, to be put under ``parent``."""
    metadata, chunk = parent
    count = len(metadata.samples)
    samples = rng.integers(0, max(1, count), size=rows if count else 0)
    if is_sorted:
        samples = np.sort(samples)
    table = np.column_stack([samples, np.arange(len(samples))]).astype(np.int32)
    own = tuple(Labels.range(f"{prefix}_{axis}", size) for axis, size in enumerate(components))
    made = BlockMetadata(Labels(["sample", "atom"], table), (*own, *metadata.components), metadata.properties)
    shape = (len(table), *made.trailing)
    return made, Chunk(random_values(rng, shape, chunk.values.dtype), {}, table)


def block(
    rng: np.random.Generator,
    samples: int = 5,
    components: Sequence[int] = (),
    properties: int = 3,
    dtype: Any = np.float64,
    systems: Iterable[int] | None = None,
) -> tuple[BlockMetadata, Chunk]:
    """A block without gradients."""
    column = np.arange(samples) // 3 if systems is None else np.array(list(systems))
    table = np.column_stack([column, np.arange(samples)]).astype(np.int32)
    metadata = BlockMetadata(
        Labels(["system", "atom"], table),
        tuple(Labels.range(f"m_{axis}", size) for axis, size in enumerate(components)),
        Labels.range("n", properties),
    )
    return metadata, Chunk(random_values(rng, (samples, *components, properties), dtype))


def attach(parent: tuple[BlockMetadata, Chunk], name: str, child: tuple[BlockMetadata, Chunk]) -> None:
    parent[0].gradients[name] = child[0]
    parent[1].gradients[name] = child[1]


def model(blocks: Sequence[tuple[BlockMetadata, Chunk]]) -> Model:
    keys = Labels(["center", "order"], np.array([[n, n % 3] for n in range(len(blocks))]).reshape(-1, 2))
    return Model(keys, [metadata for metadata, _ in blocks], [chunk for _, chunk in blocks])


def typical(rng: np.random.Generator, blocks: int = 3, samples: int = 20, rows: int = 60) -> Model:
    """Blocks with components, a gradient, and a gradient of that."""
    made = []
    for number in range(blocks):
        one = block(rng, samples + number, components=(2,), properties=4)
        positions = gradient(rng, one, rows + number)
        attach(one, "positions", positions)
        attach(positions, "strain", gradient(rng, positions, 2 * rows, (3, 3), prefix="abc"))
        made.append(one)
    return model(made)


def split(chunk: Chunk, number: int, cuts: Sequence[int]) -> list[Request]:
    """Cut a block of sorted gradients at some samples."""
    edges = [0, *sorted(cuts), len(chunk.values)]
    rows: dict[Path_, np.ndarray] = {(): np.array(edges)}
    for path, each in chunk.walk():
        if path:
            rows[path] = np.searchsorted(each.rows[:, 0], rows[path[:-1]])
    return [
        Request(number, tuple((int(own[at]), int(own[at + 1])) for own in rows.values()))
        for at in range(len(edges) - 1)
    ]


def writer_of(
    path: Path,
    made: Model,
    *,
    kind: ArchiveKind = "map",
    info: dict[str, str] | None = None,
    provenance: dict[str, Any] | None = None,
    compressor: str = DEFAULT_COMPRESSOR,
    sizes: ChunkSizes | None = None,
    overwrite: bool = False,
    **options: Any,
) -> ZarrWriter:
    """A writer of a model."""
    return ZarrWriter(
        LocalStore(path),
        Contents(made.keys, made.metadata, made.outlines),
        Description(kind, info or {}, provenance or {}),
        ChunkOptions(sizes or ChunkSizes(), find_compressor(compressor)),
        Save(overwrite=overwrite),
        **options,
    )


def save(
    path: Path,
    made: Model,
    parts: Sequence[Sequence[Request]] | None = None,
    repeat: bool = False,
    **options: Any,
) -> ZarrWriter:
    """Write as Dask would, through pickled writers; the order of tasks is from last to first."""
    writer = writer_of(path, made, durable=False, **options)
    parts = [made.whole()] if parts is None else parts
    seams = writer.seams(parts)
    writer.start()
    fill(writer, made, parts, seams, repeat)
    return writer


def fill(writer: ZarrWriter, made: Model, parts: Any, seams: Any, repeat: bool = False) -> None:
    task = pickle.loads(pickle.dumps(writer))
    written = [None] * len(parts)
    for _ in range(1 + repeat):
        for number in reversed(range(len(parts))):
            chunks = [cut_chunk(made.chunks[request.block], request.ranges) for request in parts[number]]
            written[number] = task.write(parts[number], chunks)
    sealed = [task.write_seam(seam._replace(parts=()), [written[n] for n in seam.parts]) for seam in seams]
    commit(writer, [each.receipt() for each in (*written, *sealed)])


def requests_of(outlines: Sequence[Outline]) -> list[Request]:
    """One request a block, from what an archive says."""
    return [
        Request(number, tuple((0, array.shape[0]) for _, array in outline.walk()))
        for number, outline in enumerate(outlines)
    ]


def assert_chunks_equal(a: Chunk, b: Chunk) -> None:
    assert a.values.dtype == b.values.dtype
    np.testing.assert_array_equal(a.values, b.values)
    assert list(a.gradients) == list(b.gradients)
    assert (a.table is None) == (b.table is None)
    if a.table is not None and b.table is not None:
        assert b.table.dtype == np.int32
        np.testing.assert_array_equal(a.table, b.table)
    for name, own in a.gradients.items():
        assert_chunks_equal(own, b.gradients[name])


def assert_metadata_equal(a: BlockMetadata, b: BlockMetadata) -> None:
    assert list(a.gradients) == list(b.gradients)
    for own, other in zip(
        (a.samples, a.properties, *a.components), (b.samples, b.properties, *b.components), strict=True
    ):
        assert own == other
        np.testing.assert_array_equal(own.values, other.values)
    for name, gradient_ in a.gradients.items():
        assert_metadata_equal(gradient_, b.gradients[name])


def assert_same(opened: Opened, made: Model) -> None:
    """Every label and every value of an archive equals the model's."""
    assert opened.keys == made.keys
    for own, other in zip(made.metadata, opened.metadata, strict=True):
        assert_metadata_equal(own, other)
    found = pickle.loads(pickle.dumps(opened.reader)).read(requests_of(opened.outlines))
    for a, b in zip(made.chunks, found, strict=True):
        assert_chunks_equal(a, b)
