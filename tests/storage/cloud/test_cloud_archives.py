"""Archives in object stores: what is written is read, versions, several writers, and what does not fit."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import dask
import numpy as np
import pytest
from click.testing import CliRunner

import outgrad as og
from outgrad import run
from outgrad.cli import main
from outgrad.errors import (
    ArchiveConflictError,
    ArchiveError,
    ArchiveExistsError,
    ArchiveNotFoundError,
    DamagedArchiveError,
    NotAnArchiveError,
    PathError,
    ValidationError,
)
from outgrad.storage.stores import open_store
from outgrad.storage.zarr import revision
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.testing.asserts import assert_identical
from tests.support.buckets import chunk_keys, numbers, objects, partials, remove, segments
from tests.support.pieces import joined, piece

pytestmark = pytest.mark.cluster

SMALL = ChunkSizes(
    shard=600, chunk=200, table_shard=100, table_chunk=40, span=1000, fine_chunk=500, whole_system=10**6
)
_names = (f"memory://test-{number}" for number in itertools.count())


@pytest.fixture(params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return next(_names)
    return str(request.getfixturevalue("s3_bucket").url)


@pytest.fixture(params=["memory", "s3", "azure"])
def any_bucket(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return next(_names)
    fixture = "s3_bucket" if request.param == "s3" else "azure_container"
    return str(request.getfixturevalue(fixture).url)


@pytest.fixture
def url(bucket: str) -> str:
    return f"{bucket}/runs of May/a.zarr"


@pytest.fixture
def grown(url: str) -> str:
    """An archive of four versions."""
    og.save(url, piece(0), provenance={"step": 0})
    for seed in range(1, 4):
        og.append(url, piece(seed), provenance={"step": seed})
    return url


def up_to(last: int) -> og.TensorMap:
    return joined([piece(seed) for seed in range(last + 1)])


def test_a_life(any_bucket: str) -> None:
    """Everything once, in every kind of store."""
    url = f"{any_bucket}/runs/ü 100%/a.zarr"
    og.save(url, piece(0))
    with pytest.raises(ArchiveExistsError, match=r"save .*a.zarr: the path exists; choose another one"):
        og.save(url, piece(1))
    opened = og.open(url)
    og.append(url, piece(1))
    assert_identical(opened, piece(0))
    assert_identical(og.load(url), up_to(1))
    og.compact(url)
    assert_identical(og.load(url), up_to(1))
    og.restore(url, 1)
    assert_identical(og.load(url), piece(0))
    assert og.verify(url) == []
    assert [version.action for version in og.history(url)] == ["save", "append", "compact", "restore"]
    og.save(url, piece(5), overwrite=True)
    assert numbers(url) == [5]
    assert segments(url) == 1
    assert partials(url) == []
    assert_identical(og.load(url), piece(5))
    with pytest.raises(ArchiveError, match="the archive was overwritten since it was opened"):
        opened.compute()
    assert og.clean(url) == []
    assert og.verify(url) == []


def test_maps_blocks_and_labels(bucket: str) -> None:
    og.save_all({f"{bucket}/m.zarr": piece(0).chunk(100), f"{bucket}/b.zarr": piece(0).block(0)})
    og.save(f"{bucket}/l.zarr", og.Labels.range("n", 3))
    assert_identical(og.load(f"{bucket}/m.zarr"), piece(0))
    assert_identical(og.load_block(f"{bucket}/b.zarr"), piece(0).block(0))
    assert og.load_labels(f"{bucket}/l.zarr") == og.Labels.range("n", 3)
    assert og.open(f"{bucket}/b.zarr").shape == piece(0).block(0).shape


def test_small_chunks_and_shards(url: str) -> None:
    pieces = [piece(seed, systems=4 + seed) for seed in range(3)]
    for each in pieces:
        with og.ArchiveWriter(url, append=True, sizes=SMALL) as writer:
            writer.append(each)
    assert_identical(og.load(url), joined(pieces))
    assert_identical(og.open(url, target_bytes=1) * 2, joined(pieces) * 2)
    assert og.verify(url) == []


def test_what_was_there_is_not_touched(url: str) -> None:
    og.append(url, piece(0))
    before = objects(url)
    og.append(url, piece(1))
    after = objects(url)
    assert {name for name in before if before[name] != after.get(name)} == {"zarr.json"}


def test_an_archive_may_be_appended_to_itself(url: str) -> None:
    og.append(url, piece(0))
    og.append(url, og.open(url) * 2, shift={"system": 100})
    assert_identical(og.load(url), joined([piece(0), og.shift_dimension(piece(0) * 2, "system", 100)]))


def test_what_does_not_fit_is_refused_before_anything_is_computed(url: str) -> None:
    og.append(url, piece(0))
    before = objects(url)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was computed")

    for made, text in [
        (piece(1, dtype="float32"), "has dtype float32"),
        (og.remove_gradients(piece(1)), "has the gradients"),
        (piece(0), "is there already"),
    ]:
        with dask.config.set(scheduler=refuse), pytest.raises(ValidationError, match=text) as caught:
            og.append(url, made.chunk(100))
        assert str(caught.value).startswith(f"append {url}: ")
    assert objects(url) == before


def test_versions(grown: str) -> None:
    assert [(each.version, each.segments) for each in og.history(grown)] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    for version in range(1, 5):
        assert_identical(og.open(grown, version=version), up_to(version - 1))
    with pytest.raises(
        ArchiveNotFoundError, match="there is no version 9; versions that can be opened: 1 to"
    ):
        og.open(grown, version=9)
    og.restore(grown, 2)
    og.append(grown, piece(7))
    assert_identical(og.load(grown), joined([piece(0), piece(1), piece(7)]))
    assert_identical(og.open(grown, version=4), up_to(3))


def test_compaction_and_versions_that_are_not_kept(grown: str) -> None:
    og.compact(grown)
    opened = og.open(grown, version=2)
    listed = og.clean(grown, keep=1, dry_run=True)
    assert numbers(grown) == [1, 2, 3, 4, 5]
    assert og.clean(grown, keep=1) == listed
    assert (numbers(grown), segments(grown)) == ([5], 1)
    assert_identical(og.load(grown), up_to(3))
    with pytest.raises(ArchiveError, match="version 2 was removed since it was opened; open a newer one"):
        opened.compute()
    assert og.verify(grown) == []


def test_lists_of_segments(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "REPEATED_BYTES", 4000)
    pieces = [og.remove_gradients(piece(seed, keys=(0,))) for seed in range(8)]
    for each in pieces:
        og.append(url, each)
    assert og.open(url)._blocks() is not None
    assert_identical(og.load(url), joined(pieces))
    assert_identical(og.open(url, version=5), joined(pieces[:5]))
    assert og.verify(url) == []


# ---- several writers ----
def test_two_writers_that_append(url: str) -> None:
    og.append(url, piece(0))
    with og.ArchiveWriter(url, append=True) as writer:
        writer.append(piece(1))
        og.append(url, piece(2))
        og.clean(url, keep=1)
    assert_identical(og.load(url), joined([piece(0), piece(2), piece(1)]))


def test_writers_at_once(any_bucket: str) -> None:
    """All of them are told that they have appended, and all of it is there."""
    url = f"{any_bucket}/a.zarr"
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            with og.ArchiveWriter(url, append=True) as writer:
                writer.append(og.remove_gradients(piece(seed)))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    found = og.load(url)
    systems = found.block(0).samples["system"]
    assert sorted(set(systems.tolist())) == sorted(10 * seed + n for seed in range(4) for n in range(3))
    assert numbers(url) == [1, 2, 3, 4]
    assert partials(url) == []
    assert og.verify(url) == []


def test_two_writers_that_save(url: str) -> None:
    og.save(url, piece(0))
    writer = og.ArchiveWriter(url, overwrite=True)
    writer.append(piece(1))
    og.save(url, piece(2), overwrite=True)
    with pytest.raises(ArchiveConflictError, match="another writer has finished version 2 since this save"):
        writer.close()
    assert_identical(og.load(url), piece(2))
    assert segments(url) == 1
    assert partials(url) == []


def test_data_that_are_kept_and_committed_later(url: str) -> None:
    og.append(url, piece(0))
    writer = og.ArchiveWriter(url, append=True)
    writer.append(piece(1))
    og.save(url, piece(5), overwrite=True)
    with pytest.raises(ArchiveConflictError, match="version 2 has replaced the archive") as caught:
        writer.close()
    assert f"`outgrad commit {url}` adds them" in "".join(caught.value.__notes__)
    og.save(url, piece(6), overwrite=True)
    assert og.clean(url) == [], "what was refused a moment ago is kept"
    assert og.commit(url) == 1
    assert_identical(og.load(url), joined([piece(6), piece(1)]))
    assert og.commit(url) == 0


def test_a_writer_that_gives_up_leaves_nothing(url: str) -> None:
    writer = og.ArchiveWriter(url)
    writer.append(piece(0))
    writer.abort()
    assert objects(url) == {}
    og.save(url, piece(1))
    before = objects(url)
    writer = og.ArchiveWriter(url, overwrite=True)
    writer.append(piece(0))
    writer.__exit__(RuntimeError, RuntimeError("of the test"), None)
    assert objects(url) == before


def test_what_killed_writers_left(url: str) -> None:
    og.save(url, piece(0))
    store = open_store(url)
    left = "ab" * 16
    store.put(f"segments/{left}/zarr.json", b"{}")
    store.create(f"segments/.{left}.0123abcd-1-1-0123abcd.partial")
    assert og.clean(url) == [], "a writer on another machine may be at work"
    store.remove(f"segments/.{left}.0123abcd-1-1-0123abcd.partial")
    assert og.clean(url) == [f"{url}/segments/{left}"]
    assert segments(url) == 1
    assert_identical(og.load(url), piece(0))


# ---- damage ----
def test_ranges_beyond_the_end(any_bucket: str) -> None:
    store = open_store(f"{any_bucket}/a")
    store.put("x", b"abc")
    store.put("empty", b"")
    ranges = [(5, 9), (1, 9), (3, 3), (0, 2)]
    assert [bytes(store.get_range("x", *each)) for each in ranges] == [b"", b"bc", b"", b"ab"]  # type: ignore[arg-type]
    assert bytes(store.get_range("empty", 0, 4)) == b""  # type: ignore[arg-type]
    assert store.get_range("none", 0, 4) is None
    assert store.get_range("none", 4, 4) is None


def test_a_chunk_that_is_missing(url: str) -> None:
    og.save(url, piece(0))
    (key, *_) = chunk_keys(url, "blocks/0/values")
    remove(url, key)
    with pytest.raises(DamagedArchiveError, match=r"read .*blocks/0/values is missing; the file is segments"):
        og.load(url)
    assert any("blocks/0/values" in problem and "is missing" in problem for problem in og.verify(url))


def test_a_chunk_that_is_short_or_changed(url: str) -> None:
    og.save(url, piece(0))
    (key, *_) = chunk_keys(url, "blocks/0/values")
    data = objects(url)[key]
    for damaged in (data[:-1], b"", data[:9] + bytes([data[9] ^ 1]) + data[10:], data + bytes(10**6)):
        open_store(url).put(key, damaged)
        with pytest.raises(DamagedArchiveError, match=r"blocks/0/values .*(is corrupted|another position)"):
            og.load(url)


# ---- what is not there, or is no archive ----
def test_what_is_not_there(bucket: str) -> None:
    og.save(f"{bucket}/a.zarr", piece(0))
    open_store(f"{bucket}/other.zarr").put("file", b"precious")
    for call in (og.open, og.load, og.verify, og.history, og.compact, og.commit, og.clean):
        with pytest.raises(ArchiveNotFoundError, match=rf"{bucket}/b.zarr: there is no"):
            call(f"{bucket}/b.zarr")
        with pytest.raises(NotAnArchiveError, match="this is not an Outgrad archive"):
            call(f"{bucket}/other.zarr")
    with pytest.raises(NotAnArchiveError, match="the path exists and is not an Outgrad archive"):
        og.append(f"{bucket}/other.zarr", piece(0))
    with pytest.raises(
        PathError, match=rf"this is inside the archive {bucket}/a.zarr; choose a path outside"
    ):
        og.save(f"{bucket}/a.zarr/in/b.zarr", piece(0))
    og.save(f"{bucket}/a.zarr2/b.zarr", piece(1))  # a name that begins alike is another one
    assert_identical(og.load(f"{bucket}/a.zarr"), piece(0))
    assert set(objects(f"{bucket}/other.zarr")) == {"file"}


# ---- commands and jobs ----
def command(*words: str) -> str:
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    return found.output


def test_commands(grown: str, tmp_path: Any) -> None:
    assert f"{grown}: OK" in command("verify", grown)
    assert "append" in command("log", grown)
    assert '"bytes_on_disk": ' in command("info", "--json", grown)
    assert grown.rpartition("/")[2] in command("info", grown)
    assert "version 5 has 1 segment(s)" in command("compact", grown)
    assert "has what version 2 has" in command("restore", grown, "2")
    assert "committed 0" in command("commit", grown)
    assert f"removed {grown}/commits/0000000001.json" in command("clean", grown, "--keep", "1")
    command("convert", grown, str(tmp_path / "here.mts"))
    assert_identical(og.load(tmp_path / "here.mts"), up_to(1))
    command("convert", str(tmp_path / "here.mts"), f"{grown[:-5]}-copy.zarr")
    assert_identical(og.load(f"{grown[:-5]}-copy.zarr"), up_to(1))


def test_a_job_in_a_bucket(s3_bucket: Any, tmp_path: Any) -> None:
    """The worker processes have the environment variables of this one."""
    source, target = f"{s3_bucket.url}/rho.zarr", f"{s3_bucket.url}/out/h.zarr"
    og.save(source, og.remove_gradients(piece(0)))
    job = tmp_path / "job.yaml"
    job.write_text(
        f"version: 1\ninputs: {{rho: '{source}'}}\nsteps: [{{name: h, op: multiply, args: [rho, rho]}}]\n"
        f"outputs: {{h: '{target}'}}\n"
    )
    summary = run.run_job(job)
    assert (f"written {'h.zarr'}", target) in summary.lines()
    assert_identical(og.load(target), og.multiply(*2 * [og.remove_gradients(piece(0))]))
    with pytest.raises(ArchiveExistsError, match=r"job.yaml:4: output 'h': h.zarr exists; choose another"):
        run.run_job(job)


def test_outputs_that_lie_in_each_other(bucket: str, tmp_path: Any) -> None:
    with pytest.raises(PathError, match=rf"two outputs have the path {bucket}/a.zarr; give each"):
        og.save_all({f"{bucket}/a.zarr": piece(0), f"{bucket}/a.zarr/": piece(1)})
    with pytest.raises(PathError, match=rf"the output {bucket}/a.zarr/b.zarr lies in the output"):
        og.save_all({f"{bucket}/a.zarr": piece(0), f"{bucket}/a.zarr/b.zarr": piece(1)})
    og.save(tmp_path / "rho.mts", piece(0))
    job = tmp_path / "job.yaml"
    job.write_text(f"version: 1\ninputs: {{r: rho.mts}}\noutputs: {{r: '{bucket}/a.mts'}}\n")
    with pytest.raises(
        og.errors.JobError, match=r"job.yaml:3: output 'r': .*object stores keep archives alone"
    ):
        run.read_job(job)


def test_several_outputs_become_visible_together(bucket: str, tmp_path: Any, monkeypatch: Any) -> None:
    paths = [f"{bucket}/a.zarr", str(tmp_path / "b.zarr"), f"{bucket}/c.zarr"]
    og.save_all({path: piece(number).chunk(200) for number, path in enumerate(paths)})
    original = revision.Revision.publish

    def fails(self: Any) -> None:
        original(self)
        if self.store.name == paths[2]:
            raise OSError("of the test")

    outputs = {path: piece(number + 5) for number, path in enumerate(paths)}
    monkeypatch.setattr(revision.Revision, "publish", fails)
    with pytest.raises(OSError, match="of the test"):
        og.save_all(outputs, overwrite=True)
    for number, path in enumerate(paths):
        assert_identical(og.load(path), piece(number))
        assert og.verify(path) == []


def test_large_arrays_are_read_in_parallel_and_in_order(url: str) -> None:
    values = np.random.default_rng(0).normal(size=(4000, 200))
    og.save(url, og.block_from_array(values).chunk(2**20))
    np.testing.assert_array_equal(og.load(url).values, values)
