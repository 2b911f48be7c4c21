"""A piece is appended as a whole or not at all, and what was appended before is kept."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.data.chunk import Chunk
from outgrad.errors import ArchiveError
from outgrad.storage.zarr.appended_maps import GrowingMap
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.storage.zarr.repeated_rows import SeenRows
from outgrad.storage.zarr.storage_chunks import RowSink, SegmentStore
from outgrad.testing import Parameter, assert_identical, random_block
from tests.support import models
from tests.support.lazy import nothing_computed

SIZES = ChunkSizes(
    shard=400, chunk=150, table_shard=120, table_chunk=50, share_below=64, share_from=2, fine_chunk=800
)
N = Labels.range("n", 3)
GRADIENTS = {"positions": Parameter((3,), {"strain": Parameter()}), "strain": Parameter((2,))}


def piece(seed: int, keys: tuple[int, ...] = (1, 8), systems: int = 3) -> TensorMap:
    """A map whose systems are counted from 0."""
    rng = np.random.default_rng(seed)
    blocks = []
    for key in keys:
        table = [[system, atom] for system in range(systems) for atom in range(key % 3 + 1)]
        targets = Labels(["system", "atom"], [[system, 0] for system in range(systems)])
        samples = Labels(["system", "atom"], table)
        blocks.append(random_block(rng, samples, [], N, GRADIENTS, sparsity=0.6, targets=targets))
    return TensorMap(Labels("center_type", np.array(keys)[:, None]), blocks)


def joined(*pieces: TensorMap | None) -> TensorMap:
    """The map of all rows, each piece shifted by hand, block by block; None is a piece that is not there."""
    keys = list(dict.fromkeys(int(key[0]) for piece in pieces if piece is not None for key in piece.keys))
    blocks = []
    for key in keys:
        own = [
            og.shift_dimension(piece.block(center_type=key), "system", 3 * n)
            for n, piece in enumerate(pieces)
            if piece is not None and key in piece.keys.column("center_type")
        ]
        single = Labels.single()
        blocks.append(og.join([TensorMap(single, [block]) for block in own], "samples").block())
    return TensorMap(Labels("center_type", np.array(keys)[:, None]), blocks)


def written(path: Path, *pieces: TensorMap) -> og.ArchiveWriter:
    writer = og.ArchiveWriter(path, sizes=SIZES)
    for number, own in enumerate(pieces):
        writer.append(own, shift={"system": 3 * number})
    return writer


def assert_holds(path: Path, *pieces: TensorMap | None) -> None:
    assert_identical(og.load(path), joined(*pieces))
    assert og.verify(path) == []


# ---- samples that occur twice ----
def test_a_sample_is_refused_at_once_and_the_writer_goes_on(tmp_path: Path) -> None:
    pieces = [piece(0), piece(1), piece(2)]
    writer = written(tmp_path / "a.zarr", *pieces[:2])
    text = (
        r"append: sample \(system=0, atom=0\) of block \(center_type=1\) was appended before, as row 0, so "
        r"nothing of this map was written, and what was appended is kept; if 'system' is counted from 0 in "
        r"each map, pass shift=\{'system': 6\}, since the largest is 5"
    )
    with pytest.raises(ValidationError, match=text):
        writer.append(pieces[2])
    writer.append(pieces[2], shift={"system": 6})
    writer.close()
    assert_holds(tmp_path / "a.zarr", *pieces)


def test_it_can_be_closed_right_after(tmp_path: Path) -> None:
    writer = written(tmp_path / "a.zarr", piece(0))
    with pytest.raises(ValidationError, match="was appended before"):
        writer.append(piece(0))
    writer.close()
    assert_holds(tmp_path / "a.zarr", piece(0))


def test_one_repeated_sample_of_many(tmp_path: Path) -> None:
    """In the last block, far from the beginning, and in chunks that are written already."""
    writer = written(tmp_path / "a.zarr", *(piece(n) for n in range(12)))
    again = og.slice(og.shift_dimension(piece(3), "system", 22), "samples", [0, 1])
    fresh = og.shift_dimension(piece(5), "system", 100)
    mixed = TensorMap(fresh.keys, [fresh.block(0), again.block(1)])
    text = r"sample \(system=22, atom=0\) of block \(center_type=8\) was appended before, as row 66,"
    with pytest.raises(ValidationError, match=text):
        writer.append(mixed)
    writer.close()
    assert_holds(tmp_path / "a.zarr", *(piece(n) for n in range(12)))


def test_a_lazy_map_is_refused_before_it_is_computed(tmp_path: Path) -> None:
    writer = written(tmp_path / "a.zarr", piece(0))
    lazy = piece(0).chunk(100)
    with nothing_computed(), pytest.raises(ValidationError, match="was appended before"):
        writer.append(lazy)
    other = lazy.to(dtype="f4")
    with (
        nothing_computed(),
        pytest.raises(ValidationError, match="has dtype float32, and float64 in the maps"),
    ):
        writer.append(other, shift={"system": 3})
    writer.append(piece(1).chunk(100), shift={"system": 3})
    writer.close()
    assert_holds(tmp_path / "a.zarr", piece(0), piece(1))


def test_the_same_sample_of_another_block_is_another_sample(tmp_path: Path) -> None:
    with written(tmp_path / "a.zarr", piece(0, (1,))) as writer:
        writer.append(piece(1, (8,)))
    assert len(og.load(tmp_path / "a.zarr")) == 2


def test_samples_that_occur_twice_in_a_piece(tmp_path: Path) -> None:
    table = [[0, 0], [1, 0], [0, 0]]
    labels = Labels(["system", "atom"], table, assume_unique=True)
    one = TensorMap(Labels.single(), [TensorBlock(np.zeros((3, 3)), labels, [], N)])
    with written(tmp_path / "a.zarr", piece(0)) as writer:
        text = r"names \['_'\], and those of the maps before"
        with pytest.raises(ValidationError, match=text):
            writer.append(one)
    writer = og.ArchiveWriter(tmp_path / "b.zarr")
    with pytest.raises(
        ValidationError, match=r"\(system=0, atom=0\) of block \(_=0\) occurs twice .* 0 and 2"
    ):
        writer.append(one)
    writer.abort()


@pytest.mark.parametrize("same", [0, 1])
def test_equal_hashes_are_told_apart_by_the_rows(tmp_path: Path, monkeypatch: Any, same: int) -> None:
    def row_hashes(table: Any) -> Any:
        return (table[:, 0] * same % 2).astype(np.uint64)

    monkeypatch.setattr("outgrad.storage.zarr.repeated_rows.row_hashes", row_hashes)
    writer = written(tmp_path / "a.zarr", *(piece(n) for n in range(4)))
    with pytest.raises(ValidationError, match=r"sample \(system=5, atom=0\) .* was appended before"):
        writer.append(og.slice(og.shift_dimension(piece(0), "system", 5), "samples", [0]))
    writer.close()
    assert_holds(tmp_path / "a.zarr", *(piece(n) for n in range(4)))


@given(st.lists(st.lists(st.integers(0, 60), unique=True, max_size=12), max_size=25))
def test_seen_rows_are_a_set(pieces: list[list[int]]) -> None:
    seen, before = SeenRows(), set[int]()
    for own in pieces:
        hashes = np.array(own, np.uint64)
        assert [own[at] for at in seen.among(hashes)] == [value for value in own if value in before]
        new = [value for value in own if value not in before]
        before.update(new)
        seen = seen.with_rows(np.sort(np.array(new, np.uint64)))
        lengths = [len(run) for run in seen.runs]
        assert all(a >= 2 * b for a, b in pairwise(lengths))
        assert sum(run.nbytes for run in seen.runs) == 8 * len(before)


# ---- shift ----
@pytest.mark.parametrize("lazy", [False, True])
def test_pieces_are_shifted(tmp_path: Path, lazy: bool) -> None:
    pieces = [piece(n) for n in range(3)]
    written(tmp_path / "a.zarr", *(own.chunk(100) if lazy else own for own in pieces)).close()
    assert_holds(tmp_path / "a.zarr", *pieces)


def test_several_dimensions_are_shifted(tmp_path: Path) -> None:
    with og.ArchiveWriter(tmp_path / "a.zarr") as writer:
        writer.append(piece(0), shift={"system": 10, "atom": -1})
    expected = og.shift_dimension(og.shift_dimension(piece(0), "system", 10), "atom", -1)
    assert_identical(og.load(tmp_path / "a.zarr"), expected)


SHIFTS: list[tuple[Any, type[Exception], str]] = [
    ({"x": 1}, ValidationError, "'x' is not a dimension of the samples"),
    ({"system": 2**31 - 2}, ValidationError, "do not fit into 32-bit integers together"),
    ({"system": 0.5}, TypeError, "must be an int, got float"),
    ("system", TypeError, "append: shift must be a dict of dimensions to numbers, got str"),
    (3, TypeError, "append: shift must be a dict"),
]


@pytest.mark.parametrize(("shift", "error", "text"), SHIFTS)
def test_shifts_that_cannot_be(tmp_path: Path, shift: Any, error: type[Exception], text: str) -> None:
    writer = written(tmp_path / "a.zarr", piece(0))
    with pytest.raises(error, match=text):
        writer.append(piece(1), shift=shift)
    writer.close()
    assert_holds(tmp_path / "a.zarr", piece(0))


# ---- refused before any of it is written ----
def with_last(change: str) -> tuple[Labels, list[TensorBlock]]:
    """A second piece, all right but for its last block."""
    good = og.shift_dimension(piece(1, (1, 8, 9)), "system", 3)
    blocks = list(good)
    blocks[2] = {
        "no gradients": lambda: og.remove_gradients(blocks[2]),
        "other names": lambda: og.rename_dimension(blocks[2], "properties", "n", "k"),
    }[change]()
    return good.keys, blocks


@pytest.mark.parametrize("change", ["no gradients", "other names"])
def test_the_last_block_does_not_fit(tmp_path: Path, change: str) -> None:
    """Not one byte of the blocks before it is written."""
    writer = written(tmp_path / "a.zarr", piece(0))
    files = sorted((tmp_path / "a.zarr").rglob("*"))
    keys, blocks = with_last(change)
    contents = [block._blocks() for block in blocks]
    with pytest.raises(ValidationError, match="blocks of a map have equal names, dtypes and gradients"):
        writer.append_pieces(keys, [own.metadata[0] for own in contents], [own.chunks[0] for own in contents])
    assert sorted((tmp_path / "a.zarr").rglob("*")) == files
    writer.append(piece(1), shift={"system": 3})
    writer.close()
    assert_holds(tmp_path / "a.zarr", piece(0), piece(1))


def test_rows_of_gradients_that_belong_to_no_sample(rng: Any, tmp_path: Path) -> None:
    one = models.block(rng, 4)
    models.attach(one, "positions", models.gradient(rng, one, 5))
    metadata, chunk = one
    few = replace(metadata, samples=metadata.samples.slice_rows(0, 2))
    writer = og.ArchiveWriter(tmp_path / "a.zarr")
    with pytest.raises(
        ValidationError, match=r"positions has 'sample' from \d to 3, but its parent has 2 rows"
    ):
        writer.append_pieces(Labels.range("k", 1), [few], [Chunk(chunk.values[:2], chunk.gradients)])
    writer.abort()
    assert list(tmp_path.iterdir()) == []


# ---- failures on the way ----
class Failing:
    """Fails at the k-th shard that is written, once."""

    def __init__(self, monkeypatch: Any, at: int, error: BaseException, after: bool = False) -> None:
        self.count, original = 0, SegmentStore.write_shard

        def write_shard(store: SegmentStore, *arguments: Any) -> Any:
            self.count += 1
            if self.count == at and not after:
                raise error
            found = original(store, *arguments)
            if self.count == at:
                raise error
            return found

        monkeypatch.setattr(SegmentStore, "write_shard", write_shard)


def chunks_of_second_piece(path: Path, monkeypatch: Any) -> int:
    writer = written(path, piece(0))
    with monkeypatch.context() as patch:
        counted = Failing(patch, -1, OSError())
        writer.append(piece(1, (8, 9, 1)), shift={"system": 3})
    writer.abort()
    return counted.count


ERRORS = (OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError())
POSITIONS = 12


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_chunk_fails(tmp_path: Path, monkeypatch: Any, after: bool) -> None:
    """Whatever fails, the piece is not there; it can be left out, or appended again."""
    second = piece(1, (8, 9, 1))
    total = chunks_of_second_piece(tmp_path / "n.zarr", monkeypatch)
    assert total > POSITIONS
    for number, at in enumerate(np.linspace(1, total, POSITIONS).astype(int)):
        path, error = tmp_path / f"{at}.zarr", ERRORS[number % len(ERRORS)]
        writer = written(path, piece(0))
        with monkeypatch.context() as patch:
            Failing(patch, at, error, after)
            with pytest.raises(type(error)):
                writer.append(second, shift={"system": 3})
        if number % 2:
            writer.append(second, shift={"system": 3})
        writer.append(piece(2), shift={"system": 6})
        writer.close()
        assert_holds(path, piece(0), second if number % 2 else None, piece(2))


def test_an_interrupt_while_a_piece_is_taken_back(tmp_path: Path, monkeypatch: Any) -> None:
    """Then the writer can neither go on nor be closed: half a piece is never visible."""
    writer = written(tmp_path / "a.zarr", piece(0))

    def restore(sink: RowSink, state: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        Failing(patch, 3, OSError(28, "full"))
        patch.setattr(RowSink, "restore", restore)
        with pytest.raises(KeyboardInterrupt):
            writer.append(piece(1), shift={"system": 3})
    for call in (lambda: writer.append(piece(1), shift={"system": 3}), writer.close):
        with pytest.raises(ArchiveError, match=r"(append|close): an append before was interrupted twice"):
            call()
    assert not (tmp_path / "a.zarr").exists()


def test_a_map_that_cannot_be_computed(tmp_path: Path) -> None:
    def fail(x: Any) -> Any:
        if x.size:
            raise RuntimeError("no")
        return x

    writer = written(tmp_path / "a.zarr", piece(0))
    broken = og.apply(og.remove_gradients(piece(1)).chunk(100), fail)
    with pytest.raises(ValidationError, match="gradients"):
        writer.append(broken, shift={"system": 3})
    bare = og.ArchiveWriter(tmp_path / "b.zarr")
    bare.append(og.remove_gradients(piece(0)))
    with pytest.raises(RuntimeError, match="no"):
        bare.append(broken, shift={"system": 3})
    for each in (writer, bare):
        each.close()
    assert_holds(tmp_path / "a.zarr", piece(0))
    assert_identical(og.load(tmp_path / "b.zarr"), og.remove_gradients(piece(0)))


def test_blocks_that_a_refused_piece_would_have_begun(tmp_path: Path) -> None:
    writer = written(tmp_path / "a.zarr", piece(0, (1,)))
    with pytest.raises(ValidationError, match="was appended before"):
        writer.append(piece(1, (8, 1)))
    assert isinstance(writer._growing, GrowingMap)
    assert list(writer._growing.blocks) == [(1,)]
    writer.append(piece(1, (9,)), shift={"system": 3})
    writer.close()
    assert_holds(tmp_path / "a.zarr", piece(0, (1,)), piece(1, (9,)))


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_writer_that_is_closed(tmp_path: Path, end: str) -> None:
    writer = written(tmp_path / "a.zarr", piece(0))
    getattr(writer, end)()
    with pytest.raises(
        ValidationError, match=r"append: the writer of .*a\.zarr is closed; begin another one"
    ):
        writer.append(piece(1), shift={"system": 3})
    assert (tmp_path / "a.zarr").exists() == (end == "close")
