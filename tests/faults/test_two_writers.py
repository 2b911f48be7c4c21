"""Two writers of one archive: what is there is what a writer was told it has written, and no other."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveConflictError, ArchiveExistsError
from tests.support.faulty_disk import CHANGES


def made(value: float) -> og.TensorMap:
    return og.TensorMap(og.Labels.single(), [og.block_from_array(np.full((30, 4), value))])


def value_at(path: Path) -> float:
    found = np.unique(og.load(path).block().values)
    assert found.size == 1
    return float(found[0])


def writes(path: Path, value: float) -> str:
    """Save over whatever is there; what the caller is told."""
    try:
        og.save(path, made(value), overwrite=True)
    except ArchiveConflictError:
        return "lost"
    return "done"


def in_a_child(function: Callable[[], str]) -> tuple[int, int]:
    """Call a function in a child: its number, and where its answer comes."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            os.write(writing, function().encode())
        except BaseException as error:
            os.write(writing, f"failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def answer(child: tuple[int, int]) -> str:
    number, reading = child
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(number, 0)
    return text


def later(path: Path, value: float, seconds: float) -> Callable[[], str]:
    def run() -> str:
        time.sleep(seconds)
        return writes(path, value)

    return run


@pytest.mark.parametrize("is_new", [False, True])
def test_two_writers_at_random_moments(tmp_path: Path, is_new: bool, rounds: Any, tally: Any) -> None:
    path = tmp_path / "a.zarr"
    for number in range(rounds(5, 100)):
        if is_new:
            shutil.rmtree(path, ignore_errors=True)
        else:
            og.save(path, made(0.0), overwrite=True)
        values = (2.0 * number + 1, 2.0 * number + 2)
        children = [in_a_child(later(path, value, random.uniform(0, 0.03))) for value in values]
        told = dict(zip(values, map(answer, children), strict=True))
        assert set(told.values()) <= {"done", "lost"}, told
        assert told[value_at(path)] == "done"
        assert og.verify(path) == []
        assert not list(path.rglob("*.partial"))
        assert len(list((path / "segments").glob("*/"))) == 1
        tally("both, one after the other" if set(told.values()) == {"done"} else "one lost, and was told")


def _held(name: str, number: int, original: Callable[..., Any], meanwhile: Callable[[], None]) -> Any:
    """Before change number ``number`` of a writer, another one does all that it does."""
    count = [0]

    def changed(*arguments: Any, **options: Any) -> Any:
        if not (name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR)):
            if count[0] == number:
                count[0] += 1
                meanwhile()
            count[0] += 1
        return original(*arguments, **options)

    return changed, count


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_another_writer_finishes_in_every_window(
    tmp_path: Path, name: str, is_new: bool, times: int, rounds: Any, tally: Any
) -> None:
    """Twice, it also takes away the commit that the first would collide with."""
    path = tmp_path / "a.zarr"

    def second() -> str:
        return [writes(path, 2.0) for _ in range(times)][-1]

    def before() -> None:
        shutil.rmtree(path, ignore_errors=True)
        if not is_new:
            og.save(path, made(0.0))

    def save_with(number: int) -> tuple[str, str, int]:
        other: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            original = getattr(os, name)

            def meanwhile() -> None:
                patch.setattr(os, name, original)
                other.append(answer(in_a_child(second)))
                patch.setattr(os, name, changed)

            changed, count = _held(name, number, original, meanwhile)
            patch.setattr(os, name, changed)
            told = writes(path, 1.0)
        return told, "".join(other), count[0]

    before()
    _, _, count = save_with(-1)
    for number in range(0, count, rounds(max(1, count // 2), 1)):
        before()
        told, other, _ = save_with(number)
        found = value_at(path)
        assert {"done", "lost"} >= {told, other}, (number, told, other)
        assert (told if found == 1.0 else other) == "done", (number, told, other, found)
        if {told, other} == {"done"}:
            assert found in (1.0, 2.0)
        assert og.verify(path) == []
        assert not list(path.rglob("*.partial")), number
        assert writes(path, 3.0) == "done"
        assert len(list((path / "segments").glob("*/"))) == 1
        tally(f"first {told}, second {other}")


def test_who_fails_removes_nothing_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    first = og.ArchiveWriter(path, overwrite=True)
    first.append(made(1.0))
    og.save(path, made(2.0), overwrite=True)
    with pytest.raises(ArchiveConflictError, match="another writer has finished version 1 since this"):
        first.close()
    assert value_at(path) == 2.0
    assert og.verify(path) == []


def test_a_writer_at_work_is_not_joined_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with og.ArchiveWriter(path) as first:
        first.append(made(1.0))
        with pytest.raises(ArchiveExistsError, match="another writer is at work there, and has not finished"):
            og.save(path, made(2.0))
    assert value_at(path) == 1.0
