"""Appending: what is read is all of it, what was there is not touched, and what does not fit is refused."""

from __future__ import annotations

import gc
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrad as og
from outgrad.errors import (
    ArchiveConflictError,
    ArchiveError,
    NotAnArchiveError,
    ValidationError,
)
from outgrad.storage.local_store import LocalStore
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.testing.asserts import assert_identical
from outgrad.testing.random_blocks import Parameter
from tests.support import old_archives
from tests.support.archives import open_archive
from tests.support.pieces import joined, piece

SMALL = ChunkSizes(
    shard=600, chunk=200, table_shard=100, table_chunk=40, span=1000, fine_chunk=500, whole_system=10**6
)


def appended(path: Path, *pieces: og.TensorMap, **options: Any) -> Path:
    for each in pieces:
        og.append(path, each, **options)
    return path


@st.composite
def sequences(draw: Any) -> list[og.TensorMap]:
    """Pieces of any keys, in any order of samples, some without samples, some lazy."""
    order = draw(st.sampled_from(["sorted", "samples", "any"]))
    pieces = []
    for seed in range(draw(st.integers(1, 4))):
        made = piece(
            seed,
            systems=draw(st.integers(0, 3)),
            keys=draw(st.lists(st.integers(0, 3), unique=True, max_size=3)),
            order=order,
            shuffled=draw(st.booleans()),
        )
        pieces.append(made.chunk(draw(st.sampled_from([50, 10**6]))) if draw(st.booleans()) else made)
    return pieces


@given(pieces=sequences(), target_bytes=st.sampled_from([1, 300, 10**6]))
@settings(max_examples=25, deadline=None)
@pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")
def test_what_is_read_is_all_that_was_appended(
    pieces: list[og.TensorMap], target_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = appended(tmp_path_factory.mktemp("any") / "a.zarr", *pieces)
    expected = joined([each.compute() for each in pieces])
    assert_identical(og.load(path), expected)
    lazy = og.open(path, target_bytes=target_bytes)
    assert_identical(lazy, expected)
    for block, other in zip(lazy.blocks(), expected.blocks(), strict=True):
        assert block.samples == other.samples
        assert block.samples.digest == other.samples.digest
    assert og.verify(path) == []


def test_small_chunks_and_shards(tmp_path: Path) -> None:
    pieces = [piece(seed, systems=4 + seed) for seed in range(3)]
    for each in pieces:
        with og.ArchiveWriter(tmp_path / "a.zarr", append=True, sizes=SMALL) as writer:
            writer.append(each)
    assert_identical(og.load(tmp_path / "a.zarr"), joined(pieces))
    assert_identical(og.open(tmp_path / "a.zarr", target_bytes=1), joined(pieces))
    assert max(array.chunks_per_shard for s in specs(tmp_path / "a.zarr") for array in s.arrays) > 1
    assert og.verify(tmp_path / "a.zarr") == []


def specs(path: Path) -> Any:
    return open_archive(path).commit.segments


def files_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_what_was_there_is_not_touched_and_readers_go_on(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0))
    before, opened = files_of(path), og.open(path)
    og.append(path, piece(1))
    after = files_of(path)
    assert {name for name in before if before[name] != after.get(name)} == {"zarr.json"}
    assert_identical(opened, piece(0))
    assert_identical(og.open(path, version=1), piece(0))
    assert_identical(og.open(path, version=2), joined([piece(0), piece(1)]))


def test_operations_run_on_what_was_appended(tmp_path: Path) -> None:
    pieces = [piece(seed, gradients={"positions": Parameter((3,))}) for seed in range(3)]
    path = appended(tmp_path / "a.zarr", *pieces)
    whole, lazy = joined(pieces), og.open(path, target_bytes=200)
    assert_identical(lazy * 2, whole * 2)
    assert_identical(og.multiply(lazy, lazy), og.multiply(whole, whole))
    summed = og.sum_over_samples(lazy, "atom")
    assert og.allclose(summed, og.sum_over_samples(whole, "atom"))
    chosen = og.Labels("system", [[1], [21]])
    assert_identical(og.slice(lazy, "samples", chosen), og.slice(whole, "samples", chosen))
    og.save(tmp_path / "copy.zarr", lazy)
    assert_identical(og.load(tmp_path / "copy.zarr"), whole)


def test_samples_of_equal_parts_are_equal_without_a_read(tmp_path: Path) -> None:
    values = appended(tmp_path / "a.zarr", *(og.remove_gradients(piece(seed)) for seed in range(3)))
    targets = appended(tmp_path / "b.zarr", *(og.remove_gradients(piece(seed)) * 2 for seed in range(3)))
    first, second = (og.open(path).block(0) for path in (values, targets))
    for path in (values, targets):
        for array in path.glob("segments/*/blocks/*/samples"):
            shutil.rmtree(array)
    assert first.samples == second.samples
    other = appended(tmp_path / "c.zarr", *(og.remove_gradients(piece(seed)) for seed in (0, 1, 3)))
    with pytest.raises(ArchiveError, match="is missing"):
        _ = first.samples == og.open(other).block(0).samples


@pytest.mark.cluster
def test_appending_on_a_cluster(tmp_path: Path) -> None:
    expected = joined([piece(seed) for seed in range(3)])
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        path = appended(tmp_path / "a.zarr", piece(0), piece(1).chunk(100), piece(2).chunk(50))
        assert_identical(og.open(path, target_bytes=100) * 2, expected * 2)
        og.compact(path)
    assert_identical(og.load(path), expected)


def test_an_archive_may_be_appended_to_itself(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0))
    og.append(path, og.open(path) * 2, shift={"system": 100})
    again = og.shift_dimension(piece(0) * 2, "system", 100)
    assert_identical(og.load(path), joined([piece(0), again]))


def test_appending_to_an_archive_of_version_1(tmp_path: Path) -> None:
    source = old_archives.FOLDER / "lz4" / "map-float64.zarr"
    path = tmp_path / "old.zarr"
    shutil.copytree(source, path)
    old = og.load(path)
    more = og.shift_dimension(old, "system", 1000)
    og.append(path, more)
    found = og.load(path)
    for number in range(len(old)):
        values = np.concatenate([old.block(number).values, more.block(number).values])
        np.testing.assert_array_equal(found.block(number).values, values)
    assert og.verify(path) == []
    with pytest.raises(ValidationError, match="is there already"):
        og.append(path, old)
    og.compact(path)
    assert_identical(og.load(path), found)


# ---- what does not fit ----
def renamed(**names: str) -> og.TensorMap:
    made = piece(1)
    for axis, pair in names.items():
        old, new = pair.split()
        made = og.rename_dimension(made, axis, old, new)
    return made


MISFITS = {
    "keys": (
        lambda: renamed(keys="key centre"),
        r"its keys have names \['key'\], and those of the map \['cen",
    ),
    "samples": (
        lambda: renamed(samples="atom site"),
        r"has samples of \['system', 'site'\], and the archive of",
    ),
    "properties": (
        lambda: renamed(properties="n k"),
        r"has properties of \['k'\], and the archive of \['n'\]",
    ),
    "dtype": (
        lambda: piece(1, dtype="float32"),
        r"has dtype float32, .* convert the map with .to\(dtype='float64",
    ),
    "gradients": (
        lambda: og.remove_gradients(piece(1)),
        r"has the gradients \[\], and the archive \['positions', ",
    ),
    "more properties": (
        lambda: piece(1, properties=(0, 1, 2)),
        r"has other properties than the archive \(3, there are 2\); pass fill_value",
    ),
    "other components": (
        lambda: other_components(),
        r"has other components 'm' than the archive \(3, there are 2\)",
    ),
}


def other_components() -> og.TensorMap:
    """Three entries where the others have two."""
    made = piece(1)
    rest = og.shift_dimension(piece(1), "system", 0)
    blocks = []
    for block, more in zip(made.blocks(), rest.blocks(), strict=True):
        blocks.append(wider(block, more))
    return og.TensorMap(made.keys, blocks)


def wider(block: og.TensorBlock, more: og.TensorBlock) -> og.TensorBlock:
    """One more entry in the last component."""
    values = np.concatenate([block.values, more.values[..., :1, :]], axis=-2)
    components = [*block.components[:-1], og.Labels.range("m", 3)]
    made = og.TensorBlock(values, block.samples, components, block.properties)
    for name in block.gradients_list():
        made.add_gradient(name, wider(block.gradient(name), more.gradient(name)))
    return made


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_before_anything_is_computed(tmp_path: Path, name: str) -> None:
    make, text = MISFITS[name]
    path = appended(tmp_path / "a.zarr", piece(0))
    before = files_of(path)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse), pytest.raises(ValidationError, match=text) as caught:
        og.append(path, make().chunk(100))
    assert str(caught.value).startswith(f"append {path}: ")
    assert files_of(path) == before


def test_samples_that_are_there_already(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0), piece(1))
    text = (
        r"sample \(system=10, atom=0\) of block \(key=0\) is there already, as row 6; nothing was appended; "
        r"if 'system' is counted from 0 in each map, pass shift=\{'system': 13\}, since the largest is 12"
    )
    with pytest.raises(ValidationError, match=text):
        og.append(path, piece(1))
    with pytest.raises(ValidationError, match=r"sample \(system=12, atom=0\) of block .* as row 10"):
        og.append(path, piece(5, first=12))
    og.append(path, piece(5, first=12), shift={"system": 1})
    og.append(path, piece(6, first=10, keys=(7,)))  # another block may have the same samples
    assert len(og.open(path).block(key=7).samples) == 6


@given(
    first=st.integers(-4, 4),
    seed=st.integers(0, 100),
    shuffled=st.booleans(),
    chunk=st.sampled_from([8, 24, 10**5]),
)
@settings(max_examples=40, deadline=None)
def test_samples_overlap_or_not(
    first: int, seed: int, shuffled: bool, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every second system, and others from ``first`` on: found exactly where one is in both."""
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("overlap") / "a.zarr"
    there, new = rng.permutation(np.arange(-6, 6, 2)), first + 3 * np.arange(3)
    sizes = ChunkSizes(table_shard=2 * chunk, table_chunk=chunk)
    with og.ArchiveWriter(path, sizes=sizes) as writer:
        writer.append(systems(there if shuffled else np.sort(there)))
    both = set(there.tolist()) & set(new.tolist())
    if both:
        with pytest.raises(ValidationError, match="is there already"):
            og.append(path, systems(new))
    else:
        og.append(path, systems(new))
    assert len(og.open(path).block().samples) == 6 + 3 * (not both)


def systems(numbers: Any) -> og.TensorMap:
    samples = og.Labels("system", np.asarray(numbers)[:, None])
    block = og.TensorBlock(np.ones((len(samples), 1)), samples, [], og.Labels.range("n", 1))
    return og.TensorMap(og.Labels.single(), [block])


def test_tables_are_read_only_where_samples_may_be_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    with og.ArchiveWriter(path, sizes=ChunkSizes(table_shard=8000, table_chunk=4000)) as writer:
        writer.append(systems(np.arange(0, 40000, 2)))
    reads: Counter[str] = Counter()
    original = LocalStore._read

    def read(self: Any, key: str, *arguments: Any) -> Any:
        reads["/".join(key.split("/")[2:])] += 1
        return original(self, key, *arguments)

    monkeypatch.setattr(LocalStore, "_read", read)
    og.append(path, systems(np.arange(40000, 40500)))
    assert not [key for key in reads if key.startswith("blocks/0/samples/c.")]
    reads.clear()
    og.append(path, systems([9001, 9003]))
    assert {key for key in reads if key.startswith("blocks/0/samples/c.")} == {"blocks/0/samples/c.2.0"}


def test_properties_that_one_lacks_are_filled(tmp_path: Path) -> None:
    pieces = [piece(0), piece(1, properties=(1, 2)), piece(2, properties=(2, 0)), piece(3, keys=(5,))]
    path = appended(tmp_path / "a.zarr", pieces[0])
    for each in pieces[1:]:
        og.append(path, each, fill_value=-1.5)
    expected = joined(pieces, fill=-1.5)
    assert_identical(og.load(path), expected)
    assert_identical(og.open(path, target_bytes=1), expected)
    og.compact(path)
    assert_identical(og.load(path), expected)
    with pytest.raises(
        ValidationError, match=r"what a map lacks is filled with -1.5 there, and not with 0.0"
    ):
        og.append(path, piece(6, properties=(9,)), fill_value=0)
    og.append(path, piece(6, properties=(9,)))
    assert_identical(og.load(path), joined([*pieces, piece(6, properties=(9,))], fill=-1.5))


def test_a_fill_value_that_json_does_not_have(tmp_path: Path) -> None:
    pieces = [piece(0), piece(1, properties=(4,))]
    path = appended(tmp_path / "a.zarr", *pieces, fill_value=float("nan"))
    assert_identical(og.load(path), joined(pieces, fill=float("nan")))
    with pytest.raises(ValidationError, match=r"append: fill_value 1j does not fit into float64"):
        og.append(path, piece(2), fill_value=1j)


def test_info_must_agree(tmp_path: Path) -> None:
    first, second = piece(0), piece(1)
    first.set_info("units", "eV")
    second.set_info("source", "here")
    path = appended(tmp_path / "a.zarr", first, second)
    assert og.load(path).info() == {"units": "eV", "source": "here"}
    third = piece(2)
    third.set_info("units", "Ha")
    with pytest.raises(
        ValidationError, match="its info 'units' is 'eV', and that of the map 'Ha'; set it on the"
    ):
        og.append(path, third)


def test_where_nothing_can_be_appended(tmp_path: Path) -> None:
    og.save(tmp_path / "block.zarr", piece(0).block(0))
    og.save(tmp_path / "labels.zarr", og.Labels.range("n", 3))
    for name in ("block", "labels"):
        with pytest.raises(ValidationError, match=f"it holds {name}, and only maps are appended to"):
            og.append(tmp_path / f"{name}.zarr", piece(1))
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr" / "file").write_text("precious")
    with pytest.raises(
        NotAnArchiveError, match=r"append .*other.zarr: the path exists and is not an Outgrad archive"
    ):
        og.append(tmp_path / "other.zarr", piece(1))
    with pytest.raises(ArchiveError, match="only archives are written piece by piece"):
        og.append(tmp_path / "a.mts", piece(1))
    with pytest.raises(TypeError, match="append: tensor must be a TensorMap, got TensorBlock"):
        og.append(tmp_path / "a.zarr", piece(1).block(0))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="append: shift must be a dict of dimensions to numbers, got int"):
        og.append(tmp_path / "a.zarr", piece(1), shift=3)  # type: ignore[arg-type]
    assert not (tmp_path / "a.zarr").exists()


# ---- the writer of pieces ----
def test_the_writer_appends_as_one_version(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0))
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(piece(1))
        writer.append(piece(2, keys=(1, 4)))
        with pytest.raises(ValidationError, match="is there already"):
            writer.append(piece(0))
        with pytest.raises(ValidationError, match="has dtype float32"):
            writer.append(piece(3, dtype="float32"))
        writer.append(piece(4))
    assert_identical(og.load(path), joined([piece(0), piece(1), piece(2, keys=(1, 4)), piece(4)]))
    assert [version.action for version in og.history(path)] == ["save", "append"]


def test_the_writer_of_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with og.ArchiveWriter(tmp_path / "a.zarr", append=True) as writer:
        writer.append(piece(0))
    assert_identical(og.load(tmp_path / "a.zarr"), piece(0))
    with pytest.raises(ValidationError, match="overwrite=True replaces what append=True adds to"):
        og.ArchiveWriter(tmp_path / "a.zarr", append=True, overwrite=True)


@pytest.mark.parametrize("append", [False, True])
def test_a_writer_that_is_never_closed_leaves_nothing(tmp_path: Path, append: bool) -> None:
    path = tmp_path / "a.zarr"
    handlers = signal.getsignal(signal.SIGINT)
    if append:
        og.append(path, piece(0))
    before = files_of(path)
    writer = og.ArchiveWriter(path, append=append)
    writer.append(piece(1))
    del writer
    gc.collect()
    assert files_of(path) == before
    assert signal.getsignal(signal.SIGINT) is handlers


# ---- several writers ----
def test_two_writers_that_append(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0))
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(piece(1))
        og.append(path, piece(2))
        og.append(path, piece(3, keys=(6,)))
    assert_identical(og.load(path), joined([piece(0), piece(2), piece(3, keys=(6,)), piece(1)]))


def test_two_writers_that_begin_one_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(piece(1))
        og.append(path, piece(2))
    assert_identical(og.load(path), joined([piece(2), piece(1)]))


def test_two_writers_of_the_same_samples(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0))
    writer = og.ArchiveWriter(path, append=True)
    writer.append(piece(1) * 2)
    og.append(path, piece(1))
    with pytest.raises(ValidationError, match="is there already") as caught:
        writer.close()
    assert "`outgrad commit" in "".join(caught.value.__notes__)
    assert_identical(og.load(path), joined([piece(0), piece(1)]))
    with pytest.raises(ValidationError, match="is there already"):
        og.commit(path)
    og.restore(path, 1)
    assert og.commit(path) == 1
    assert_identical(og.load(path), joined([piece(0), piece(1) * 2]))
    assert og.commit(path) == 0


def test_an_archive_that_was_replaced_while_a_writer_appends(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0))
    writer = og.ArchiveWriter(path, append=True)
    writer.append(piece(1))
    og.save(path, piece(5), overwrite=True)
    with pytest.raises(
        ArchiveConflictError, match="version 2 has replaced the archive since this append began"
    ):
        writer.close()
    assert_identical(og.load(path), piece(5))
    og.save(path, piece(6), overwrite=True)  # and what is kept survives another save
    assert og.commit(path) == 1
    assert_identical(og.load(path), joined([piece(6), piece(1)]))
    assert og.verify(path) == []
    assert not list(path.rglob("refused.json"))
    assert not list(path.rglob("*.partial"))


def test_a_compacted_archive_is_appended_to(tmp_path: Path) -> None:
    path = appended(tmp_path / "a.zarr", piece(0), piece(1))
    with og.ArchiveWriter(path, append=True) as writer:
        writer.append(piece(2))
        og.compact(path)
    assert_identical(og.load(path), joined([piece(0), piece(1), piece(2)]))
    assert len(specs(path)) == 2
