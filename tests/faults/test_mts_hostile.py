"""Hostile ``.mts`` files: refused by a named error, or read as if nothing were wrong; never worse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.damaged_mts import read_all, saved
from tests.support.hostile_mts import hostile


def test_hostile_files(tmp_path: Path, rounds: Callable[..., Any], tally: Callable[..., Any]) -> None:
    """In a process with little memory, and seconds for each file."""
    good = saved(tmp_path)
    paths = []
    for number in range(rounds(60, 2000)):
        kind, raw = hostile(number, good)
        paths.append(tmp_path / f"{number}-{kind}.mts")
        paths[-1].write_bytes(raw)
    found = read_all(good, paths)
    for what in found.values():
        tally(what.split()[0])
    assert {name: what for name, what in found.items() if what not in ("equal", "refused")} == {}
    assert len(found) == len(paths)
    assert sum(what == "refused" for what in found.values()) > len(paths) / 2


@pytest.mark.parametrize("seed", range(2))
def test_the_files_are_made_again_from_their_number(tmp_path: Path, seed: int) -> None:
    good = saved(tmp_path)
    assert hostile(seed, good) == hostile(seed, good)
