"""Opening reads one file; handles are small; neighbours on disk are read at once."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.data.requests import Request
from outgrad.errors import ArchiveError, ArchiveNotFoundError, DamagedArchiveError
from outgrad.labels.labels import Labels
from outgrad.storage.local_store import LocalStore
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.zarr.format import ChunkSizes
from tests.support import models
from tests.support.archives import open_archive
from tests.support.models import Model


def many(rng: np.random.Generator, blocks: int) -> Model:
    made = []
    for _ in range(blocks):
        one = models.block(rng, 3, (2,), 4)
        models.attach(one, "positions", models.gradient(rng, one, 5))
        made.append(one)
    return models.model(made)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """How often each object of a store was read."""
    reads: Counter[str] = Counter()
    original = LocalStore._read

    def read(self: Any, key: str, *arguments: Any) -> Any:
        reads[key.split("/", 2)[-1]] += 1
        return original(self, key, *arguments)

    monkeypatch.setattr(LocalStore, "_read", read)
    return reads


def test_opening_2000_blocks_reads_only_the_commit(
    rng: np.random.Generator, tmp_path: Path, counted: Any
) -> None:
    path = tmp_path / "a.zarr"
    made = many(rng, 2000)
    models.save(path, made)
    shutil.rmtree(path / "segments")
    (path / "zarr.json").unlink()
    counted.clear()
    opened = open_archive(path)
    assert counted == {"0000000001.json": 1}
    assert opened.keys == made.keys
    assert len(opened.metadata) == len(opened.outlines) == 2000
    for own, other in zip(made.metadata, opened.metadata, strict=True):
        assert own.samples == other.samples
        assert own.gradients["positions"].components == other.gradients["positions"].components
        assert not other.samples.is_loaded
    assert counted == {"0000000001.json": 1}


def test_handles_pickle_small(rng: np.random.Generator, tmp_path: Path) -> None:
    models.save(tmp_path / "a.zarr", many(rng, 50))
    opened = open_archive(tmp_path / "a.zarr")
    assert len(pickle.dumps(opened.reader)) < 1000
    assert len(pickle.dumps(opened.metadata[0].samples)) < 1000
    assert len(opened.reader.token) == 32


def test_equal_content_saved_twice_has_another_token(rng: np.random.Generator, tmp_path: Path) -> None:
    made = many(rng, 2)
    models.save(tmp_path / "a.zarr", made)
    models.save(tmp_path / "b.zarr", made)
    assert open_archive(tmp_path / "a.zarr").reader.token != open_archive(tmp_path / "b.zarr").reader.token


def test_neighbours_are_read_at_once(rng: np.random.Generator, tmp_path: Path, counted: Any) -> None:
    made = many(rng, 100)
    models.save(tmp_path / "a.zarr", made, sizes=ChunkSizes(share_from=2))
    opened = open_archive(tmp_path / "a.zarr")
    counted.clear()
    opened.reader.read(models.requests_of(opened.outlines))
    assert counted == {
        "chunks/c.0.0": 1,
        "shared/values/0/c.0.0.0": 1,
        "shared/gradients/positions/values/0/c.0.0.0.0": 1,
        "shared/labels/0/c.0.0": 1,
    }


def test_small_tables_are_decoded_once(rng: np.random.Generator, tmp_path: Path, counted: Any) -> None:
    made = many(rng, 100)
    models.save(tmp_path / "a.zarr", made, sizes=ChunkSizes(share_from=2))
    counted.clear()
    opened = open_archive(tmp_path / "a.zarr")
    for own, other in zip(made.metadata, opened.metadata, strict=True):
        np.testing.assert_array_equal(
            other.gradients["positions"].samples.values, own.gradients["positions"].samples.values
        )
    assert counted == {"0000000001.json": 1, "chunks/c.0.0": 1, "shared/labels/0/c.0.0": 1}


def test_what_is_read_is_new_memory(rng: np.random.Generator, tmp_path: Path) -> None:
    made = many(rng, 3)
    models.save(tmp_path / "a.zarr", made)
    opened = open_archive(tmp_path / "a.zarr")
    requests = models.requests_of(opened.outlines)
    (first, *_) = opened.reader.read(requests)
    first.values[:] = -1
    first.gradients["positions"].table[:] = -1
    for a, b in zip(opened.reader.read(requests), made.chunks, strict=True):
        models.assert_chunks_equal(a, b)
    samples = opened.metadata[0].samples.values
    assert samples.base is None or not samples.base.flags.writeable
    assert samples.nbytes < 100


def test_requests_in_any_order_and_twice(rng: np.random.Generator, tmp_path: Path) -> None:
    made = many(rng, 5)
    models.save(tmp_path / "a.zarr", made, sizes=ChunkSizes(shard=200))
    opened = open_archive(tmp_path / "a.zarr")
    requests = models.requests_of(opened.outlines)
    order = [3, 0, 3, 4]
    for number, found in zip(order, opened.reader.read([requests[n] for n in order]), strict=True):
        models.assert_chunks_equal(found, made.chunks[number])


def test_tables_shared_by_blocks_are_numbered_for_each_request(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    one = models.block(rng, 6)
    models.attach(one, "positions", models.gradient(rng, one, 30))
    made = models.model([one, one])
    models.save(tmp_path / "a.zarr", made)
    opened = open_archive(tmp_path / "a.zarr")
    (_, late), (early, again) = models.split(one[1], 0, [3]), models.split(one[1], 1, [3])
    found = opened.reader.read([late, early, again])
    table = one[1].gradients["positions"].table
    half = int((table[:, 0] < 3).sum())
    np.testing.assert_array_equal(found[0].gradients["positions"].table, table[half:] - [3, 0])
    np.testing.assert_array_equal(found[1].gradients["positions"].table, table[:half])
    np.testing.assert_array_equal(found[2].gradients["positions"].table, table[half:] - [3, 0])


def test_rows_of_no_chunk(rng: np.random.Generator, tmp_path: Path) -> None:
    made = many(rng, 1)
    models.save(tmp_path / "a.zarr", made)
    opened = open_archive(tmp_path / "a.zarr")
    (found,) = opened.reader.read([Request(0, ((2, 2), (5, 5)))])
    assert found.values.shape == (0, 2, 4)
    assert found.gradients["positions"].table.shape == (0, 2)


def test_many_keys_are_read_from_their_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrad.storage.zarr.layout.KEYS_INLINE", 3)
    keys = Labels.range("n", 4)
    made = many(np.random.default_rng(0), 4)
    models.save(tmp_path / "a.zarr", models.Model(keys, made.metadata, made.chunks))
    opened = open_archive(tmp_path / "a.zarr")
    assert not opened.keys.is_loaded
    np.testing.assert_array_equal(opened.keys.values, keys.values)


def test_an_archive_that_was_removed(rng: np.random.Generator, tmp_path: Path) -> None:
    made = many(rng, 1)
    models.save(tmp_path / "a.zarr", made)
    opened = open_archive(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(ArchiveNotFoundError, match="the archive was removed since it was opened"):
        opened.reader.read(models.requests_of(opened.outlines))


def test_archives_are_forgotten(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outgrad.storage.zarr.reader._archives", OpenFiles(2))
    made = many(rng, 1)
    opened = []
    for number in range(4):
        models.save(tmp_path / f"{number}.zarr", made)
        opened.append(open_archive(tmp_path / f"{number}.zarr"))
    for each in opened:
        models.assert_same(each, made)


def remade(rng: np.random.Generator, path: Path, how: str) -> None:
    """Another archive at the path, of which nothing was there before."""
    if how == "removed":
        shutil.rmtree(path)
    else:
        path.rename(path.with_name("moved.zarr"))
    models.save(path, many(rng, 2))


@pytest.mark.parametrize("how", ["removed", "moved"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_an_archive_that_was_made_anew_is_not_called_damaged(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, is_kept: bool
) -> None:
    path = tmp_path / "a.zarr"
    models.save(path, many(rng, 2))
    opened = open_archive(path)
    remade(rng, path, how)
    assert open_archive(path).commit.version == opened.commit.version
    if not is_kept:  # as in another process
        monkeypatch.setattr("outgrad.storage.zarr.reader._archives", OpenFiles(16))
    text = "the archive was overwritten since it was opened; open it again"
    with pytest.raises(ArchiveError, match=text) as caught:
        opened.reader.read(models.requests_of(opened.outlines))
    assert not isinstance(caught.value, DamagedArchiveError)
    with pytest.raises(ArchiveError, match=text):
        _ = opened.metadata[0].samples.values


def test_an_archive_whose_segment_is_gone_is_damaged(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    models.save(path, many(rng, 2))
    opened = open_archive(path)
    shutil.rmtree(path / "segments")
    with pytest.raises(DamagedArchiveError, match="storage chunk 0 of chunks is missing"):
        opened.reader.read(models.requests_of(opened.outlines))


@pytest.mark.parametrize("name", ["a.zarr", "a.mts"])
def test_what_was_loaded_does_not_need_its_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    block = og.block_from_array(np.ones((3, 2)))
    block.add_gradient(
        "g", og.TensorBlock(np.ones((3, 2)), og.Labels("sample", np.arange(3)[:, None]), [], block.properties)
    )
    for data in (block, og.TensorMap(og.Labels.single(), [block]), og.Labels.range("n", 4)):
        og.save(path, data, overwrite=True)
        loaded = og.load(path)
        shutil.rmtree(path) if name == "a.zarr" else path.unlink()
        if isinstance(data, og.Labels):
            assert loaded == data
            assert loaded["n"][3] == 3
        else:
            assert (og.equal_block if data is block else og.equal)(loaded, data)
