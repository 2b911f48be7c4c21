"""What ``verify`` says of damage: where it is, whose rows it takes away, in which versions."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad.errors import ArchiveError
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.zarr import commits, revision, scrub, verify, verify_segments
from outgrad.storage.zarr.damage import Damage, DamagedRows
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.storage.zarr.table_ranges import system_column
from tests.support import models
from tests.support.archives import open_archive
from tests.support.forging import read_commit, write_commit
from tests.support.pieces import joined, piece

SIZES = ChunkSizes(
    shard=1200, chunk=300, table_shard=200, table_chunk=50, share_below=0, fine_chunk=500, whole_system=10**6
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive of two versions; each adds systems to two blocks, of shards of several chunks."""
    made = tmp_path / "a.zarr"
    for seed in range(2):
        with og.ArchiveWriter(made, append=True, sizes=SIZES) as writer:
            writer.append(piece(seed, first=20 * seed, systems=20))
    return made


def segments(path: Path) -> list[Any]:
    return list(open_archive(path).commit.segments)


def only(path: Path, **options: Any) -> Damage:
    (damage,) = og.verify(path, **options)
    return damage.details


def spoil(file: Path, at: int = 10) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


# ---- whose rows they are ----
def test_rows_of_values_are_those_of_the_block_in_the_version(path: Path) -> None:
    second = segments(path)[1]
    array = next(array for array in second.arrays if array.path == "blocks/1/values")
    assert array.chunks_per_shard > 1
    file = path / second.prefix / array.shard_key(0)
    size = array.chunk_rows
    spoil(file)
    found = only(path)
    assert found == Damage(
        array="blocks/1/values",
        what=found.what,
        file=str(file.relative_to(path)),
        segment=second.name,
        version=2,
        chunks=(0, 1),
        rows=(0, size),
        touches=(DamagedRows("blocks/1/values", (40, 40 + size), {"key": 1}, (20, 20)),),
    )
    assert "is corrupted: its" in found.what
    assert str(found) == (
        f"blocks/1/values, storage chunk 0, {found.what} (needed for blocks/1/values of key=1, "
        f"rows 40 to {39 + size}, system 20; {found.file})"
    )


def test_systems_of_gradients_of_gradients(path: Path) -> None:
    """They belong to rows of a gradient, which belong to samples."""
    second = segments(path)[1]
    name = "blocks/0/gradients/positions/gradients/cell"
    array = next(array for array in second.arrays if array.path == f"{name}/values")
    (path / second.prefix / array.shard_key(1)).unlink()
    found = only(path)
    inside = array.chunks_in(1)
    assert found.chunks == (inside.start, inside.stop)
    (touched,) = found.touches
    whole = joined([piece(seed, first=20 * seed, systems=20) for seed in range(2)]).block(key=0)
    gradient = whole.gradient("positions").gradient("cell")
    parents = whole.gradient("positions").samples["sample"][gradient.samples["sample"][slice(*touched.rows)]]
    systems = whole.samples["system"][parents]
    assert touched.systems == (systems.min(), systems.max())
    assert touched.rows[1] - touched.rows[0] == found.rows[1] - found.rows[0]


def test_systems_are_left_out_where_samples_are_damaged_too(path: Path) -> None:
    first = segments(path)[0]
    for name in ("values", "samples"):
        shutil.rmtree(path / first.prefix / "blocks" / "0" / name)
    found = [damage.details for damage in og.verify(path) if damage.details.chunks]
    assert {each.array for each in found} == {"blocks/0/values", "blocks/0/samples"}
    assert all(touched.systems is None for each in found for touched in each.touches)
    values = [each for each in found if each.array == "blocks/0/values"]
    assert [each.touches[0].rows for each in values] == [each.rows for each in values]


def test_a_shard_is_one_line(path: Path) -> None:
    first = segments(path)[0]
    array = next(array for array in first.arrays if array.path == "blocks/0/values")
    file = path / first.prefix / array.shard_key(0)
    inside = array.chunks_in(0)
    whole = file.read_bytes()
    for raw in (None, b"", bytes(len(whole))):
        file.unlink() if raw is None else file.write_bytes(raw)
        found = only(path)
        assert found.chunks == (inside.start, inside.stop)
        assert f"storage chunks 0 to {inside.stop - 1}, each is " in str(found)
    file.write_bytes(whole[:-3])  # of the index
    assert only(path).what.startswith(
        "in their shard, are not found by other readers of Zarr: it is corrupted"
    )
    assert og.load(path).block(key=0).values.shape[0] == 80


def test_what_shares_a_chunk(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    models.save(path, models.model([models.block(rng, 5) for _ in range(4)]), sizes=ChunkSizes(share_from=2))
    whole = og.load(path)
    next(path.glob("segments/*/shared/values/0/c.0.0")).unlink()
    found = only(path)
    assert [(each.path, each.rows) for each in found.touches] == [
        (f"blocks/{number}/values", (0, 5)) for number in range(4)
    ]
    for number, each in enumerate(found.touches):
        assert [*each.key.values()] == whole.keys.values[number].tolist()
        systems = whole.block(number).samples.values[:, system_column(whole.block(number).samples.names)]
        assert each.systems == (systems.min(), systems.max())
    assert "blocks/2/values" in str(found)
    assert "; and 1 more; segments/" in str(found)


def test_lines_are_text_with_details(path: Path) -> None:
    (path / "segments" / "zarr.json").unlink()
    (damage,) = found = og.verify(path)
    assert found == ["segments/zarr.json is missing"]
    assert (damage.details.file, damage.details.version) == ("segments/zarr.json", 2)
    again = pickle.loads(pickle.dumps(damage))
    assert (again, again.details) == (damage, damage.details)
    og.save(path.with_name("a.mts"), piece(0))
    spoil(path.with_name("a.mts"), at=200)
    (line,) = og.verify(path.with_name("a.mts"))[:1]
    assert line == line.details.what
    assert line.details.file == str(path.with_name("a.mts"))


# ---- versions ----
def test_all_versions(path: Path) -> None:
    og.compact(path)
    assert [each.segments for each in og.history(path)] == [1, 2, 1]
    names = [segment["id"] for segment in read_commit(path, 2)["segments"]]
    (path / "segments" / names[0] / "blocks/0/values/c.0.0.0").unlink()
    (path / "segments" / names[1] / "blocks/0/values/c.0.0.0").unlink()
    assert og.verify(path) == []
    found = [each.details for each in og.verify(path, all_versions=True)]
    # The first segment is in versions 1 and 2: it is read once, and reported for the newer one.
    assert [(each.segment, each.version) for each in found] == [(names[0], 2), (names[1], 2)]
    spoil(path / "commits/0000000001.json", at=300)
    assert og.verify(path, all_versions=True)[0].details.file == "commits/0000000001.json"
    assert og.verify(path) == []


def test_the_newest_commit_is_lost(path: Path) -> None:
    (path / "commits" / "0000000002.json").unlink()
    assert og.verify(path) == [
        "commits/0000000002.json is missing: zarr.json says that there was a version 2"
    ]
    (path / "commits" / "0000000001.json").unlink()
    assert og.verify(path) == [
        "commits/0000000002.json is missing: zarr.json says that there was a version 2"
    ]
    (path / "zarr.json").unlink()
    with pytest.raises(ArchiveError, match=r"open .*a.zarr: "):
        og.verify(path)


def test_a_list_that_this_process_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "REPEATED_BYTES", 10)
    monkeypatch.setattr(commits, "_lists", OpenFiles(256))
    path = tmp_path / "a.zarr"
    for seed in range(3):
        og.append(path, piece(seed))
    first, _ = lists = sorted(path.glob("commits/" + "[0-9a-f]" * 32 + ".json"))
    og.load(path)
    for each in lists:
        spoil(each, at=200)
    names = {str(each.relative_to(path)) for each in lists}
    assert {each.details.file for each in og.verify(path)} == names
    assert len(og.verify(path, all_versions=True)) == 2
    assert first.exists()


def test_segments_that_do_not_fit(path: Path) -> None:
    commit = read_commit(path, 2)
    names = commit["segments"][1]["names"]
    names[names.index(["n"])] = ["k"]
    write_commit(path, json.dumps(commit, separators=(",", ":")).encode(), 2)
    with pytest.raises(ArchiveError, match="segment 1 does not fit to the first one"):
        og.load(path)
    assert any("segment 1 does not fit to the first one" in line for line in og.verify(path))


def test_a_sample_in_two_segments(path: Path, tmp_path: Path) -> None:
    """No writer makes it: a segment of another archive, with one of the systems, is put under the commit."""
    other = tmp_path / "b.zarr"
    og.save(other, piece(3, first=39, systems=2))
    (segment,) = read_commit(other, 1)["segments"]
    shutil.copytree(other / "segments" / segment["id"], path / "segments" / segment["id"])
    commit = read_commit(path, 2)
    commit["segments"].append(segment)
    write_commit(path, json.dumps(commit, separators=(",", ":")).encode(), 2)
    found = [line for line in og.verify(path) if "again in" in line]
    assert len(found) == 1
    assert "is corrupted: sample (system=39, atom=0) is in segment" in found[0]
    assert segment["id"] in found[0]


@pytest.mark.parametrize("when", ["while chunks are read", "after that"])
def test_an_archive_that_is_overwritten_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def overwrite(*_: Any) -> None:
        og.save(path, piece(5), overwrite=True)

    if when == "after that":
        monkeypatch.setattr(verify, "check_tables", overwrite)
    with pytest.raises(ArchiveError, match="the archive was overwritten since it was opened; open it again"):
        og.verify(path, progress=None if when == "after that" else overwrite)
    monkeypatch.undo()
    assert og.verify(path) == []


# ---- how it is read ----
@pytest.fixture
def several_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "UNIT_BYTES", 3000)


def some_damage(path: Path) -> None:
    files = sorted(file for file in path.glob("segments/**/c.*") if file.is_file())
    for file in files[::5]:
        spoil(file)


@pytest.mark.usefixtures("several_units")
def test_every_scheduler_finds_the_same(path: Path) -> None:
    some_damage(path)
    expected = og.verify(path)
    assert len(expected) > 10
    for options in ({"scheduler": "synchronous"}, {"num_workers": 7}, {"scheduler": "threads"}):
        with dask.config.set(options):
            assert og.verify(path) == expected


@pytest.mark.cluster
def test_workers_find_the_same(path: Path) -> None:
    some_damage(path)
    expected = og.verify(path)
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        assert og.verify(path) == expected
        shutil.rmtree(path)
        for seed in range(2):
            og.append(path, piece(seed).chunk(500))
        assert og.verify(path) == []
        assert "scrub" in {key.split("-")[0] for key in ran_on(client)}


def ran_on(client: Client) -> set[str]:
    """Keys of tasks that workers ran."""
    stories = client.run(lambda dask_worker: [str(each[0]) for each in dask_worker.state.log])
    return {key for keys in stories.values() for key in keys}


@pytest.mark.usefixtures("several_units")
def test_progress(path: Path) -> None:
    steps: list[tuple[int, int]] = []
    og.verify(path, progress=lambda nbytes, total: steps.append((nbytes, total)))
    assert len(steps) > 5
    assert {total for _, total in steps} == {sum(nbytes for nbytes, _ in steps)}


def test_memory_is_bounded(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1 << 16, 128))
    samples = og.Labels("system", np.arange(len(values))[:, None])
    block = og.TensorBlock(values, samples, [], og.Labels.range("n", 128))
    og.save(tmp_path / "a.zarr", block, compressor="none")
    del block, samples
    tracemalloc.start()
    with dask.config.set(num_workers=2):
        assert og.verify(tmp_path / "a.zarr") == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert values.nbytes == 64 * 2**20
    assert peak < 24 * 2**20


def test_an_array_with_very_much_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scrub, verify_segments):
        monkeypatch.setattr(module, "MOST_DAMAGES", 2)
    first = segments(path)[0]
    shutil.rmtree(path / first.prefix / "blocks/0/gradients/positions/values")
    found = og.verify(path)
    last = found[-1].details if found[-1].details.chunks is None else found[-2].details
    assert any("has 2 such damages up to here; no more of it was read" in line for line in found)
    assert sum(each.details.chunks is not None for each in found) == 2
    assert last.segment == first.name


def test_a_shard_of_no_size_on_the_disk(path: Path) -> None:
    """Also where the list of chunks, which has the size that it should have, is lost."""
    first = segments(path)[0]
    array = next(array for array in first.arrays if array.path == "blocks/0/values")
    with (path / first.prefix / array.shard_key(0)).open("r+b") as opened:
        opened.truncate(2**40)
    assert "in their shard" in only(path).what
    for file in (path / first.prefix / "chunks").glob("c.*"):
        file.unlink()
    lines = [each.details for each in og.verify(path) if each.details.array == "blocks/0/values"]
    assert "bytes are more than it can have" in lines[0].what
