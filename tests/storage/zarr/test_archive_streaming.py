"""Maps appended one after the other are the map of all their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outgrad.data.chunk import Chunk, cut_chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.requests import Request
from outgrad.errors import ArchiveExistsError, ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.archive_writer import ArchiveWriter
from outgrad.storage.zarr.appended_blocks import GrowingBlock
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.storage.zarr.repeated_rows import row_hashes
from tests.support import models
from tests.support.archives import open_archive, verify_archive
from tests.support.models import Model

SIZES = ChunkSizes(
    shard=300, chunk=100, table_shard=100, table_chunk=50, share_below=64, share_from=2, fine_chunk=600
)


def piece_of(metadata: BlockMetadata, chunk: Chunk, request: Request) -> tuple[BlockMetadata, Chunk]:
    """A part of a block as a block of its own: gradients count samples from its start."""
    ranges = iter(request.ranges)

    def labels(own: BlockMetadata, part: Chunk, is_gradient: bool) -> BlockMetadata:
        start, stop = next(ranges)
        table = part.table if is_gradient else own.samples.read(start, stop)
        gradients = {name: labels(g, part.gradients[name], True) for name, g in own.gradients.items()}
        return BlockMetadata(Labels(own.samples.names, table), own.components, own.properties, gradients)

    part = cut_chunk(chunk, request.ranges)
    return labels(metadata, part, False), part


def append(writer: ArchiveWriter, made: Model, cuts: Any) -> None:
    """Append a map in pieces; a block that has no rows in a piece is left out of it."""
    pieces = [models.split(chunk, n, cuts) for n, chunk in enumerate(made.chunks)]
    for each in zip(*pieces, strict=True):
        present = [n for n, request in enumerate(each) if request.ranges[0][0] < request.ranges[0][1]]
        content = [piece_of(made.metadata[n], made.chunks[n], each[n]) for n in present]
        keys = Labels(made.keys.names, made.keys.values[present].reshape(-1, 2))
        writer.append_pieces(keys, [own for own, _ in content], [part for _, part in content])


def stream(path: Path, made: Model, cuts: list[Any] | tuple[Any, ...], **options: Any) -> None:
    with ArchiveWriter(path, **{"sizes": SIZES, **options}) as writer:
        append(writer, made, cuts)


@pytest.mark.parametrize("cuts", [(), (5,), (1, 2, 3, 20), (7, 7, 19)])
@pytest.mark.parametrize("sizes", [SIZES, ChunkSizes()], ids=["small", "default"])
def test_pieces_become_one_map(
    rng: np.random.Generator, tmp_path: Path, cuts: tuple[Any, ...], sizes: ChunkSizes
) -> None:
    made = models.typical(rng)
    stream(tmp_path / "a.zarr", made, cuts, sizes=sizes, info={"units": "eV"})
    opened = open_archive(tmp_path / "a.zarr")
    models.assert_same(opened, made)
    assert (opened.kind, opened.info) == ("map", {"units": "eV"})
    assert verify_archive(tmp_path / "a.zarr") == []


@given(st.integers(0, 2**16), st.lists(st.integers(0, 40), max_size=6), st.sampled_from([40, 300, 5000]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_pieces(tmp_path_factory: Any, seed: int, cuts: list[Any], chunk: int) -> None:
    made = models.typical(np.random.default_rng(seed), blocks=2, samples=40)
    path = tmp_path_factory.mktemp("pieces") / "a.zarr"
    stream(
        path,
        made,
        [min(cut, 40) for cut in cuts],
        sizes=ChunkSizes(shard=chunk, fine_chunk=500),
    )
    models.assert_same(open_archive(path), made)


def test_the_result_is_that_of_one_save_but_for_places(rng: np.random.Generator, tmp_path: Path) -> None:
    made = models.typical(rng, samples=60, rows=200)
    models.save(tmp_path / "a.zarr", made, sizes=SIZES)
    stream(tmp_path / "b.zarr", made, (20, 31))
    a, b = open_archive(tmp_path / "a.zarr"), open_archive(tmp_path / "b.zarr")
    for one, other in zip(a.outlines, b.outlines, strict=True):
        for (_, x), (_, y) in zip(one.walk(), other.walk(), strict=True):
            assert x.edges.tolist() == y.edges.tolist()
    assert a.outlines[0].chunk_count > 5
    assert [m.samples.digest for m in a.metadata] == [m.samples.digest for m in b.metadata]


def test_blocks_may_come_later_and_keys_keep_their_first_order(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    first, second = models.block(rng, 4), models.block(rng, 5)
    keys = [Labels(["k"], [[7]]), Labels(["k"], [[3], [9]])]
    with ArchiveWriter(tmp_path / "a.zarr") as writer:
        writer.append_pieces(keys[0], [first[0]], [first[1]])
        writer.append_pieces(keys[1], [second[0], first[0]], [second[1], first[1]])
    opened = open_archive(tmp_path / "a.zarr")
    models.assert_same(
        opened,
        models.Model(
            Labels(["k"], [[7], [3], [9]]), [first[0], second[0], first[0]], [first[1], second[1], first[1]]
        ),
    )


def test_memory_is_a_storage_chunk_an_array(rng: np.random.Generator, tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a.zarr", sizes=SIZES)
    made = models.typical(rng, samples=80, rows=240)
    append(writer, made, range(3, 80, 3))
    (block, *_) = writer._growing.blocks.values()
    for _, each in block.walk():
        for sink in (each.values, each.samples):
            assert sum(rows.nbytes for rows in sink._pending) < max(SIZES.shard, sink.array.row_bytes)
    writer.close()
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)


def test_samples_that_occur_twice(rng: np.random.Generator, tmp_path: Path) -> None:
    made = models.typical(rng)
    writer = ArchiveWriter(tmp_path / "a.zarr", sizes=SIZES)
    append(writer, made, (5,))
    parts = [models.split(chunk, n, (3, 8))[1] for n, chunk in enumerate(made.chunks)]
    again = [piece_of(*each) for each in zip(made.metadata, made.chunks, parts, strict=True)]
    text = (
        r"append: sample \(system=\d, atom=\d\) of block \(center=0, order=0\) was appended before, as row 3"
    )
    with pytest.raises(ValidationError, match=text) as caught:
        writer.append_pieces(made.keys, [own for own, _ in again], [part for _, part in again])
    assert "what was appended is kept" in str(caught.value)
    writer.close()
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)


def test_equal_hashes_are_not_equal_rows(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "outgrad.storage.zarr.repeated_rows.row_hashes", lambda table: np.zeros(len(table), np.uint64)
    )
    made = models.typical(rng)
    stream(tmp_path / "a.zarr", made, (5,))
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)


def test_hashes_tell_rows_apart(rng: np.random.Generator) -> None:
    table = np.unique(rng.integers(-5, 5, size=(20000, 4)), axis=0).astype(np.int32)
    assert len(np.unique(row_hashes(table))) == len(table)
    np.testing.assert_array_equal(row_hashes(table[:9]), row_hashes(table)[:9])


def other(rng: np.random.Generator, what: str) -> tuple[BlockMetadata, Chunk]:
    metadata, chunk = one = models.block(rng, 4, (2,), 3, systems=[int(what != "same")] * 4)
    models.attach(one, "positions", models.gradient(rng, one, 5))
    if what == "components":
        return models.block(rng, 4, (3,), 3)
    if what == "gradients":
        return models.block(rng, 4, (2,), 3)
    if what == "dtype":
        return metadata, type(chunk)(chunk.values.astype("f4"), chunk.gradients)
    if what == "shape":
        return metadata, type(chunk)(chunk.values[:3], chunk.gradients)
    if what == "gradient shape":
        own = chunk.gradients["positions"]
        return metadata, type(chunk)(chunk.values, {"positions": type(own)(own.values[1:], {}, own.table)})
    return one


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (
            "components",
            "blocks/0 has other sample names, components, properties or gradients than in the maps",
        ),
        ("gradients", "blocks/0 has other sample names, components, properties or gradients"),
        (
            "dtype",
            r"blocks/0 has dtype float32, and float64 in the maps before; convert this map with \.to",
        ),
        ("shape", r"blocks/0 has values of shape \(3, 2, 3\)"),
        ("gradient shape", r"blocks/0/gradients/positions has values of shape \(4, 3, 2, 3\)"),
    ],
)
def test_pieces_that_do_not_fit(rng: np.random.Generator, tmp_path: Path, what: str, text: str) -> None:
    keys = Labels.range("k", 1)
    metadata, chunk = other(rng, "same")
    with ArchiveWriter(tmp_path / "a.zarr") as writer:
        writer.append_pieces(keys, [metadata], [chunk])
        bad = other(rng, what)
        with pytest.raises(ValidationError, match=text):
            writer.append_pieces(keys, [bad[0]], [bad[1]])
    assert len(open_archive(tmp_path / "a.zarr").metadata[0].samples) == 4


def test_blocks_and_keys_that_do_not_fit(rng: np.random.Generator, tmp_path: Path) -> None:
    metadata, chunk = other(rng, "same")
    bare = models.block(rng, 4, (2,), 3)
    with ArchiveWriter(tmp_path / "a.zarr") as writer:
        writer.append_pieces(Labels.range("k", 1), [metadata], [chunk])
        with pytest.raises(ValidationError, match=r"names \['j'\], and those of the maps before \['k'\]"):
            writer.append_pieces(Labels.range("j", 1), [metadata], [chunk])
        with pytest.raises(
            ValidationError, match="blocks of a map have equal names, dtypes and gradients, found"
        ):
            writer.append_pieces(Labels(["k"], [[5]]), [bare[0]], [bare[1]])
    assert len(open_archive(tmp_path / "a.zarr").keys) == 1


def test_too_many_rows_for_labels(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outgrad.storage.zarr.appended_blocks.MAXIMUM_PARENT_ROWS", 25)
    made = models.typical(rng)
    with pytest.raises(
        ValidationError, match=r"parent of blocks/0/gradients/positions/gradients/strain has more than"
    ):
        stream(tmp_path / "a.zarr", made, (5, 12))


def test_an_exception_leaves_nothing_or_the_old_archive(rng: np.random.Generator, tmp_path: Path) -> None:
    made = models.typical(rng)
    path = tmp_path / "a.zarr"

    def fail(**options: Any) -> None:
        with ArchiveWriter(path, **options) as writer:
            append(writer, made, (5,))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not path.exists()
    stream(path, made, ())
    with pytest.raises(ArchiveExistsError, match="overwrite=True"):
        ArchiveWriter(path)
    with pytest.raises(KeyboardInterrupt):
        fail(overwrite=True)
    models.assert_same(open_archive(path), made)
    assert [file.name for file in (path / "commits").glob("0*")] == ["0000000001.json"]
    stream(path, made, (3,), overwrite=True)
    assert open_archive(path).commit.version == 2


def test_nothing_appended(tmp_path: Path) -> None:
    with pytest.raises(
        ValidationError, match="nothing was appended; append at least one map, which may be empty"
    ):
        ArchiveWriter(tmp_path / "a.zarr").close()
    assert not (tmp_path / "a.zarr").exists()


def test_a_map_without_blocks(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a.zarr") as writer:
        writer.append_pieces(Labels.empty(["k"]), [], [])
    assert open_archive(tmp_path / "a.zarr").keys.shape == (0, 1)


def test_unsorted_pieces(rng: np.random.Generator, tmp_path: Path) -> None:
    one = models.block(rng, 10)
    models.attach(one, "positions", models.gradient(rng, one, 30, is_sorted=False))
    made = models.model([one])
    stream(tmp_path / "a.zarr", made, ())
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)


def test_growing_blocks_walk_like_chunks(rng: np.random.Generator, tmp_path: Path) -> None:
    made = models.typical(rng)
    with ArchiveWriter(tmp_path / "a.zarr") as writer:
        append(writer, made, ())
        block = next(iter(writer._growing.blocks.values()))
        assert isinstance(block, GrowingBlock)
        assert [path for path, _ in block.walk()] == [path for path, _ in made.chunks[0].walk()]
