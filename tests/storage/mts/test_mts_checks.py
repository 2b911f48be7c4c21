"""Damage of an array that is read in pieces: found before the first piece is used, once in a process."""

from __future__ import annotations

import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad.errors import FileFormatError
from outgrad.storage.mts import checks as mts_checks
from outgrad.storage.mts.checks import MemberChecks
from outgrad.storage.mts.file import MtsBytes, MtsFile
from outgrad.storage.mts.members import MemberBytes
from outgrad.storage.mts.names import layout_members
from outgrad.storage.mts.zip import Member, read_directory

SMALL = {"outgrad.chunk-bytes": "64 KiB"}


def saved(path: Path, method: int = zipfile.ZIP_STORED) -> Path:
    """A file with a block of 4 MiB and a gradient, which are read in many pieces."""
    rng = np.random.default_rng(0)
    block = og.TensorBlock(
        rng.integers(0, 100, (1 << 15, 8)).astype(float),
        og.Labels(["system", "atom"], np.stack(np.divmod(np.arange(1 << 15), 32), axis=1)),
        [],
        og.Labels.range("n", 8),
    )
    rows = np.repeat(np.arange(1 << 15), 2)
    samples = og.Labels(["sample", "k"], np.stack([rows, np.arange(len(rows)) % 2], axis=1))
    below = og.TensorBlock(rng.random((len(rows), 8)), samples, [], og.Labels.range("n", 8))
    block.add_gradient("x", below)
    plain = path.with_suffix(".plain.mts")
    og.save(plain, block)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", method) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return path


def flipped(path: Path, name: str, place: float = 0.6) -> None:
    """Flip a bit of a member."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    start = info.header_offset + 30 + len(name)
    content[start + 256 + int(place * (info.compress_size - 512))] ^= 1
    path.write_bytes(content)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Names of the members that were read to their end, each time."""
    names = []
    join = mts_checks._Pass.join

    def counting(self: Any) -> Any:
        names.append(self._member.name)
        return join(self)

    monkeypatch.setattr(mts_checks._Pass, "join", counting)
    return names


def first_rows(path: Path) -> np.ndarray:
    """The first piece of a file, which is far from the damage."""
    with dask.config.set(SMALL):
        block = og.open(path, target_bytes="64 KiB")
        assert block.values.numblocks[0] > 8
        return block.values[:10].compute()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["values.npy", "gradients/x/values.npy"])
def test_a_flipped_bit_far_from_the_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int, name: str
) -> None:
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", 1 << 16)
    path = saved(tmp_path / "in.mts", method)
    flipped(path, name)
    with pytest.raises(FileFormatError, match=rf"'{name}' in .*in.mts'.*(checksum|compressed data)"):
        first_rows(path)
    with pytest.raises(FileFormatError, match=rf"'{name}' in "):
        og.save(tmp_path / "out.mts", og.multiply(og.open(path, target_bytes="64 KiB"), 2.0))
    assert not (tmp_path / "out.mts").exists()


def test_members_are_read_to_their_end_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[Any]
) -> None:
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", 1 << 16)
    path = saved(tmp_path / "in.mts")
    expected = og.load_block(path.with_suffix(".plain.mts")).values[:10]
    passes.clear()
    for _ in range(3):
        np.testing.assert_array_equal(first_rows(path), expected)
    assert set(passes) == {"values.npy", "gradients/x/values.npy"}
    seen = len(passes)
    og.open(path, target_bytes="64 KiB").compute()
    assert len(passes) == seen


def test_a_file_that_was_replaced_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[Any]
) -> None:
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", 1 << 16)
    path = saved(tmp_path / "in.mts")
    first_rows(path)
    flipped(path, "values.npy")
    with pytest.raises(FileFormatError, match="its checksum is"):
        first_rows(path)


def test_the_check_can_be_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[Any]
) -> None:
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", 1 << 16)
    path = saved(tmp_path / "in.mts")
    flipped(path, "values.npy")
    with dask.config.set({"outgrad.mts-checks": "never"}):
        unchecked = og.open(path, target_bytes="64 KiB")
        first_rows(path)
    assert passes == []
    checked = og.open(path, target_bytes="64 KiB")
    names = [set(block.values.__dask_graph__()) for block in (unchecked, checked)]
    assert not names[0] & names[1]
    unchecked.values.compute()
    assert og.verify(path) != []
    wrong = pytest.raises(
        ValueError, match=r"outgrad.mts-checks is 'sometimes'; it must be 'once' or 'never'"
    )
    with dask.config.set({"outgrad.mts-checks": "sometimes"}), wrong:
        og.open(path)


@pytest.mark.cluster
def test_workers_check_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outgrad.storage.mts.reader.FINE_BYTES", 1 << 16)
    path = saved(tmp_path / "in.mts")
    flipped(path, "gradients/x/values.npy")
    block = og.open(path, target_bytes="64 KiB")
    told = pytest.raises(FileFormatError, match=r"'gradients/x/values.npy' in .*its checksum is")
    one = LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None)
    with one as cluster, Client(cluster), told:
        block.values[:10].compute()


# ---- one pass, many threads -----------------------------------------------------------------------


def checks_of(file: MtsFile, token: str = "a file") -> tuple[Member, MemberChecks]:
    members = layout_members(file, read_directory(file))
    return MemberChecks(MemberBytes(file), f"{token} {id(file)}"), members["values.npy"]


def test_threads_share_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mts_checks, "SHARE_BYTES", 1 << 16)
    path = saved(tmp_path / "in.mts")
    file = MtsFile(path)
    checks, member = checks_of(file)
    readers = []
    read_into = MemberBytes.read_into

    def noting(self: Any, target: Any, member: Any, start: Any) -> None:
        readers.append((start, len(target)))
        read_into(self, target, member, start)

    monkeypatch.setattr(MemberBytes, "read_into", noting)
    threads = [threading.Thread(target=checks.require_intact, args=(member,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(count for _, count in readers) == member.nbytes
    assert len(set(readers)) == len(readers) == -(-member.nbytes // (1 << 16))
    checks.require_intact(member)
    assert len(readers) == len(set(readers))


def test_damage_is_told_to_every_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mts_checks, "SHARE_BYTES", 1 << 16)
    path = saved(tmp_path / "in.mts")
    flipped(path, "values.npy")
    checks, member = checks_of(MtsFile(path))
    told = []

    def ask() -> None:
        try:
            checks.require_intact(member)
        except FileFormatError as error:
            told.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 8
    assert all("its checksum is" in each for each in told)


def test_an_interrupted_pass_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share whose thread was interrupted is read by the next one; nobody waits for ever."""
    monkeypatch.setattr(mts_checks, "SHARE_BYTES", 1 << 16)
    checks, member = checks_of(MtsFile(saved(tmp_path / "in.mts")))
    calls = []
    crc32 = zlib.crc32

    def interrupted(*args: Any) -> int:
        calls.append(len(args[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return crc32(*args)

    monkeypatch.setattr("outgrad.storage.mts.checks.zlib.crc32", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checks.require_intact(member)
    checks.require_intact(member)
    assert sum(calls) == member.nbytes + (1 << 16)


def test_only_some_files_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mts_checks._intact_members, "limit", 3)
    source = MemberBytes(MtsBytes(b""))
    for number in range(10):
        MemberChecks(source, f"token {number}")
    assert len(mts_checks._intact_members) <= 3
