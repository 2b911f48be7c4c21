"""Many writers and readers of one archive at once: what each version holds is what its writers were told."""

from __future__ import annotations

import json
import os
import random
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dask
import pytest

import outgrad as og
from outgrad.errors import ArchiveError
from tests.support.archive_files import misplaced_files
from tests.support.many_writers import Done, Writer, content_of, expected_contents, known, made


def read(path: Path, number: int, seconds: float) -> list[Done]:
    """Open versions and read all of them; what is found is compared when all is over."""
    chance, until, notes = random.Random(number), time.monotonic() + seconds, []
    while time.monotonic() < until:
        note = Done("read")
        try:
            version = chance.choice([each.version for each in og.history(path)][-2:])
            opened = og.open(path, version=version)
            if chance.random() < 0.3:
                time.sleep(0.05)
            note.pairs = content_of(opened.compute())
            note.restored, note.told = version, "read"
        except ArchiveError as error:
            note.told = known(error)
        notes.append(note)
    return notes


def started(function: Callable[[], list[Done]], into: Path) -> int:
    """Run a function in a child, which writes down what it returns; the number of the child."""
    child = os.fork()
    if child:
        return child
    try:
        with dask.config.set({"scheduler": "synchronous", "outgrad.durable": False}):
            into.write_text(json.dumps([asdict(note) for note in function()]))
    except BaseException:
        into.write_text(json.dumps(traceback.format_exc()))
    finally:
        os._exit(0)


@pytest.mark.parametrize("writers", [2, 5])
def test_many_writers_and_readers(tmp_path: Path, writers: int, rounds: Any, tally: Any) -> None:
    path = tmp_path / "a.zarr"
    start = [[0, 900]]
    og.append(path, made(start))
    seconds = rounds(5, 60)
    functions: list[Callable[[], list[Done]]] = [
        Writer(path, number, seconds).run for number in range(writers)
    ]
    functions += [lambda number=number: read(path, number, seconds) for number in range(2)]
    files = [tmp_path / f"{number}.json" for number in range(len(functions))]
    children = [started(function, file) for function, file in zip(functions, files, strict=True)]
    for child in children:
        os.waitpid(child, 0)
    found = [json.loads(file.read_text()) for file in files]
    failures = [each for each in found if isinstance(each, str)]
    assert not failures, "\n".join(failures)
    notes = [Done(**note) for each in found for note in each]
    for note in notes:
        tally(f"{note.call}: {note.told}")
    contents, withdrawn = expected_contents({1: start}, notes)
    for note in notes:
        if note.told == "read":
            assert note.pairs == contents[note.restored], f"version {note.restored}"
    listed = [each.version for each in og.history(path)]
    assert listed[-1] == max(contents)
    assert not withdrawn.intersection(listed)
    for version in listed:
        assert content_of(og.open(path, version=version).compute()) == contents[version]
    og.clean(path)
    assert og.verify(path) == []
    kept = {note.parent.name for note in path.glob("segments/*/refused.json")}
    odd = [each for each in misplaced_files(path) if not any(name in each for name in kept)]
    assert odd == []
