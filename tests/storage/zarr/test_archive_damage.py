"""A flipped bit, a missing, cut, swapped or older file: the same data, or an error that names the place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outgrad.errors import ArchiveError, DamagedArchiveError
from outgrad.storage.zarr.format import ChunkSizes
from tests.support import models
from tests.support.archives import open_archive, verify_archive
from tests.support.models import Model

SIZES = ChunkSizes(shard=1200, table_shard=300, share_below=0)
SHARDED = ChunkSizes(shard=1200, chunk=500, table_shard=300, table_chunk=100, share_below=0)
UNREAD = ("keys", "offsets", "ranges")
"""Arrays for readers without Outgrad: it has the keys and chunk edges from the commit."""


def archive(
    rng: np.random.Generator, path: Path, compressor: str = "lz4", sizes: ChunkSizes = SIZES
) -> Model:
    one = models.block(rng, 60, (2,), 3)
    models.attach(one, "positions", models.gradient(rng, one, 90))
    made = models.model([one])
    models.save(path, made, compressor=compressor, sizes=sizes)
    return made


def data_files(path: Path) -> list[Path]:
    """Every file but ``zarr.json``, which Outgrad does not read, and the commit."""
    return sorted(file for file in path.rglob("c.*") if file.is_file())


def outcome(path: Path, made: Model) -> str:
    """What reading everything gives: "same", or the text of the error."""
    try:
        models.assert_same(open_archive(path), made)
        return "same"
    except ArchiveError as error:
        return str(error)


@pytest.mark.parametrize(
    ("compressor", "sizes"), [("none", SIZES), ("lz4", SHARDED)], ids=["one chunk a shard", "several"]
)
def test_flipped_bits_are_never_silent(
    rng: np.random.Generator, tmp_path: Path, compressor: str, sizes: ChunkSizes
) -> None:
    path = tmp_path / "a.zarr"
    made = archive(rng, path, compressor, sizes)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    assert {file.suffix for file in files} >= {".json", ".0"}
    errors = 0
    for file in files:
        whole = file.read_bytes()
        for position in rng.integers(0, 8 * len(whole), size=3):
            flipped = bytearray(whole)
            flipped[position // 8] ^= 1 << position % 8
            file.write_bytes(flipped)
            found = outcome(path, made)
            problems = verify_archive(path)
            assert problems, f"verify missed bit {position} of {file}"
            if file.name != "zarr.json":
                in_index = sizes is SHARDED and "in their shard" in str(problems[0])
                if file.parent.name not in UNREAD and not in_index:
                    assert "corrupted" in found or "does not match" in found
                errors += 1
            else:
                assert found == "same"
        file.write_bytes(whole)
    assert errors > 30
    assert outcome(path, made) == "same"


def test_a_deleted_chunk_is_named(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    archive(rng, path)
    (next(path.glob("segments/*/blocks/0/gradients/positions/values")) / "c.4.0.0.0").unlink()
    opened = open_archive(path)
    with pytest.raises(
        DamagedArchiveError,
        match=r"a.zarr: storage chunk 4 of blocks/0/gradients/positions/values is missing; the file is "
        r"segments/\w+/blocks/0/gradients/positions/values/c\.4\.0\.0\.0; restore it .* `outgrad verify`",
    ):
        opened.reader.read(models.requests_of(opened.outlines))
    (problem,) = verify_archive(path)
    assert (problem.array, problem.chunk) == ("blocks/0/gradients/positions/values", 4)
    assert str(problem).startswith(
        "blocks/0/gradients/positions/values, storage chunk 4, is missing (needed "
    )


def test_a_shared_chunk_names_who_needs_it(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    models.save(path, models.model([models.block(rng, 5) for _ in range(6)]), sizes=ChunkSizes(share_from=2))
    next(path.glob("segments/*/shared/values/0/c.0.0")).unlink()
    opened = open_archive(path)
    with pytest.raises(
        DamagedArchiveError,
        match=r"chunk 0 of blocks/0/values \(needed for blocks/0/values, .*, blocks/2/values and 3 more\) is",
    ):
        opened.reader.read(models.requests_of(opened.outlines))
    (problem,) = verify_archive(path)
    assert (problem.array, problem.chunk, len(problem.needed_for)) == ("shared/values/0", 0, 6)
    assert "shared/values/0, storage chunk 0, is missing (needed for blocks/0/values of " in str(problem)
    assert "; and 3 more; segments/" in str(problem)


def test_a_missing_label_table_is_named(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    archive(rng, path)
    next(path.glob("segments/*/blocks/0/samples/c.1.0")).unlink()
    opened = open_archive(path)
    with pytest.raises(DamagedArchiveError, match="storage chunk 1 of blocks/0/samples is missing"):
        _ = opened.metadata[0].samples.values
    assert opened.metadata[0].properties.values.shape == (3, 1)


def damages(file: Path, others: list[Path], older: Path) -> Iterator[tuple[Any, ...]]:
    """The ways to damage one chunk file: name and new content (None: deleted)."""
    whole = file.read_bytes()
    yield "deleted", None
    yield "empty", b""
    yield "half", whole[: len(whole) // 2]
    yield "cut", whole[:-1]
    yield "longer", whole + b"\0"
    yield "zeros", bytes(len(whole))
    yield from ((f"replaced by {other}", other.read_bytes()) for other in others if other != file)
    yield "older", older.read_bytes()


@pytest.mark.parametrize(
    ("compressor", "sizes"), [("none", SIZES), ("lz4", SHARDED)], ids=["one chunk a shard", "several"]
)
def test_every_damage_of_every_shard_is_found(
    rng: np.random.Generator, tmp_path: Path, compressor: str, sizes: ChunkSizes
) -> None:
    path = tmp_path / "a.zarr"
    made = archive(rng, path, compressor, sizes)
    # The same shapes with other numbers: an older version whose every chunk is whole in itself.
    archive(np.random.default_rng(99), tmp_path / "older.zarr", compressor, sizes)
    arrays = {array.path: array for array in open_archive(path).commit.segments[0].arrays}
    older_root = next((tmp_path / "older.zarr" / "segments").glob("*/"))
    root = next((path / "segments").glob("*/"))
    files = data_files(path)
    assert len(files) > 15
    for number, file in enumerate(files):
        neighbours = [f for f in files if f.parent == file.parent][:2]
        whole = file.read_bytes()
        for name, content in damages(file, neighbours, older_root / file.relative_to(root)):
            if content == whole:
                continue
            file.unlink() if content is None else file.write_bytes(content)
            array, shard = str(file.parent.relative_to(root)), int(file.name.split(".")[1])
            inside = set(arrays[array].chunks_in(shard) if array in arrays else (shard,))
            problems = verify_archive(path)
            assert {p.array for p in problems} == {array}, name
            assert {p.chunk for p in problems} <= inside, name
            in_index = "in their shard" in str(problems[0])
            if number % 3 == 0 and file.parent.name not in UNREAD and not in_index:
                found = outcome(path, made)
                assert any(f"storage chunk {chunk} of {array}" in found for chunk in inside), name
            file.write_bytes(whole)
    assert outcome(path, made) == "same"


def test_swapped_chunks(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = archive(rng, path)
    folder = next(path.glob("segments/*/blocks/0/values"))
    a, b = folder / "c.0.0.0", folder / "c.1.0.0"
    shutil.move(a, folder / "kept")
    shutil.move(b, a)
    shutil.move(folder / "kept", b)
    found = outcome(path, made)
    assert (
        "storage chunk 0 of blocks/0/values belongs to another position or version: its checksum is not"
        in found
    )
    assert [(p.array, p.chunk) for p in verify_archive(path)] == [
        ("blocks/0/values", 0),
        ("blocks/0/values", 1),
    ]


def test_damaged_zarr_metadata_is_found_by_verify_alone(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = archive(rng, path)
    documents = sorted(path.rglob("zarr.json"))
    for file in documents:
        whole = file.read_text()
        for content in (
            None,
            "{",
            whole.replace("64", "32").replace("node_type", "node"),
            whole.replace("3", "3.0"),
        ):
            file.unlink() if content is None else file.write_text(content)
            assert [p.array for p in verify_archive(path)] == [str(file.relative_to(path))]
            assert outcome(path, made) == "same"
            file.write_text(whole)
    assert len(documents) > 10


def test_a_damaged_manifest_leaves_other_checks(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = archive(rng, path)
    next(path.glob("segments/*/chunks/c.0.0")).unlink()
    next(path.glob("segments/*/blocks/0/values/c.0.0.0")).write_bytes(b"damaged!")
    assert [(p.array, p.chunk) for p in verify_archive(path)] == [("chunks", 0), ("blocks/0/values", 0)]
    assert "storage chunk 0 of chunks is missing" in outcome(path, made)


def test_a_damaged_commit(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    archive(rng, path)
    commit = path / "commits" / "0000000001.json"
    commit.write_bytes(commit.read_bytes().replace(b"float64", b"float32"))
    with pytest.raises(
        DamagedArchiveError,
        match=r"0000000001.json: it is corrupted, its content does not match its SHA-256; restore",
    ):
        open_archive(path)
    (problem,) = verify_archive(path)
    assert (problem.array, problem.chunk) == ("commits/0000000001.json", None)


def test_a_renamed_commit(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    archive(rng, path)
    (path / "commits" / "0000000001.json").rename(path / "commits" / "0000000007.json")
    with pytest.raises(
        DamagedArchiveError, match=r"0000000007.json: this is the commit of version 1, renamed"
    ):
        open_archive(path)
