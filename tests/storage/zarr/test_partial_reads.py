"""What is not chosen is not read: no label table outside of the chunks of chosen rows, and no task for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outgrad as og
from outgrad.engine import choose
from outgrad.errors import ValidationError
from outgrad.graph.reading import read_part
from outgrad.storage.local_store import LocalStore
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.testing.asserts import assert_identical
from outgrad.testing.random_blocks import Parameter
from tests.support import old_archives
from tests.support.pieces import joined, piece

SMALL = ChunkSizes(
    shard=600, chunk=200, table_shard=100, table_chunk=40, span=1000, fine_chunk=500, whole_system=10**6
)


def written(path: Path, *pieces: og.TensorMap, sizes: ChunkSizes = SMALL, **options: Any) -> og.TensorMap:
    """Append each piece as a segment; all of them in memory."""
    for each in pieces:
        with og.ArchiveWriter(path, append=True, sizes=sizes, **options) as writer:
            writer.append(each)
    return joined(pieces)


def is_direct(tensor: og.TensorMap) -> bool:
    """Whether nothing is done but to read."""
    return tensor._blocks().to_lazy().data.maker is read_part


@st.composite
def selections(draw: Any) -> Any:
    """Positions in any order, masks, systems, atoms, complete samples; also of what is not there."""
    count = 30
    kind = draw(st.sampled_from(["positions", "mask", "system", "atom", "sample"]))
    if kind == "positions":
        return draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count))
    if kind == "mask":
        return np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    numbers = draw(st.lists(st.sampled_from([0, 1, 2, 4, 10, 13, 22, 24, 99]), unique=True, max_size=5))
    if kind == "sample":
        return og.Labels(["system", "atom"], np.array([[s, s % 3] for s in numbers]).reshape(-1, 2))
    found = {number % 2 for number in numbers} if kind == "atom" else set(numbers)
    return og.Labels(kind, np.array(sorted(found), dtype=np.int64).reshape(-1, 1))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, og.TensorMap]:
    path = tmp_path_factory.mktemp("chosen") / "a.zarr"
    return path, written(path, *(piece(seed, systems=5, shuffled=seed == 1) for seed in range(3)))


@given(selection=selections(), again=selections(), target=st.sampled_from([1, 400, 10**6]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_chosen_samples_are_those_of_the_whole(
    selection: Any, again: Any, target: int, data: st.DataObject, grown: tuple[Path, og.TensorMap]
) -> None:
    path, whole = grown
    expected = og.slice(whole, "samples", selection)
    found = og.open(path, samples=selection, target_bytes=target)
    assert is_direct(found)
    assert_identical(found, expected)
    opened = og.slice(og.open(path, target_bytes=target), "samples", selection)
    assert is_direct(opened)
    assert_identical(opened, expected)
    if not isinstance(again, og.Labels):  # positions are those of what is left
        count = len(expected.block(0).samples)
        again = data.draw(st.lists(st.integers(0, max(0, count - 1)), unique=True, max_size=count))
    assert_identical(og.slice(found, "samples", again), og.slice(expected, "samples", again))
    for block, other in zip(found.blocks(), expected.blocks(), strict=True):
        labels, rows = block.gradient("positions").samples, other.gradient("positions").samples.values
        half = len(rows) // 2
        np.testing.assert_array_equal(labels.read(half, len(rows)), rows[half:])
        assert labels == other.gradient("positions").samples


def test_operations_on_what_was_chosen(tmp_path: Path) -> None:
    pieces = [piece(seed, systems=5, gradients={"positions": Parameter((3,))}) for seed in range(3)]
    whole = written(tmp_path / "a.zarr", *pieces)
    chosen = og.Labels("system", [[1], [12], [24]])
    found, expected = og.open(tmp_path / "a.zarr", samples=chosen), og.slice(whole, "samples", chosen)
    assert_identical(og.multiply(found, found), og.multiply(expected, expected))
    assert og.allclose(og.sum_over_samples(found, "atom"), og.sum_over_samples(expected, "atom"))
    og.save(tmp_path / "part.zarr", found)
    assert_identical(og.load(tmp_path / "part.zarr"), expected)
    assert og.verify(tmp_path / "part.zarr") == []


@pytest.mark.filterwarnings("ignore::outgrad.errors.UnsortedGradientWarning")
def test_gradients_that_are_not_sorted_are_read_with_the_others(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.zarr", piece(0, order="any", systems=9))
    found = og.open(tmp_path / "a.zarr", samples=og.Labels("system", [[4]]))
    assert not is_direct(found)
    assert_identical(found, og.slice(whole, "samples", og.Labels("system", [[4]])))


def test_many_rows_apart_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MOST_RUNS", 3)
    whole = written(tmp_path / "a.zarr", piece(0, systems=9))
    for positions, direct in (([0, 4, 8], True), ([0, 2, 4, 8], False)):
        found = og.slice(og.open(tmp_path / "a.zarr"), "samples", positions)
        assert is_direct(found) is direct
        assert_identical(found, og.slice(whole, "samples", positions))


def test_parts_of_other_properties(tmp_path: Path) -> None:
    pieces = [piece(0, systems=4), piece(1, systems=4, properties=(1, 5))]
    for each in pieces:
        og.append(tmp_path / "a.zarr", each, fill_value=2)
    whole, chosen = joined(pieces, fill=2), og.Labels("system", [[2], [11]])
    found = og.open(tmp_path / "a.zarr", samples=chosen)
    assert is_direct(found)
    assert_identical(found, og.slice(whole, "samples", chosen))


def test_keys_and_properties(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.zarr", piece(0, keys=(4, 1, 7)), piece(1, keys=(7, 2)))
    for keys in (og.Labels("key", [[7], [1]]), [2, 0], np.array([True, False, False, True]), []):
        found = og.open(tmp_path / "a.zarr", keys=keys)
        numbers = whole.keys.select(keys).tolist() if isinstance(keys, og.Labels) else keys
        numbers = np.flatnonzero(numbers).tolist() if isinstance(numbers, np.ndarray) else numbers
        expected = og.TensorMap(whole.keys.take(numbers), [whole.block(n) for n in numbers])
        assert is_direct(found) or not len(numbers)
        assert_identical(found, expected)
    columns = og.Labels("n", [[1]])
    both = og.open(tmp_path / "a.zarr", keys=[2], samples=[3, 1], properties=columns)
    expected = og.TensorMap(whole.keys.take([2]), [whole.block(2)])
    expected = og.slice(og.slice(expected, "samples", [3, 1]), "properties", columns)
    assert_identical(both, expected)


def test_what_has_no_such_parts(tmp_path: Path) -> None:
    og.save(tmp_path / "block.zarr", piece(0).block(0))
    og.save(tmp_path / "labels.zarr", og.Labels.range("n", 3))
    found = og.open(tmp_path / "block.zarr", samples=[1])
    assert_identical(found, og.slice_block(piece(0).block(0), "samples", [1]))
    with pytest.raises(
        ValidationError, match="open: only maps have keys, and this holds block; leave keys out"
    ):
        og.open(tmp_path / "block.zarr", keys=[0])
    with pytest.raises(ValidationError, match="open: labels are opened as a whole; select from them"):
        og.open(tmp_path / "labels.zarr", samples=[0])
    with pytest.raises(ValidationError, match=r"select: \['site'\] are not among the names of the labels"):
        og.open(tmp_path / "block.zarr", samples=og.Labels("site", [[0]]))


def test_parts_of_metatensors_own_files(tmp_path: Path) -> None:
    og.save(tmp_path / "a.mts", piece(0))
    found = og.open(tmp_path / "a.mts", keys=[1], samples=og.Labels("system", [[2]]))
    expected = og.TensorMap(piece(0).keys.take([1]), [piece(0).block(1)])
    assert_identical(found, og.slice(expected, "samples", og.Labels("system", [[2]])))


def test_parts_of_version_1_of_the_format() -> None:
    path = old_archives.FOLDER / "lz4" / "map-float64.zarr"
    whole, chosen = og.load(path), og.Labels("system", [[1]])
    found = og.open(path, samples=chosen)
    assert is_direct(found)
    assert_identical(found, og.slice(whole, "samples", chosen))


# ---- what is read ----
@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each object below a segment was read."""
    reads: Counter[str] = Counter()
    original = LocalStore._read

    def read(self: Any, key: str, *arguments: Any) -> Any:
        reads["/".join(key.split("/")[2:-1]) or "commit"] += 1
        return original(self, key, *arguments)

    monkeypatch.setattr(LocalStore, "_read", read)
    monkeypatch.setattr("outgrad.storage.zarr.reader._archives", og.storage.open_files.OpenFiles(2))
    return reads


SYSTEMS = 80_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples a system, and two gradient rows a sample, in hundreds of small chunks."""
    samples = np.stack([np.repeat(np.arange(SYSTEMS), 2), np.tile([0, 1], SYSTEMS)], axis=1).astype(np.int32)
    rows = np.stack([np.repeat(np.arange(2 * SYSTEMS), 2), np.tile([0, 1], 2 * SYSTEMS)], axis=1)
    n = og.Labels.range("n", 2)
    block = og.TensorBlock(
        np.arange(4.0 * SYSTEMS).reshape(-1, 2), og.Labels(["system", "atom"], samples), [], n
    )
    gradient = og.TensorBlock(
        np.arange(24.0 * SYSTEMS).reshape(-1, 3, 2),
        og.Labels(["sample", "atom"], rows.astype(np.int32)),
        [og.Labels.range("xyz", 3)],
        n,
    )
    block.add_gradient("positions", gradient)
    path = tmp_path_factory.mktemp("large") / "a.zarr"
    sizes = ChunkSizes(shard=2**18, chunk=2**14, table_shard=2**16, table_chunk=2**13, span=2**20)
    with og.ArchiveWriter(path, sizes=sizes) as writer:
        writer.append(og.TensorMap(og.Labels.single(), [block]))
    return path


def chunks_of_rows(rows: Any, row_bytes: int, chunk_bytes: int = 2**13) -> int:
    return len(np.unique(np.asarray(rows) // (chunk_bytes // row_bytes)))


@pytest.mark.parametrize("numbers", [range(30_000, 30_100), range(17, 60_000, 601)], ids=["near", "far"])
@pytest.mark.parametrize("how", ["open", "slice"])
def test_opening_some_systems_reads_what_they_need(
    large: Path, counted: Counter[str], numbers: range, how: str
) -> None:
    chosen = og.Labels("system", np.array(numbers)[:, None])
    calls: dict[str, Callable[[], og.TensorMap]] = {
        "open": lambda: og.open(large, samples=chosen),
        "slice": lambda: og.slice(og.open(large), "samples", chosen),
    }
    found = calls[how]()
    rows = np.array([[2 * n, 2 * n + 1] for n in numbers]).reshape(-1)
    needed = chunks_of_rows(rows, 8)  # of samples; offsets are looked up at both ends of each run
    ends = np.concatenate([rows[::2], rows[1::2] + 1])
    offsets = chunks_of_rows(ends, 8)
    assert counted["blocks/0/samples"] == needed
    assert counted["blocks/0/gradients/positions/offsets"] <= offsets
    others = {name: n for name, n in counted.items() if name.rpartition("/")[2] not in ("samples", "offsets")}
    assert others == {"commit": 1, "chunks": 1, "ranges": 1}
    counted.clear()
    whole = og.load(large)
    expected = og.slice(whole, "samples", chosen)
    counted.clear()
    assert_identical(found.compute(scheduler="sync"), expected)
    assert counted["blocks/0/values"] <= chunks_of_rows(rows, 16, 2**14)
    assert len(found._blocks().to_lazy().data.keys) == 1


def test_a_block_alone_is_read_alone(tmp_path: Path, counted: Counter[str]) -> None:
    og.save(tmp_path / "a.zarr", piece(0, keys=(0, 1, 2)))
    counted.clear()
    block = og.open(tmp_path / "a.zarr").block(1)
    assert_identical((block * 2).compute(scheduler="sync"), piece(0, keys=(0, 1, 2)).block(1) * 2)
    assert not [name for name in counted if name.startswith(("blocks/0/v", "blocks/2/v"))]
    assert counted["blocks/1/values"] == 1
