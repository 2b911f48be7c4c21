"""What killed writers leave: the next save removes it, and ``og.clean`` where there is no next one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from click.testing import CliRunner

import outgrad as og
from outgrad.cli import main
from outgrad.errors import ArchiveNotFoundError, UnfinishedArchiveError
from outgrad.storage import leases

BLOCK = og.block_from_array(np.ones((4, 2)))


def deadly() -> og.TensorBlock:
    def kill(block: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return block

    values = da.ones((4, 2), chunks=2).map_blocks(kill, meta=np.empty((0, 0)))
    return og.TensorBlock(values, BLOCK.samples, [], BLOCK.properties)


def names() -> list[str]:
    return [path.name for path in Path.cwd().iterdir()]


def killed(function: Callable[[], None]) -> None:
    child = os.fork()
    if not child:
        try:
            function()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["a.mts", "a.zarr", f"{'long' * 30}.mts"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_next_save_removes_it(name: str, overwrite: bool) -> None:
    if overwrite:
        og.save(name, BLOCK)
    for _ in range(2):
        killed(lambda: og.save(name, deadly(), overwrite=overwrite))
    og.save(name, BLOCK, overwrite=overwrite)
    assert names() == [name]
    assert not list(Path(name).rglob("*.partial"))
    assert len(list(Path(name).glob("segments/*/"))) == name.endswith(".zarr")
    assert og.equal_block(og.load(name), BLOCK)


@pytest.mark.parametrize("name", ["a.mts", "a.zarr"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_clean_removes_it(name: str, overwrite: bool) -> None:
    if overwrite:
        og.save(name, BLOCK)
    killed(lambda: og.save(name, deadly(), overwrite=overwrite))
    found = og.clean(name, dry_run=True)
    assert found
    assert og.clean(name, dry_run=True) == found
    assert og.clean(name) == found
    assert names() == [name] * overwrite
    if overwrite:
        assert og.equal_block(og.load(name), BLOCK)
        assert og.clean(name) == []


def test_clean_takes_a_folder() -> None:
    killed(lambda: og.save("a.mts", deadly()))
    killed(lambda: og.save("b.mts", deadly()))
    assert len(og.clean(".")) == 2
    assert names() == []


def test_nothing_to_clean() -> None:
    with pytest.raises(ArchiveNotFoundError, match=r"clean .*absent.zarr: there is nothing at this path"):
        og.clean("absent.zarr")
    Path("empty").mkdir()
    assert og.clean("empty") == []
    assert names() == ["empty"]


def test_what_is_not_ours_stays() -> None:
    killed(lambda: og.save("a.zarr", deadly()))
    Path("a.zarr/notes.txt").write_text("mine")
    assert og.clean("a.zarr")
    assert Path("a.zarr/notes.txt").read_text() == "mine"


def test_writers_at_work_are_spared() -> None:
    with og.ArchiveWriter("a.zarr") as writer:
        writer.append(og.TensorMap(og.Labels.single(), [BLOCK]))
        assert og.clean("a.zarr") == []
    assert og.load("a.zarr").block().shape == (4, 2)


def test_writers_of_other_machines_are_spared_for_a_week() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "_machine", lambda: "0" * 8)
        killed(lambda: og.save("a.zarr", deadly()))
    assert og.clean("a.zarr") == []
    (lease,) = Path("a.zarr/segments").glob(".*.partial")
    os.utime(lease, (0, 0))
    assert og.clean("a.zarr") == [str(Path("a.zarr").absolute())]


def test_a_number_that_belongs_to_another_process_now() -> None:
    token = leases.new_token()
    machine, _, _, rest = token.split("-")
    assert leases.is_at_work(token, Path("any"))
    assert not leases.is_at_work(f"{machine}-{os.getppid():x}-1-{rest}", Path("any"))
    leases.release(token)
    assert not leases.is_at_work(token, Path("any"))


def test_the_command() -> None:
    killed(lambda: og.save("a.zarr", deadly()))
    with pytest.raises(UnfinishedArchiveError, match="was never finished"):
        og.open("a.zarr")
    listed = CliRunner().invoke(main, ["clean", "a.zarr", "--dry-run"])
    assert listed.output == f"would remove {Path('a.zarr').absolute()}\n"
    cleaned = CliRunner().invoke(main, ["clean", "a.zarr"])
    assert cleaned.output == f"removed {Path('a.zarr').absolute()}\n"
    og.save("a.zarr", BLOCK)
    assert CliRunner().invoke(main, ["clean", "a.zarr"]).output == "a.zarr: nothing to remove\n"
