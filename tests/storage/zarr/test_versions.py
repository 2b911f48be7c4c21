"""Versions: listed, opened, brought back, put together, and removed when they are not kept."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import outgrad as og
from outgrad.errors import (
    ArchiveConflictError,
    ArchiveError,
    ArchiveNotFoundError,
    ArchiveWarning,
    ValidationError,
)
from outgrad.storage import versions
from outgrad.storage.local_store import LocalStore
from outgrad.storage.store import Entry
from outgrad.storage.zarr import revision
from outgrad.testing.asserts import assert_identical
from tests.support import old_archives
from tests.support.archives import open_archive
from tests.support.pieces import joined, piece


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive of four versions."""
    made = tmp_path / "a.zarr"
    og.save(made, piece(0), provenance={"step": 0})
    for seed in range(1, 4):
        og.append(made, piece(seed), provenance={"step": seed})
    return made


def up_to(last: int) -> og.TensorMap:
    return joined([piece(seed) for seed in range(last + 1)])


def segments(path: Path) -> int:
    return len(list(path.glob("segments/*/")))


def numbers(path: Path) -> list[int]:
    return [each.version for each in og.history(path)]


def test_history(path: Path) -> None:
    found = og.history(path)
    assert [(each.version, each.action, each.segments, each.samples) for each in found] == [
        (1, "save", 1, 12),
        (2, "append", 2, 12),
        (3, "append", 3, 12),
        (4, "append", 4, 12),
    ]
    assert [each.provenance for each in found] == [{"step": seed} for seed in range(4)]
    assert [each.nbytes for each in found] == [piece(seed).nbytes for seed in range(4)]
    assert all(each.who and "@" in each.who and each.software.startswith("outgrad ") for each in found)
    assert str(found[1]).startswith(f"2: {found[1].created} append, 12 samples, ")


def test_history_of_version_1_of_the_format() -> None:
    (only,) = og.history(old_archives.FOLDER / "lz4" / "map-float64.zarr")
    assert (only.version, only.action, only.who) == (1, "save", "")
    assert min(only.samples, only.nbytes) > 0


def test_every_version_can_be_opened(path: Path) -> None:
    for version in range(1, 5):
        assert_identical(og.open(path, version=version), up_to(version - 1))
    with pytest.raises(
        ArchiveNotFoundError, match="there is no version 9; versions that can be opened: 1 to 4"
    ):
        og.open(path, version=9)


def test_restoring(path: Path) -> None:
    og.restore(path, 2)
    assert_identical(og.load(path), up_to(1))
    assert og.history(path)[-1].provenance == {"restored": 2}
    og.append(path, piece(7))
    assert_identical(og.load(path), joined([piece(0), piece(1), piece(7)]))
    assert_identical(og.open(path, version=4), up_to(3))
    assert og.verify(path) == []
    with pytest.raises(ArchiveNotFoundError, match="there is no version 0"):
        og.restore(path, 0)


def before_staging(monkeypatch: pytest.MonkeyPatch, other: Callable[[], Any]) -> None:
    """Let another writer do something once, just before the next version is staged."""
    original = revision.Revision.stage

    def late(self: Any) -> None:
        monkeypatch.setattr(revision.Revision, "stage", original)
        other()
        original(self)

    monkeypatch.setattr(revision.Revision, "stage", late)


def test_restoring_is_no_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_staging(monkeypatch, lambda: og.append(path, piece(5)))
    with pytest.raises(ArchiveConflictError, match=r"restore .*: another writer has made a version since"):
        og.restore(path, 1)
    assert_identical(og.load(path), joined([*(piece(seed) for seed in range(4)), piece(5)]))
    assert not list(path.rglob("*.partial"))


@pytest.mark.parametrize("function", [og.history, og.compact, og.commit, lambda p: og.restore(p, 1)])
def test_only_archives_have_versions(tmp_path: Path, function: Callable[[Path], Any]) -> None:
    og.save(tmp_path / "a.mts", piece(0))
    with pytest.raises(ArchiveError, match=r"this is a file, and only archives \(.zarr\) have versions"):
        function(tmp_path / "a.mts")
    with pytest.raises(ArchiveNotFoundError, match="there is nothing at this path"):
        function(tmp_path / "b.zarr")


# ---- compaction ----
def test_compacted_archives_are_the_same_to_the_last_bit(path: Path) -> None:
    og.append(path, piece(4, keys=(1, 5)))
    expected = og.load(path)
    og.compact(path)
    assert_identical(og.load(path), expected)
    assert [(each.action, each.segments) for each in og.history(path)][-1] == ("compact", 1)
    assert_identical(og.open(path, version=2), up_to(1))
    assert og.verify(path) == []
    before = og.history(path)
    og.compact(path)
    assert og.history(path) == before, "there is nothing more to put together"


def test_a_compacted_archive_knows_where_its_data_come_from(path: Path) -> None:
    og.restore(path, 2)
    og.append(path, piece(9), provenance={"step": 9})
    og.compact(path)
    og.clean(path, keep=1)
    (only,) = og.history(path)
    made_of = only.provenance["versions"]
    assert [(each["version"], each["action"]) for each in made_of] == [
        (1, "save"),
        (2, "append"),
        (6, "append"),
    ]
    assert [each["provenance"] for each in made_of] == [{"step": 0}, {"step": 1}, {"step": 9}]
    assert sum(each["samples"] for each in made_of) == sum(len(block) for block in og.open(path).blocks())
    og.append(path, piece(10), provenance={"step": 10})
    og.compact(path)
    assert [each["version"] for each in og.history(path)[-1].provenance["versions"]] == [1, 2, 6, 8]


def test_large_segments_stay_where_they_are(path: Path) -> None:
    large = piece(4, systems=40)
    for each in (large, piece(9), piece(10)):
        og.append(path, each, shift={"system": 1000})
    names = [segment.name for segment in open_archive(path).commit.segments]
    expected = og.load(path)
    og.compact(path, smaller_than=large.nbytes)
    assert_identical(og.load(path), expected)
    now = [segment.name for segment in open_archive(path).commit.segments]
    assert len(now) == 3
    assert now[1] == names[4]
    with pytest.raises(ValidationError, match="compact: smaller_than='much' is not a size"):
        og.compact(path, smaller_than="much")


def test_an_append_during_compaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_staging(monkeypatch, lambda: og.append(path, piece(5)))
    og.compact(path)
    assert_identical(og.load(path), joined([*(piece(seed) for seed in range(4)), piece(5)]))
    assert len(open_archive(path).commit.segments) == 2


def test_two_compactions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_staging(monkeypatch, lambda: og.compact(path))
    with pytest.raises(ArchiveConflictError, match="another writer has replaced the segments that were put"):
        og.compact(path)
    assert_identical(og.load(path), up_to(3))
    assert segments(path) == 5, "what was refused is removed, since it can be made again"


def test_a_compaction_while_segments_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one changes the numbers of segments, and those that this one puts together are still there."""
    path = tmp_path / "a.zarr"
    small = [piece(0, systems=1), piece(1, systems=1)]
    maps = [*small, piece(2, systems=40), piece(90, systems=3), piece(91, systems=3)]
    for each in maps:
        og.append(path, each)
    original = versions.open_archive

    def late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(versions, "open_archive", original)
        og.compact(path, smaller_than=piece(90, systems=3).nbytes)
        return original(*arguments, **options)

    monkeypatch.setattr(versions, "open_archive", late)
    with pytest.raises(ArchiveConflictError, match="another writer has replaced the segments that were put"):
        og.compact(path, smaller_than=maps[2].nbytes)
    assert_identical(og.load(path), joined(maps))
    assert og.verify(path) == []


def test_a_list_ends_where_a_new_segment_comes_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    maps = [piece(0), piece(1), piece(2, systems=30), piece(90), piece(91), piece(92, systems=30)]
    for each in maps:
        og.append(path, each)
    monkeypatch.setattr(revision, "REPEATED_BYTES", 10)
    og.compact(path, smaller_than=maps[2].nbytes)
    assert_identical(og.load(path), joined(maps))
    og.append(path, piece(99))
    assert_identical(og.load(path), joined([*maps, piece(99)]))


# ---- versions that are not kept ----
def test_more_versions_are_kept_than_there_are(path: Path) -> None:
    for keep in range(4, 10):
        assert og.clean(path, keep=keep) == []
    assert numbers(path) == [1, 2, 3, 4]


def test_versions_that_are_not_kept(path: Path) -> None:
    og.compact(path)
    opened = og.open(path, version=2)
    listed = og.clean(path, keep=2, dry_run=True)
    assert numbers(path) == [1, 2, 3, 4, 5]
    assert og.clean(path, keep=2) == listed
    assert numbers(path) == [4, 5]
    assert_identical(og.open(path, version=4), up_to(3))
    assert segments(path) == 5
    og.clean(path, keep=1)
    assert (numbers(path), segments(path)) == ([5], 1)
    assert_identical(og.load(path), up_to(3))
    with pytest.raises(ArchiveError, match="version 2 was removed since it was opened; open a newer one"):
        opened.compute()
    with pytest.raises(ArchiveNotFoundError, match="no version 2; versions that can be opened: 5"):
        og.open(path, version=2)
    assert og.verify(path) == []
    og.append(path, piece(8))
    assert numbers(path) == [5, 6]


def older(path: Path, version: int, days: float) -> None:
    """Let a version be that old."""
    file = path / "commits" / f"{version:010d}.json"
    commit = json.loads(file.read_text())["commit"]
    commit["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 86400 * days))
    from_tests = json.dumps(commit, separators=(",", ":")).encode()
    digest = hashlib.sha256(from_tests).hexdigest().encode()
    file.write_bytes(b'{"sha256":"%s","commit":%s}\n' % (digest, from_tests))


def test_versions_by_their_age(path: Path) -> None:
    for version, days in ((1, 50), (2, 40), (3, 20), (4, 45)):
        older(path, version, days)
    assert og.clean(path, older_than="60d") == []
    assert [Path(each).name for each in og.clean(path, older_than="30d", dry_run=True)] == [
        "0000000001.json",
        "0000000002.json",
    ]
    assert [Path(each).name for each in og.clean(path, older_than="30d", keep=3, dry_run=True)] == [
        "0000000001.json"
    ]
    og.clean(path, older_than="30d")
    assert numbers(path) == [3, 4], "the newest stays, however old it is"
    older(path, 4, -1)  # a clock that ran ahead
    assert og.clean(path, older_than="1h") != []
    assert numbers(path) == [4]


@pytest.mark.parametrize("older_than", ["month", -1, "5 parsecs", None.__class__, float("nan")])
def test_what_is_no_time(path: Path, older_than: Any) -> None:
    with pytest.raises(ValidationError, match=r"clean: older_than=.*: it must be a time, such as '30d'"):
        og.clean(path, older_than=older_than)
    with pytest.raises(ValidationError, match="clean: keep=0: the newest version always stays"):
        og.clean(path, keep=0)


def test_what_a_running_writer_needs_stays(path: Path) -> None:
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(piece(6))
        og.clean(path, keep=1)
        assert segments(path) == 5
    assert_identical(og.load(path), joined([*(piece(seed) for seed in range(4)), piece(6)]))


# ---- many versions ----
def test_lists_of_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "REPEATED_BYTES", 10_000)
    path = tmp_path / "a.zarr"
    pieces = [og.remove_gradients(piece(seed, keys=(0,))) for seed in range(30)]
    sizes = []
    for each in pieces:
        og.append(path, each)
        sizes.append((path / "commits" / f"{len(sizes) + 1:010d}.json").stat().st_size)
    lists = list(path.glob("commits/" + "[0-9a-f]" * 32 + ".json"))
    assert len(lists) > 2
    assert max(sizes) < 15_000
    assert_identical(og.load(path), joined(pieces))
    for version in (1, 17, 29):
        assert_identical(og.open(path, version=version), joined(pieces[:version]))
    og.restore(path, 12)
    assert_identical(og.load(path), joined(pieces[:12]))
    assert og.verify(path) == []
    for each in lists:
        os.utime(each, (1, 1))
    og.clean(path, keep=1)
    kept = open_archive(path).commit
    assert len(list(path.glob("commits/" + "[0-9a-f]" * 32 + ".json"))) == len(kept.lists) < len(lists)
    assert_identical(og.load(path), joined(pieces[:12]))
    og.compact(path)
    assert open_archive(path).commit.lists == ()
    assert_identical(og.load(path), joined(pieces[:12]))


@pytest.mark.parametrize("damage", ["removed", "changed", "another"])
def test_a_list_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(revision, "REPEATED_BYTES", 10)
    monkeypatch.setattr("outgrad.storage.zarr.commits._lists", og.storage.open_files.OpenFiles(1))
    path = tmp_path / "a.zarr"
    for seed in range(3):
        og.append(path, piece(seed))
    first, second = sorted(path.glob("commits/" + "[0-9a-f]" * 32 + ".json"))
    if damage == "removed":
        first.unlink()
    elif damage == "changed":
        first.write_bytes(first.read_bytes().replace(b"float64", b"float32"))
    else:
        first.write_bytes(second.read_bytes())
    monkeypatch.setattr("outgrad.storage.zarr.commits._lists", og.storage.open_files.OpenFiles(1))
    texts = {"removed": "is missing", "changed": "does not match its SHA-256", "another": "another list of"}
    with pytest.raises(ArchiveError, match=texts[damage]):
        og.load(path)
    assert any(texts[damage] in problem for problem in og.verify(path))


def test_a_folder_is_listed_while_a_version_is_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, missed = LocalStore.entries, [True]

    def entries(self: LocalStore, folder: str) -> list[Entry]:
        found = original(self, folder)
        if folder == "commits" and missed.pop(0):
            return [entry for entry in found if entry.name == "zarr.json"]
        return found

    monkeypatch.setattr(LocalStore, "entries", entries)
    for count in (1, 3):
        missed[:] = [True] * count + [False] * 100
        assert len(og.history(path)) == 4
        missed[:] = [True] * count + [False] * 100
        assert_identical(og.load(path), up_to(3))


def test_a_folder_cannot_be_listed_once_a_version_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = LocalStore.entries

    def entries(self: LocalStore, folder: str, prefix: str = "") -> list[Entry]:
        if folder == "segments" and (path / "commits" / "0000000005.json").exists():
            raise PermissionError(13, "injected", folder)
        return original(self, folder, prefix)

    monkeypatch.setattr(LocalStore, "entries", entries)
    with pytest.warns(ArchiveWarning, match=r"is there and complete, but .*injected"):
        og.save(path, piece(5), overwrite=True)
    monkeypatch.setattr(LocalStore, "entries", original)
    assert_identical(og.load(path), piece(5))
    og.clean(path)
    assert og.verify(path) == []
    assert segments(path) == 1


class Vanishing:
    """A file that is removed after its folder was listed."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self.name, self.is_dir, self.is_file = entry.name, entry.is_dir, entry.is_file
        Path(entry.path).unlink()

    def stat(self, **options: Any) -> os.stat_result:
        raise FileNotFoundError(self.name)


def test_a_file_goes_while_its_folder_is_listed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.scandir

    @contextmanager
    def scandir(folder: Any) -> Iterator[Iterator[Any]]:
        with original(folder) as listed:
            yield (Vanishing(each) if each.name == "0000000001.json" else each for each in listed)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        names = [entry.name for entry in LocalStore(path).entries("commits")]
    assert [name for name in names if name[0] == "0"] == [f"000000000{number}.json" for number in (2, 3, 4)]
    assert [each.version for each in og.history(path)] == [2, 3, 4]
    assert_identical(og.load(path), up_to(3))
