"""A writer of an archive that grows is held at any moment, while another one does all that it does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveConflictError, ValidationError
from outgrad.storage import files
from outgrad.storage.zarr import revision
from tests.support.archive_files import misplaced_files
from tests.support.faulty_disk import HeldDisk
from tests.support.many_writers import Content, Done, Writer, content_of, expected_contents, made

FIRST = ["append", "write", "compact", "restore", "save", "commit", "clean"]
SECOND = {
    "append": ["append"],
    "compact": ["compact"],
    "restore": ["restore"],
    "save": ["save"],
    "save twice": ["save", "save"],
    "commit": ["commit"],
    "clean": ["clean"],
    # The numbers of versions that were made meanwhile are free again.
    "append, and clean": ["append", "append", "clean"],
    "compact, append, and clean": ["compact", "append", "append", "clean"],
    "append, restore, and clean": ["append", "restore", "append", "clean"],
}
ENDING_APPENDS = {"save", "restore"}
"""What an append must not be added to."""


class Cleaner(Writer):
    keep = 1


def in_a_child(path: Path, names: list[str], into: Path) -> list[Done]:
    """What another process is told, which does one thing after the other."""
    child = os.fork()
    if not child:
        try:
            writer = Cleaner(path, 7)
            into.write_text(json.dumps([asdict(writer.call(name)) for name in names]))
        except BaseException as error:
            into.write_text(json.dumps(repr(error)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    found = json.loads(into.read_text())
    assert isinstance(found, list), found
    return [Done(**note) for note in found]


@pytest.fixture
def start(tmp_path: Path) -> tuple[Callable[[], Path], dict[int, Content], list[Done]]:
    """An archive of some versions, with data that were refused and fit now; and what is known of it."""
    before = tmp_path / "before" / "a.zarr"
    before.parent.mkdir()
    pairs: list[Content] = [[[0, number]] for number in (900, 901, 902)]
    for each in pairs[:2]:
        og.append(before, made(each))
    writer = og.ArchiveWriter(before, append=True)
    writer.append(made(pairs[2]))
    og.append(before, made(pairs[2]))
    with pytest.raises(ValidationError, match="is there already"):
        writer.close()
    (note,) = before.glob("segments/*/refused.json")
    og.restore(before, 2)
    contents = {1: pairs[0], 2: pairs[0] + pairs[1], 3: pairs[0] + pairs[1] + pairs[2]}
    contents[4] = contents[2]

    def fresh() -> Path:
        shutil.rmtree(tmp_path / "folder", ignore_errors=True)
        shutil.copytree(before.parent, tmp_path / "folder")
        return tmp_path / "folder" / "a.zarr"

    return fresh, contents, [Done("write", "there already", pairs[2], kept=note.parent.name)]


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("first", FIRST)
def test_another_writer_finishes_in_every_window(
    start: Any, tmp_path: Path, first: str, second: str, rounds: Any, tally: Any
) -> None:
    fresh, contents, refused = start
    chance = np.random.default_rng(sum(map(ord, first + second)))

    def held(path: Path, at: int | None) -> tuple[list[Done], int]:
        others: list[Done] = []

        def meanwhile() -> None:
            others.extend(in_a_child(path, SECOND[second], tmp_path / "told"))

        disk = HeldDisk(at, meanwhile)
        with disk(), dask.config.set({"scheduler": "synchronous", "outgrad.durable": False}):
            note = Cleaner(path, 3).call(first)
        return [note, *others], len(disk.names)

    _, count = held(fresh(), None)
    for at in sorted(chance.permutation(count)[: rounds(1, count)].tolist()):
        path = fresh()
        notes, _ = held(path, at)
        where = f"{first} held at {at} of {count}, {[(note.call, note.told) for note in notes]}"
        if first in ("append", "write") and not ENDING_APPENDS.intersection(SECOND[second]):
            assert notes[0].told == "done", where
        expected, withdrawn = expected_contents(contents, [*refused, *notes])
        listed = [each.version for each in og.history(path)]
        assert listed[-1] == max(set(expected) - withdrawn), where
        for version in listed:
            assert content_of(og.open(path, version=version).compute()) == expected[version], where
        og.clean(path)
        assert og.verify(path) == [], where
        kept = {note.parent.name for note in path.glob("segments/*/refused.json")}
        assert [each for each in misplaced_files(path) if not any(name in each for name in kept)] == [], where
        tally(f"{first}: {notes[0].told}")


def test_what_others_have_added_to_cannot_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two outputs one is there, and before the other fails somebody appends to it."""
    path, other = tmp_path / "a.zarr", tmp_path / "b.mts"
    original = files.publish_new

    def publish(source: Path, target: Path) -> None:
        if target.suffix == ".mts":
            monkeypatch.undo()
            in_a_child(path, ["append"], tmp_path / "told")
            raise OSError(5, "injected")
        original(source, target)

    monkeypatch.setattr(files, "publish_new", publish)
    with pytest.raises(OSError, match="injected") as caught:
        og.save_all({path: made([[0, 900]]), other: made([[0, 900]])})
    notes = " ".join(caught.value.__notes__)
    assert "a.zarr was written, and could not be taken back" in notes
    assert "another writer has added to version 1 already" in notes
    assert [0, 900] in content_of(og.load(path))
    assert len(og.history(path)) == 2
    assert og.verify(path) == []
    og.clean(path)
    assert misplaced_files(path) == []


def test_numbers_of_versions_are_not_used_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a writer is held before it publishes, the version that it collides with is made and removed."""
    path = tmp_path / "a.zarr"
    og.append(path, made([[0, 900]]))
    original = revision.Revision.publish

    def late(self: Any) -> None:
        monkeypatch.setattr(revision.Revision, "publish", original)
        in_a_child(path, ["append", "append", "clean"], tmp_path / "told")
        original(self)

    monkeypatch.setattr(revision.Revision, "publish", late)
    og.append(path, made([[0, 901]]))
    assert [0, 901] in content_of(og.load(path))
    assert og.history(path)[-1].version == 4


def test_what_is_restored_is_not_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zarr"
    for number in (900, 901):
        og.append(path, made([[0, number]]))
    og.compact(path)
    original = revision.Revision._stage_on

    def late(self: Any, base: Any) -> None:
        in_a_child(path, ["clean"], tmp_path / "told")
        original(self, base)

    monkeypatch.setattr(revision.Revision, "_stage_on", late)
    with pytest.raises(ArchiveConflictError, match="somebody has removed version 1 in the meantime"):
        og.restore(path, 1)
    assert content_of(og.load(path)) == [[0, 900], [0, 901]]
    assert misplaced_files(path) == []
