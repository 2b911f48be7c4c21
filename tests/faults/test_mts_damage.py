"""Damaged ``.mts`` files: what is read is what was written, or an error is raised, by all ways of reading."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.damaged_mts import read_all, saved

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]


def span(rng: np.random.Generator, size: int, most: int = 400) -> tuple[int, ...]:
    start = int(rng.integers(0, size))
    return start, min(size, start + int(rng.integers(1, most)))


def flip(rng: np.random.Generator, raw: bytes) -> bytes:
    at = int(rng.integers(0, len(raw)))
    return raw[:at] + bytes([raw[at] ^ 1 << int(rng.integers(0, 8))]) + raw[at + 1 :]


def flips(rng: np.random.Generator, raw: bytes) -> bytes:
    for _ in range(int(rng.integers(2, 20))):
        raw = flip(rng, raw)
    return raw


def truncate(rng: np.random.Generator, raw: bytes) -> bytes:
    return raw[: int(rng.integers(0, len(raw)))]


def cut(rng: np.random.Generator, raw: bytes) -> bytes:
    start, stop = span(rng, len(raw))
    return raw[:start] + raw[stop:]


def zero(rng: np.random.Generator, raw: bytes) -> bytes:
    start, stop = span(rng, len(raw))
    return raw[:start] + bytes(stop - start) + raw[stop:]


def noise(rng: np.random.Generator, raw: bytes) -> bytes:
    start, stop = span(rng, len(raw))
    return raw[:start] + rng.bytes(stop - start) + raw[stop:]


def double(rng: np.random.Generator, raw: bytes) -> bytes:
    start, stop = span(rng, len(raw))
    return raw[:stop] + raw[start:stop] + raw[stop:]


def overwrite(rng: np.random.Generator, raw: bytes) -> bytes:
    """A range is written where another should be, as by a disk that mixes up blocks."""
    start, stop = span(rng, len(raw), 4096)
    at = int(rng.integers(0, len(raw) - (stop - start) + 1))
    return raw[:at] + raw[start:stop] + raw[at + stop - start :]


def swap(rng: np.random.Generator, raw: bytes) -> bytes:
    (a, b), (c, d) = sorted([span(rng, len(raw)), span(rng, len(raw))])
    b = min(b, c)
    return raw[:a] + raw[c:d] + raw[b:c] + raw[a:b] + raw[d:]


def append(rng: np.random.Generator, raw: bytes) -> bytes:
    return raw + (raw if rng.random() < 0.3 else rng.bytes(int(rng.integers(1, 100))))


def prepend(rng: np.random.Generator, raw: bytes) -> bytes:
    return rng.bytes(int(rng.integers(1, 100))) + raw


def end(rng: np.random.Generator, raw: bytes) -> bytes:
    """Flip a bit of the directory, which is a small part of the file."""
    at = raw.index(b"PK\1\2")
    return raw[:at] + flip(rng, raw[at:])


KINDS = [flip, flips, truncate, cut, zero, noise, double, overwrite, swap, append, prepend, end]


@pytest.mark.parametrize("method", METHODS, ids=["stored", "deflated"])
def test_damaged_files(
    tmp_path: Path, method: int, rounds: Callable[..., Any], tally: Callable[..., Any]
) -> None:
    good = saved(tmp_path, method)
    raw = good.read_bytes()
    paths, kinds = [], {}
    for number in range(rounds(36, 1000)):
        rng = np.random.default_rng([number, method])
        kind = KINDS[number % len(KINDS)]
        paths.append(tmp_path / f"{number}-{kind.__name__}.mts")
        paths[-1].write_bytes(kind(rng, raw))
        kinds[paths[-1].name] = kind.__name__
    found = read_all(good, paths)
    for what in found.values():
        tally(what.split()[0])
    wrong = {name: what for name, what in found.items() if what not in ("equal", "refused")}
    assert wrong == {}
    assert len(found) == len(paths)
    refused = sum(what == "refused" for what in found.values())
    assert refused > len(paths) / 2
