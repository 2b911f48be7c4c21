"""Commits with the right SHA-256 that say anything: the same data or an error, in bounded memory and time."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.errors import ArchiveError, MemoryLimitError
from tests.support.forging import (
    Forgery,
    content,
    own_arrays,
    read_commit,
    shared_arrays,
    single_chunks,
    write_commit,
)

MOST_BYTES = 64 * 2**20
"""Python's objects and NumPy's arrays at the peak, where archive and commit have less than 1 MB."""
HANGS_SECONDS = 60


@pytest.fixture(scope="module")
def originals(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    shared_arrays(folder / "shared.zarr")
    own_arrays(folder / "own.zarr")
    single_chunks(folder / "single.zarr")
    return folder


@pytest.fixture
def copied(originals: Path, tmp_path: Path) -> Callable[..., Any]:
    """A copy of an original, in which tests change the commit, and nothing else."""

    def made(name: str) -> Path:
        path = tmp_path / name
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(originals / name, path)
        return path

    return made


def values(rng: np.random.Generator) -> list[Any]:
    """What may stand at any place of a commit."""
    number = int(rng.integers(-3, 40))
    return [
        None,
        True,
        0,
        1,
        -1,
        number,
        2**31 - 1,
        2**31,
        2**32,
        10**9,
        2**53,
        2**62,
        2**63,
        10**30,
        10**4000,
        0.0,
        1.5,
        -0.0,
        1e300,
        float("nan"),
        float("inf"),
        "",
        "x",
        "..",
        "/etc/passwd",
        "\ud800",
        "\0",
        "ä" * 300,
        "a/" * 200 + "b",
        "y" * 10**5,
        [],
        {},
        [0],
        [0, 0],
        [2**40, 2**40],
        [[]],
        [None],
        {"": 0},
        {"name": "bytes"},
        [number] * 3,
        [10**12] * 40,
        list(range(5000)),
        nested(300),
    ]


def nested(depth: int) -> list[list[Any]]:
    found = []
    for _ in range(depth):
        found = [found]
    return found


def places(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, child in children:
        yield from places(child, (*here, step))


def at(node: dict[str, Any], place: tuple[Any, ...]) -> Any:
    for step in place:
        node = node[step]
    return node


def mutate(rng: np.random.Generator, commit: dict[str, Any]) -> tuple[Any, ...]:
    """Change one place: another value, gone, there twice, in another order, or that of another place."""
    every = [place for place in places(commit) if place]
    # Checksums are most places of all, and all alike.
    few = [place for place in every if "crc32c" not in place] if rng.integers(10) else every
    place = few[rng.integers(len(few))]
    parent, step = at(commit, place[:-1]), place[-1]
    how = rng.integers(10)
    if how == 0:
        del parent[step]
    elif how == 1 and isinstance(parent, list):
        parent.insert(int(rng.integers(len(parent) + 1)), copy.deepcopy(parent[step]))
    elif how == 2 and isinstance(parent[step], list):
        parent[step].reverse()
    elif how == 3:
        parent[step] = copy.deepcopy(at(commit, few[rng.integers(len(few))]))
    elif how == 4 and type(parent[step]) is int:
        parent[step] += int(rng.choice([-1, 1, 2, 10**3, 10**9, 2**40]))
    elif how == 5 and isinstance(parent[step], list):
        parent[step] = parent[step] * 50
    else:
        choices = values(rng)
        parent[step] = choices[rng.integers(len(choices))]
    return place


def hostile_text(rng: np.random.Generator, commit: dict[str, Any]) -> bytes:
    """The JSON of a changed commit; sometimes what no writer of JSON makes."""
    mutate(rng, commit)
    while rng.integers(4) == 0:
        mutate(rng, commit)
    text = dumps(commit)
    how = rng.integers(12)
    if how == 0:
        text = text.replace('"format":', '"format":1,"format":', 1)
    elif how == 1:
        place = int(rng.integers(len(text)))
        put = ["[" * 10**5, "{", '"', "9" * 5000, "\\ud800", "\ufeff", "NaN"][rng.integers(7)]
        text = text[:place] + put + text[place:]
    return text.encode("utf-8", "surrogatepass")


def dumps(commit: dict[str, Any]) -> str:
    return json.dumps(commit, separators=(",", ":"))


def guarded(call: Callable[..., Any], is_traced: bool = True) -> tuple[Any, ...]:
    """What a call gives, with the bytes at the peak, which take time to count; a hang is an error."""

    def stop(number: Any, frame: Any) -> None:
        raise AssertionError(f"it took more than {HANGS_SECONDS} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_SECONDS)
    if is_traced:
        tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def data_of(path: Path) -> list[Any] | str:
    """All but the texts, which a commit may change."""
    try:
        found = content(og.load(path))
    except (ArchiveError, MemoryLimitError) as error:
        return str(error)
    return [*found[:2], *found[3:]]


def lines_of(path: Path) -> list[Any]:
    try:
        return og.verify(path)
    except ArchiveError as error:
        return [str(error)]


def judged(path: Path, right: list[Any]) -> str:
    """``refused`` or ``same``, or what is wrong."""
    found, peak = guarded(lambda: data_of(path))
    lines, again = guarded(lambda: lines_of(path))
    if max(peak, again) > MOST_BYTES:
        return f"{max(peak, again)} bytes"
    if isinstance(found, str):
        return "refused" if lines else "not reported"
    return "same" if found == right else "silent"


def test_commits_that_say_anything(
    originals: Path, copied: Callable[..., Any], rounds: Callable[..., Any], tally: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(77)
    names = ["shared.zarr", "own.zarr"]
    right = {name: data_of(originals / name) for name in names}
    commits = {name: read_commit(originals / name) for name in names}
    paths = {name: copied(name) for name in names}
    wrong = []
    for count in range(rounds(60, 2000)):
        name = names[rng.integers(2)]
        text = hostile_text(rng, copy.deepcopy(commits[name]))
        write_commit(paths[name], text)
        found = judged(paths[name], right[name])
        tally(found)
        if found not in ("refused", "same"):
            wrong.append((count, name, found))
    assert not wrong


def huge_arrays(forgery: Forgery) -> Iterator[tuple[int, ...]]:
    """Arrays of sizes that no file bears out, with a manifest that agrees."""
    for number in range(len(forgery.segment["arrays"])):
        for shape, chunk_rows in (
            (2**20, 2**20),
            (2**22, 2**22),
            (2**40, 2**40),
            (2**40, 2**38),
            (2**50, 2**50),
            (2**31, 2**31),
            (10**7, 10),
            (10**9, 10),
        ):
            yield number, shape, chunk_rows


def test_arrays_that_no_file_bears_out(
    originals: Path, copied: Callable[..., Any], rounds: Callable[..., Any], tally: Callable[..., Any]
) -> None:
    """Shapes, chunks, tables and the manifest all say the same of rows that are not there."""
    for name in ("own.zarr", "single.zarr"):
        right = data_of(originals / name)
        path = copied(name)
        commit = read_commit(path)
        found = list(huge_arrays(Forgery(path)))
        np.random.default_rng(3).shuffle(found)
        for number, rows, chunk_rows in found[: rounds(8, len(found))]:
            changed = copy.deepcopy(commit)
            enlarge(changed["segments"][0], int(number), int(rows), int(chunk_rows))
            write_commit(path, dumps(changed).encode())
            outcome = judged(path, right)
            tally(outcome)
            assert outcome == "refused", (name, number, rows, chunk_rows)


def enlarge(segment: dict[str, Any], number: int, rows: int, chunk_rows: int) -> None:
    """Say of the blocks and tables in an array, and of the manifest, what fits these rows."""
    array = segment["arrays"][number]
    before = array["shape"][0]
    array.update(shape=[rows, *array["shape"][1:]], chunk_rows=chunk_rows)
    for table in segment["tables"]:
        if table[2] == before:
            table[2] = rows
            if table[0] != number:
                labels = segment["arrays"][table[0]]
                labels["shape"][0] = rows
                labels["chunk_rows"] = max(chunk_rows, labels["chunk_rows"])
    manifest = segment["chunks"]
    count = sum(-(-a["shape"][0] // a["chunk_rows"]) for a in segment["arrays"])
    manifest.update(shape=[count, 2], chunk_rows=count, crc32c=manifest["crc32c"][:1])


def many_names(segment: dict[str, Any]) -> None:
    segment["names"].append([f"n{number}" for number in range(30_000)])


def many_blocks(segment: dict[str, Any]) -> None:
    segment["blocks"] = segment["blocks"] * 1_000


def many_arrays(segment: dict[str, Any]) -> None:
    one = segment["arrays"][0]
    segment["arrays"] += [{**one, "path": "a/" * 100 + str(number)} for number in range(5_000)]


def many_edges(segment: dict[str, Any]) -> None:
    block = segment["blocks"][0]
    for part in (block, block["gradients"][0][1], block["gradients"][0][1]["gradients"][0][1]):
        part["edges"] = [0] * 50_000 + [segment["tables"][part["samples"]][2]]


def many_gradients(segment: dict[str, Any]) -> None:
    block = segment["blocks"][0]
    block["gradients"] = [[f"g{number}", block["gradients"][0][1]] for number in range(3_000)]


def deep_gradients(segment: dict[str, Any]) -> None:
    gradient = segment["blocks"][0]["gradients"][0][1]
    for _ in range(200):
        gradient = {**gradient, "gradients": [["g", gradient]]}
    segment["blocks"][0]["gradients"] = [["g", gradient]]


def long_texts(segment: dict[str, Any]) -> None:
    segment["arrays"][0]["path"] = "a" * 10**6
    segment["names"].append(["a" * 10**6])


@pytest.mark.parametrize(
    "change", [many_names, many_blocks, many_arrays, many_edges, many_gradients, deep_gradients, long_texts]
)
def test_commits_with_a_lot_of_something(
    originals: Path, copied: Callable[..., Any], tally: Callable[..., Any], change: Callable[..., Any]
) -> None:
    path = copied("shared.zarr")
    commit = read_commit(path)
    change(commit["segments"][0])
    write_commit(path, dumps(commit).encode())
    found, _ = guarded(lambda: data_of(path), is_traced=False)
    lines, _ = guarded(lambda: lines_of(path), is_traced=False)
    is_refused = isinstance(found, str)
    tally("refused" if is_refused else "same")
    assert is_refused or found == data_of(originals / "shared.zarr")
    assert lines or not is_refused


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 10**6,
        b'{"format":' * 10**5,
        b"9" * 10**6,
        b'{"format":"outgrad-archive","format_version":' + b"9" * 10**6 + b"}",
        b'{"format":"outgrad-archive","format_version":NaN}',
        b'{"format":"outgrad-archive","format":"outgrad-archive","format_version":1}',
        b'{"format":"outgrad-archive","format_version":1e999}',
        b'{"format":"\\ud800","format_version":1}',
        "{}".encode("utf-16"),
    ],
    ids=range(13),
)
def test_commits_that_are_none(copied: Callable[..., Any], body: bytes) -> None:
    path = copied("shared.zarr")
    write_commit(path, body)
    assert isinstance(data_of(path), str)
    assert lines_of(path)
