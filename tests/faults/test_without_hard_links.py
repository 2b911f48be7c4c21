"""File systems without hard links, and those that lose replies: one writer makes a name, and is told so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.storage import leases
from outgrad.storage.local_store import LocalStore
from tests.support.faulty_disk import FaultyDisk, HeldDisk, killed, refuse_links

MAP = og.TensorMap(og.Labels.single(), [og.block_from_array(np.ones((3, 2)), sample_names=["system"])])


@pytest.fixture
def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)


def publish(target: Path, content: str) -> str:
    """Give a file its name; what the caller is told."""
    staged = LocalStore(target.parent).stage(target.name, content.encode(), leases.new_token())
    try:
        staged.publish()
    except FileExistsError:
        return "taken"
    finally:
        staged.discard()
    return "done"


def in_a_child(target: Path, content: str, at: float = 0.0) -> tuple[int, Path]:
    answer = target.parent.parent / content
    child = os.fork()
    if not child:
        try:
            while time.time() < at:
                pass
            answer.write_text(publish(target, content))
        finally:
            os._exit(0)
    return child, answer


def answers(children: list[tuple[int, Path]]) -> dict[str, str]:
    for child, _ in children:
        os.waitpid(child, 0)
    return {answer.name: answer.read_text() for _, answer in children}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "0000000001.json"


@pytest.mark.usefixtures("_no_links")
def test_one_of_several_gets_a_name(target: Path, rounds: Any, tally: Any) -> None:
    for _ in range(rounds(10, 300)):
        start = time.time() + 0.02
        told = answers([in_a_child(target, f"writer {number}", start) for number in range(4)])
        winners = [name for name, text in told.items() if text == "done"]
        assert len(winners) <= 1, told
        if winners:
            assert target.read_text() == winners[0]
            assert publish(target, "late") == "taken"
        else:  # each saw the others at work, beside a folder that was just being removed
            assert publish(target, "late") == "done"
        tally(f"winners: {len(winners)}")
        assert [path.name for path in target.parent.iterdir()] == [target.name]
        target.unlink()


@pytest.mark.usefixtures("_no_links")
@pytest.mark.parametrize("is_claimed", [False, True])
def test_another_writer_finishes_in_every_window(target: Path, is_claimed: bool) -> None:
    """Also beside what a writer that was killed has left."""
    at, count = 0, 1
    while at < count:
        if is_claimed:
            (target.parent / leases.claim_name(target.name)).mkdir()
        other: dict[str, str] = {}
        disk = HeldDisk(at, lambda into=other: into.update(answers([in_a_child(target, "other")])))
        with disk():
            told = publish(target, "first")
        count = len(disk.names)
        assert (told, other["other"]).count("done") <= 1, at
        if "done" in (told, other["other"]):
            assert target.read_text() == ("first" if told == "done" else "other"), at
        else:
            assert publish(target, "late") == "done"
        assert [path.name for path in target.parent.iterdir()] == [target.name], at
        target.unlink()
        at += 1
    assert count > 5


@pytest.mark.usefixtures("_no_links")
def test_who_is_killed_is_not_in_the_way(target: Path) -> None:
    at, is_killed = 0, True
    while is_killed:
        is_killed = killed(FaultyDisk("kill", at), lambda: publish(target, "first"))
        there = target.exists()
        assert publish(target, "second") == ("taken" if there else "done"), at
        assert target.read_text() == ("first" if there else "second")
        LocalStore(target.parent).remove(target.name)
        for path in target.parent.glob(".*.partial"):
            path.unlink()
        assert list(target.parent.iterdir()) == [], at
        at += 1
    assert at > 5


@pytest.mark.usefixtures("_no_links")
@pytest.mark.parametrize("name", ["a.zarr", "a.mts"])
def test_what_a_killed_writer_claimed_is_cleaned(tmp_path: Path, name: str) -> None:
    disk = FaultyDisk()
    with disk():
        og.save(tmp_path / name, MAP)
    claims = 0
    for at in [at for at, change in enumerate(disk.names) if change == "replace"]:
        path = tmp_path / f"{at}" / name
        path.parent.mkdir()
        assert killed(FaultyDisk("kill", at), lambda into=path: og.save(into, MAP))
        claims += len(list(path.parent.rglob("*.claim")))
        og.clean(path)
        assert not list(path.parent.rglob("*.claim")), at
        assert not list(path.parent.rglob("*.partial")), at
    assert claims > 0


def test_a_folder_of_the_user_is_not_a_claim(tmp_path: Path) -> None:
    og.append(tmp_path / "a.zarr", MAP)
    mine = tmp_path / "a.zarr" / ".mine.claim"
    mine.mkdir()
    (mine / "notes").write_text("precious")
    og.clean(tmp_path / "a.zarr")
    assert (mine / "notes").read_text() == "precious"


@pytest.mark.parametrize("name", ["a.zarr", "a.mts"])
@pytest.mark.parametrize("error", [FileExistsError(17, "File exists"), TimeoutError(110, "timed out")])
def test_a_lost_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: OSError) -> None:
    """NFS repeats a request whose answer was lost, and then says that the name is taken."""
    original = os.link

    def lose(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        raise error

    monkeypatch.setattr(os, "link", lose)
    path = tmp_path / name
    og.save(path, MAP)
    assert og.equal(og.load(path), MAP)
    if name == "a.zarr":
        og.append(path, MAP, shift={"system": 3})
        assert len(og.load(path).block()) == 6
        assert [each.action for each in og.history(path)] == ["save", "append"]
    assert not list(tmp_path.rglob("*.partial"))


def test_listings_that_are_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of another client is not listed for some seconds, and its name is taken."""
    path = tmp_path / "a.zarr"
    og.append(path, MAP)
    stale = LocalStore(path).entries("commits")
    og.append(path, MAP, shift={"system": 3})
    original, until = LocalStore.entries, time.monotonic() + 0.5

    def entries(self: Any, folder: str) -> Any:
        return stale if folder == "commits" and time.monotonic() < until else original(self, folder)

    monkeypatch.setattr(LocalStore, "entries", entries)
    og.append(path, MAP, shift={"system": 6})
    assert len(og.load(path).block()) == 9
