"""What is at a path before, during and after a save that ends well, fails or is overtaken."""

import hashlib
import json
import os
import pickle
import shutil

import pytest

from helpers import commit
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

SIZES = ChunkSizes(storage_chunk=200, share_below=0)


def begin(tools, made, path, **options):
    options.setdefault("durable", False)
    writer = tools.writer_of(path, made, sizes=SIZES, **options)
    writer.start()
    return writer


def finish(tools, writer, made):
    parts = [made.whole()]
    tools.fill(writer, made, parts, writer.seams(parts))


def commits_of(path):
    return [file.name for file in (path / "commits").iterdir()]


def names_below(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*"))


def test_nothing_at_the_path(tools, tmp_path):
    with pytest.raises(
        ArchiveNotFoundError, match=r"open .*absent.zarr: there is no such file or directory; check"
    ):
        tools.open(tmp_path / "absent.zarr")


@pytest.mark.parametrize("name", ["file", "zarr", "commits", "other"])
def test_no_archive(tools, tmp_path, rng, name):
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
        tools.open(path)
    made = tools.typical(rng)
    with pytest.raises(
        ArchiveExistsError, match="the path exists; choose another one, or pass overwrite=True"
    ):
        begin(tools, made, path)
    with pytest.raises(NotAnArchiveError, match="overwrite=True replaces only archives; remove it yourself"):
        begin(tools, made, path, overwrite=True)
    assert names_below(path) == before


def test_other_json_in_commits(tools, tmp_path):
    path = tmp_path / "a.zarr"
    (path / "commits").mkdir(parents=True)
    for body, text in [
        (b"{}", "missing required field `format`"),
        (b'{"format":"other","format_version":1}', "has format 'other'"),
    ]:
        write_commit(path, 1, body)
        with pytest.raises(NotAnArchiveError, match=text):
            tools.open(path)


def write_commit(path, version, body):
    content = b'{"sha256":"%s","commit":%s}\n' % (hashlib.sha256(body).hexdigest().encode(), body)
    (path / "commits" / f"{version:010d}.json").write_bytes(content)


def test_an_unfinished_archive(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    writer = begin(tools, made, path)
    with pytest.raises(
        UnfinishedArchiveError, match=r"never finished: .*; save it again with overwrite=True"
    ):
        tools.open(path)
    with pytest.raises(ArchiveExistsError, match="another writer is at work there, and has not"):
        begin(tools, made, path)
    tools.save(path, made, overwrite=True)
    tools.assert_same(tools.open(path), made)
    assert len(list((path / "segments").glob("*/"))) == 2, "the other writer is still at work"
    writer.abort()
    tools.assert_same(tools.open(path), made)
    assert len(list((path / "segments").glob("*/"))) == 1


def test_what_a_dead_writer_left_is_no_obstacle(tools, rng, tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    begin(tools, made, path)
    monkeypatch.setattr("outgrad.storage.leases._at_work", set())
    tools.save(path, made)
    tools.assert_same(tools.open(path), made)
    assert len(list((path / "segments").glob("*/"))) == 1
    assert not list(path.rglob("*.partial"))


def test_a_newer_format(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    tools.save(path, tools.typical(rng))
    body = json.loads((path / "commits" / "0000000001.json").read_text())["commit"]
    write_commit(path, 1, json.dumps({**body, "format_version": 2, "kind": "unknown"}).encode())
    with pytest.raises(
        NewerFormatError, match=r"format version 2, and this is outgrad .* up to 1; update it \(pip"
    ):
        tools.open(path)


def test_several_segments_need_a_later_release(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    tools.save(path, tools.typical(rng))
    body = json.loads((path / "commits" / "0000000001.json").read_text())["commit"]
    write_commit(path, 1, json.dumps({**body, "segments": body["segments"] * 2}).encode())
    with pytest.raises(NewerFormatError, match=r"consists of 2 segments, and this is outgrad .* update it"):
        tools.open(path)


def test_nothing_is_visible_before_the_commit_and_abort_removes_all(tools, rng, tmp_path):
    path = tmp_path / "deep" / "a.zarr"
    writer = begin(tools, tools.typical(rng), path)
    assert path.exists()
    writer.abort()
    assert not path.exists()
    writer.abort()


def test_abort_of_what_was_not_begun_touches_nothing(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    writer = tools.writer_of(path, made)
    tools.save(path, made)
    with pytest.raises(ArchiveExistsError, match=r"save .*a.zarr: the path exists"):
        tools.writer_of(path, made)
    with pytest.raises(ArchiveExistsError, match=r"save .*a.zarr: the path exists"):
        writer.start()
    writer.abort()
    tools.assert_same(tools.open(path), made)


@pytest.mark.parametrize("overwrite", [False, True])
def test_abort_after_the_commit_changes_nothing(tools, rng, tmp_path, overwrite):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    if overwrite:
        tools.save(path, made)
    tools.save(path, made, overwrite=overwrite).abort()
    tools.assert_same(tools.open(path), made)


@pytest.mark.parametrize("ending", ["abort", "commit"])
def test_overwriting_keeps_the_old_archive_until_the_new_one_is_whole(tools, rng, tmp_path, ending):
    path = tmp_path / "a.zarr"
    old, new = tools.typical(rng, 2), tools.typical(rng, 3)
    tools.save(path, old, sizes=SIZES)
    before = names_below(path)
    opened = tools.open(path)
    writer = begin(tools, new, path, overwrite=True)
    tools.assert_same(tools.open(path), old)
    if ending == "abort":
        writer.abort()
        assert names_below(path) == before
        tools.assert_same(opened, old)
        return
    finish(tools, writer, new)
    tools.assert_same(tools.open(path), new)
    assert tools.open(path).version == 2
    assert commits_of(path) == ["0000000002.json"]
    assert len(list((path / "segments").glob("*/"))) == 1
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        opened.reader.read(tools.requests_of(opened.outlines))


def test_a_reader_from_elsewhere_sees_that_the_archive_was_overwritten(tools, rng, tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    tools.save(path, made)
    reader = pickle.dumps(tools.open(path).reader)
    labels = pickle.dumps(tools.open(path).metadata[0].samples)
    tools.save(path, made, overwrite=True)
    monkeypatch.setattr("outgrad.storage.zarr.reader._archives", OpenFiles(16))
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        pickle.loads(reader).read([])
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        _ = pickle.loads(labels).values
    shutil.rmtree(path)
    with pytest.raises(ArchiveNotFoundError, match="the archive was removed since it was opened"):
        pickle.loads(reader).read([])
    tools.save(path, made)
    with pytest.raises(ArchiveError, match="was overwritten since it was opened; open it again"):
        pickle.loads(reader).read([])


def test_an_overwritten_archive_that_is_damaged(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    tools.save(path, made)
    (path / "commits" / "0000000001.json").write_bytes(b'{"sha256":"')
    (path / "zarr.json").unlink()
    with pytest.raises(DamagedArchiveError, match="SHA-256"):
        tools.open(path)
    tools.save(path, made, overwrite=True)
    tools.assert_same(tools.open(path), made)


@pytest.mark.parametrize("others", [1, 2])
def test_two_writers_one_commits(tools, rng, tmp_path, others):
    path = tmp_path / "a.zarr"
    first, second = tools.typical(rng, 2), tools.typical(rng, 3)
    tools.save(path, first)
    slow = begin(tools, second, path, overwrite=True)
    written = [slow.write(second.whole(), second.chunks)]
    for _ in range(others):
        tools.save(path, first, overwrite=True)
    text = (
        f"another writer has finished version {1 + others} since this save began; its archive is there, and"
    )
    with pytest.raises(ArchiveError, match=text):
        commit(slow, written)
    slow.abort()
    tools.assert_same(tools.open(path), first)
    assert commits_of(path) == [f"{1 + others:010d}.json"]


def test_a_writer_whose_segment_was_removed(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    tools.save(path, made)
    slow = begin(tools, made, path, overwrite=True)
    shutil.rmtree(path / "segments" / slow._session.segment_name)
    with pytest.raises(ArchiveError, match=r"plan.json is missing or not a plan"):
        slow.write(made.whole(), made.chunks)
    slow.abort()
    tools.assert_same(tools.open(path), made)


def test_a_writer_one_of_whose_files_was_removed(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    tools.save(path, made)
    slow = begin(tools, made, path, overwrite=True)
    receipts = [slow.write(made.whole(), made.chunks)]
    lost = sorted((path / "segments" / slow._session.segment_name).rglob("c.*"))[0]
    lost.unlink()
    with pytest.raises(ArchiveError, match=r"1 file\(s\) that were written are gone, somebody"):
        commit(slow, receipts)
    slow.abort()
    tools.assert_same(tools.open(path), made)


def test_a_commit_never_replaces_another(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    tools.save(path, tools.typical(rng))
    partial = tmp_path / "partial"
    partial.write_bytes(b"other")
    before = (path / "commits" / "0000000001.json").read_bytes()
    with pytest.raises(FileExistsError):
        files.publish_new(partial, commits.commit_path(path, 1))
    assert (path / "commits" / "0000000001.json").read_bytes() == before
    assert commits_of(path) == ["0000000001.json"]


def test_without_hard_links(tools, rng, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    tools.save(path, made)
    tools.assert_same(tools.open(path), made)
    with pytest.raises(FileExistsError):
        files.publish_new(tmp_path / "other", commits.commit_path(path, 1))


def test_the_newest_commit_counts_and_other_files_do_not(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    made = tools.typical(rng)
    tools.save(path, made)
    for name in (".0000000002.json.abc.partial", "2.json", "notes.txt", "00000000020.json"):
        (path / "commits" / name).write_text("{")
    (path / "segments" / ("0" * 32)).mkdir()
    assert tools.open(path).version == 1


def test_the_archive_can_be_moved(tools, rng, tmp_path, monkeypatch):
    made = tools.typical(rng)
    monkeypatch.chdir(tmp_path)
    tools.save("a.zarr", made)
    opened = tools.open("a.zarr")
    shutil.move("a.zarr", "b.zarr")
    tools.assert_same(tools.open("b.zarr"), made)
    assert tools.open("b.zarr").token == opened.token
    monkeypatch.chdir("/")
    tools.assert_same(tools.open(tmp_path / "b.zarr"), made)


@pytest.mark.parametrize("step", ["tables", "write", "documents", "commit"])
def test_a_full_disk_leaves_the_old_archive(tools, rng, tmp_path, monkeypatch, step):
    path = tmp_path / "a.zarr"
    old, new = tools.typical(rng, 2), tools.typical(rng, 3)
    tools.save(path, old, sizes=SIZES)
    writer = tools.writer_of(path, new, overwrite=True, sizes=SIZES)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    targets = {
        "tables": "outgrad.storage.zarr.storage_chunks.ByteStore.put",
        "write": "outgrad.storage.zarr.writer.shared_ends",
        "documents": "outgrad.storage.zarr.save_session.serialize",
        "commit": "outgrad.storage.files.os.fsync",
    }
    monkeypatch.setattr(targets[step], full)

    def run():
        writer.start()
        finish(tools, writer, new)

    with pytest.raises(OSError, match="No space left on device"):
        run()
    writer.abort()
    monkeypatch.undo()
    tools.assert_same(tools.open(path), old)
    assert commits_of(path) == ["0000000001.json"]
    tools.save(path, new, overwrite=True)
    tools.assert_same(tools.open(path), new)


def test_a_full_disk_at_the_first_step_leaves_nothing(tools, rng, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    made = tools.typical(rng)
    monkeypatch.setattr("outgrad.storage.files.write_new", full)
    with pytest.raises(OSError, match="No space left on device"):
        begin(tools, made, tmp_path / "deep" / "a.zarr")
    assert not (tmp_path / "deep").exists()


def test_an_empty_folder_is_a_place_for_an_archive(tools, rng, tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    made = tools.typical(rng)
    writer = begin(tools, made, path)
    writer.abort()
    assert list(path.iterdir()) == []
    tools.save(path, made)
    tools.assert_same(tools.open(path), made)


@pytest.mark.parametrize("name", ["segments", "commits"])
def test_nothing_is_written_or_removed_through_a_link_in_an_archive(tools, rng, tmp_path, name):
    path, elsewhere = tmp_path / "a.zarr", tmp_path / "elsewhere"
    made = tools.typical(rng)
    tools.save(path, made)
    shutil.move(path / name, elsewhere)
    (path / name).symlink_to(elsewhere)
    before = names_below(elsewhere)
    with pytest.raises(ArchiveError, match=f"{name} is a link; nothing is written or removed through links"):
        begin(tools, made, path, overwrite=True)
    assert names_below(elsewhere) == before
    tools.assert_same(tools.open(path), made)


def test_odd_entries_are_left_and_named(tools, rng, tmp_path):
    path, precious = tmp_path / "a.zarr", tmp_path / "precious"
    (precious / "data").mkdir(parents=True)
    made = tools.typical(rng)
    tools.save(path, made)
    (path / "segments" / ("0" * 32)).symlink_to(precious)
    (path / "segments" / "mine").mkdir()
    with pytest.warns(ArchiveWarning, match=r"is there and complete, but .*mine is not Outgrad's, and"):
        tools.save(path, made, overwrite=True)
    assert (precious / "data").exists()
    assert (path / "segments" / "mine").exists()


def test_the_plan_is_removed(tools, rng, tmp_path):
    tools.save(tmp_path / "a.zarr", tools.typical(rng))
    assert list((tmp_path / "a.zarr").rglob("plan.json")) == []
