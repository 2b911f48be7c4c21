"""What is at a path before, during and after a save that ends well, fails or is overtaken."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outgrad.errors import (
    ArchiveError,
    ArchiveExistsError,
    ArchiveNotFoundError,
    ArchiveWarning,
    DamagedArchiveError,
    NewerFormatError,
    NotAnArchiveError,
    UnfinishedArchiveError,
)
from outgrad.storage import files
from outgrad.storage.open_files import OpenFiles
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.storage.zarr.writer import ZarrWriter
from tests.support import models
from tests.support.archives import open_archive
from tests.support.models import Model
from tests.support.saving import commit

SIZES = ChunkSizes(shard=200, share_below=0)


def begin(made: Model, path: Path, **options: Any) -> ZarrWriter:
    options.setdefault("durable", False)
    writer = models.writer_of(path, made, sizes=SIZES, **options)
    writer.start()
    return writer


def finish(writer: ZarrWriter, made: Model) -> None:
    parts = [made.whole()]
    models.fill(writer, made, parts, writer.seams(parts))


def commits_of(path: Path) -> list[str]:
    return [file.name for file in (path / "commits").iterdir() if file.name != "zarr.json"]


def names_below(path: Path) -> list[Any]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*"))


def test_nothing_at_the_path(tmp_path: Path) -> None:
    with pytest.raises(
        ArchiveNotFoundError, match=r"open .*absent.zarr: there is no such file or directory; check"
    ):
        open_archive(tmp_path / "absent.zarr")


@pytest.mark.parametrize("name", ["file", "zarr", "commits", "other"])
def test_no_archive(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    path = tmp_path / name
    if name == "file":
        path.write_text("precious")
    else:
        (path / name).mkdir(parents=True)
        if name == "zarr":
            (path / "zarr.json").write_text('{"zarr_format":3,"node_type":"group","attributes":{}}')
    before = names_below(path)
    with pytest.raises(
        NotAnArchiveError, match=r"not an Outgrad archive, it has no file commits/0000000001.json; check"
    ):
        open_archive(path)
    made = models.typical(rng)
    with pytest.raises(
        ArchiveExistsError,
        match="the path exists; choose another one, pass overwrite=True to replace it, or add to",
    ):
        begin(made, path)
    with pytest.raises(NotAnArchiveError, match="overwrite=True replaces only archives; remove it yourself"):
        begin(made, path, overwrite=True)
    assert names_below(path) == before


def test_other_json_in_commits(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    (path / "commits").mkdir(parents=True)
    for body, text in [
        (b"{}", "missing required field `format`"),
        (b'{"format":"other","format_version":1}', "has format 'other'"),
    ]:
        write_commit(path, 1, body)
        with pytest.raises(NotAnArchiveError, match=text):
            open_archive(path)


def write_commit(path: Path, version: int, body: bytes) -> None:
    content = b'{"sha256":"%s","commit":%s}\n' % (hashlib.sha256(body).hexdigest().encode(), body)
    (path / "commits" / f"{version:010d}.json").write_bytes(content)


def test_an_unfinished_archive(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    writer = begin(made, path)
    with pytest.raises(
        UnfinishedArchiveError, match=r"never finished: .*; save it again with overwrite=True"
    ):
        open_archive(path)
    with pytest.raises(ArchiveExistsError, match="another writer is at work there, and has not"):
        begin(made, path)
    models.save(path, made, overwrite=True)
    models.assert_same(open_archive(path), made)
    assert len(list((path / "segments").glob("*/"))) == 2, "the other writer is still at work"
    writer.abort()
    models.assert_same(open_archive(path), made)
    assert len(list((path / "segments").glob("*/"))) == 1


def test_what_a_dead_writer_left_is_no_obstacle(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    begin(made, path)
    monkeypatch.setattr("outgrad.storage.leases._at_work", set())
    models.save(path, made)
    models.assert_same(open_archive(path), made)
    assert len(list((path / "segments").glob("*/"))) == 1
    assert not list(path.rglob("*.partial"))


def test_a_newer_format(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    models.save(path, models.typical(rng))
    body = json.loads((path / "commits" / "0000000001.json").read_text())["commit"]
    write_commit(path, 1, json.dumps({**body, "format_version": 3, "kind": "unknown"}).encode())
    with pytest.raises(
        NewerFormatError, match=r"format version 3, and this is outgrad .* up to 2; update it \(pip"
    ):
        open_archive(path)


def test_nothing_is_visible_before_the_commit_and_abort_removes_all(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "a.zarr"
    writer = begin(models.typical(rng), path)
    assert path.exists()
    writer.abort()
    assert not path.exists()
    writer.abort()


def test_abort_of_what_was_not_begun_touches_nothing(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    writer = models.writer_of(path, made)
    models.save(path, made)
    with pytest.raises(ArchiveExistsError, match=r"save .*a.zarr: the path exists"):
        models.writer_of(path, made)
    with pytest.raises(ArchiveExistsError, match=r"save .*a.zarr: the path exists"):
        writer.start()
    writer.abort()
    models.assert_same(open_archive(path), made)


@pytest.mark.parametrize("overwrite", [False, True])
def test_abort_after_the_commit_changes_nothing(
    rng: np.random.Generator, tmp_path: Path, overwrite: bool
) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    if overwrite:
        models.save(path, made)
    models.save(path, made, overwrite=overwrite).abort()
    models.assert_same(open_archive(path), made)


@pytest.mark.parametrize("ending", ["abort", "commit"])
def test_overwriting_keeps_the_old_archive_until_the_new_one_is_whole(
    rng: np.random.Generator, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / "a.zarr"
    old, new = models.typical(rng, 2), models.typical(rng, 3)
    models.save(path, old, sizes=SIZES)
    before = names_below(path)
    opened = open_archive(path)
    writer = begin(new, path, overwrite=True)
    models.assert_same(open_archive(path), old)
    if ending == "abort":
        writer.abort()
        assert names_below(path) == before
        models.assert_same(opened, old)
        return
    finish(writer, new)
    models.assert_same(open_archive(path), new)
    assert open_archive(path).commit.version == 2
    assert commits_of(path) == ["0000000002.json"]
    assert len(list((path / "segments").glob("*/"))) == 1
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        opened.reader.read(models.requests_of(opened.outlines))


def test_a_reader_from_elsewhere_sees_that_the_archive_was_overwritten(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    models.save(path, made)
    reader = pickle.dumps(open_archive(path).reader)
    labels = pickle.dumps(open_archive(path).metadata[0].samples)
    models.save(path, made, overwrite=True)
    monkeypatch.setattr("outgrad.storage.zarr.reader._archives", OpenFiles(16))
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        pickle.loads(reader).read([])
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        _ = pickle.loads(labels).values
    shutil.rmtree(path)
    with pytest.raises(ArchiveNotFoundError, match="the archive was removed since it was opened"):
        pickle.loads(reader).read([])
    models.save(path, made)
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        pickle.loads(reader).read([])


def test_an_overwritten_archive_that_is_damaged(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    models.save(path, made)
    (path / "commits" / "0000000001.json").write_bytes(b'{"sha256":"')
    (path / "zarr.json").unlink()
    with pytest.raises(DamagedArchiveError, match="SHA-256"):
        open_archive(path)
    models.save(path, made, overwrite=True)
    models.assert_same(open_archive(path), made)


@pytest.mark.parametrize("others", [1, 2])
def test_two_writers_one_commits(rng: np.random.Generator, tmp_path: Path, others: int) -> None:
    path = tmp_path / "a.zarr"
    first, second = models.typical(rng, 2), models.typical(rng, 3)
    models.save(path, first)
    slow = begin(second, path, overwrite=True)
    written = [slow.write(second.whole(), second.chunks)]
    for _ in range(others):
        models.save(path, first, overwrite=True)
    text = (
        f"another writer has finished version {1 + others} since this save began; its archive is there, and"
    )
    with pytest.raises(ArchiveError, match=text):
        commit(slow, written)
    slow.abort()
    models.assert_same(open_archive(path), first)
    assert commits_of(path) == [f"{1 + others:010d}.json"]


def test_a_writer_whose_segment_was_removed(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    models.save(path, made)
    slow = begin(made, path, overwrite=True)
    shutil.rmtree(path / "segments" / slow._session.segment_name)
    with pytest.raises(ArchiveError, match=r"plan.json is missing or not a plan"):
        slow.write(made.whole(), made.chunks)
    slow.abort()
    models.assert_same(open_archive(path), made)


def test_a_writer_one_of_whose_files_was_removed(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    models.save(path, made)
    slow = begin(made, path, overwrite=True)
    receipts = [slow.write(made.whole(), made.chunks)]
    lost = sorted((path / "segments" / slow._session.segment_name).rglob("c.*"))[0]
    lost.unlink()
    with pytest.raises(ArchiveError, match=r"1 file\(s\) that were written are gone, somebody"):
        commit(slow, receipts)
    slow.abort()
    models.assert_same(open_archive(path), made)


def test_a_commit_never_replaces_another(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    models.save(path, models.typical(rng))
    partial = tmp_path / "partial"
    partial.write_bytes(b"other")
    before = (path / "commits" / "0000000001.json").read_bytes()
    with pytest.raises(FileExistsError):
        files.publish_new(partial, path / commits.commit_key(1))
    assert (path / "commits" / "0000000001.json").read_bytes() == before
    assert commits_of(path) == ["0000000001.json"]


def test_without_hard_links(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    models.save(path, made)
    models.assert_same(open_archive(path), made)
    with pytest.raises(FileExistsError):
        files.publish_new(tmp_path / "other", path / commits.commit_key(1))


def test_the_newest_commit_counts_and_other_files_do_not(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    made = models.typical(rng)
    models.save(path, made)
    for name in (".0000000002.json.abc.partial", "2.json", "notes.txt", "00000000020.json"):
        (path / "commits" / name).write_text("{")
    (path / "segments" / ("0" * 32)).mkdir()
    assert open_archive(path).commit.version == 1


def test_the_archive_can_be_moved(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = models.typical(rng)
    monkeypatch.chdir(tmp_path)
    models.save("a.zarr", made)
    opened = open_archive("a.zarr")
    shutil.move("a.zarr", "b.zarr")
    models.assert_same(open_archive("b.zarr"), made)
    assert open_archive("b.zarr").reader.token == opened.reader.token
    monkeypatch.chdir("/")
    models.assert_same(open_archive(tmp_path / "b.zarr"), made)


@pytest.mark.parametrize("step", ["tables", "write", "documents", "commit"])
def test_a_full_disk_leaves_the_old_archive(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.zarr"
    old, new = models.typical(rng, 2), models.typical(rng, 3)
    models.save(path, old, sizes=SIZES)
    writer = models.writer_of(path, new, overwrite=True, sizes=SIZES)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    targets = {
        "tables": "outgrad.storage.local_store.LocalStore.put",
        "write": "outgrad.storage.zarr.writer.shared_ends",
        "documents": "outgrad.storage.zarr.save_session.serialize",
        "commit": "outgrad.storage.files.os.fsync",
    }
    monkeypatch.setattr(targets[step], full)

    def run() -> None:
        writer.start()
        finish(writer, new)

    with pytest.raises(OSError, match="No space left on device"):
        run()
    writer.abort()
    monkeypatch.undo()
    models.assert_same(open_archive(path), old)
    assert commits_of(path) == ["0000000001.json"]
    models.save(path, new, overwrite=True)
    models.assert_same(open_archive(path), new)


def test_a_full_disk_at_the_first_step_leaves_nothing(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    made = models.typical(rng)
    monkeypatch.setattr("outgrad.storage.files.write_new", full)
    with pytest.raises(OSError, match="No space left on device"):
        begin(made, tmp_path / "deep" / "a.zarr")
    assert not (tmp_path / "deep").exists()


def test_an_empty_folder_is_a_place_for_an_archive(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    made = models.typical(rng)
    writer = begin(made, path)
    writer.abort()
    assert list(path.iterdir()) == []
    models.save(path, made)
    models.assert_same(open_archive(path), made)


@pytest.mark.parametrize("name", ["segments", "commits"])
def test_nothing_is_written_or_removed_through_a_link_in_an_archive(
    rng: np.random.Generator, tmp_path: Path, name: str
) -> None:
    path, elsewhere = tmp_path / "a.zarr", tmp_path / "elsewhere"
    made = models.typical(rng)
    models.save(path, made)
    shutil.move(path / name, elsewhere)
    (path / name).symlink_to(elsewhere)
    before = names_below(elsewhere)
    with pytest.raises(ArchiveError, match=f"{name} is a link; nothing is written or removed through links"):
        begin(made, path, overwrite=True)
    assert names_below(elsewhere) == before
    models.assert_same(open_archive(path), made)


def test_odd_entries_are_left_and_named(rng: np.random.Generator, tmp_path: Path) -> None:
    path, precious = tmp_path / "a.zarr", tmp_path / "precious"
    (precious / "data").mkdir(parents=True)
    made = models.typical(rng)
    models.save(path, made)
    (path / "segments" / ("0" * 32)).symlink_to(precious)
    (path / "segments" / "mine").mkdir()
    with pytest.warns(ArchiveWarning, match=r"is there and complete, but .*mine is not Outgrad's, and"):
        models.save(path, made, overwrite=True)
    assert (precious / "data").exists()
    assert (path / "segments" / "mine").exists()


def test_the_plan_is_removed(rng: np.random.Generator, tmp_path: Path) -> None:
    models.save(tmp_path / "a.zarr", models.typical(rng))
    assert list((tmp_path / "a.zarr").rglob("plan.json")) == []
