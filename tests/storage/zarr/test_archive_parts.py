"""Any cut into parts, any packing, any storage grid: the same archive, each storage chunk written once."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outgrad.data.requests import Written
from outgrad.errors import ArchiveError
from outgrad.storage.zarr.format import ArraySpec, ChunkSizes
from outgrad.storage.zarr.reader import Opened
from outgrad.storage.zarr.storage_chunks import SegmentStore
from tests.support import models
from tests.support.archives import open_archive
from tests.support.models import Model
from tests.support.saving import commit


@st.composite
def shapes(draw: Callable[..., Any]) -> list[Any]:
    """Samples, properties and gradient rows of some blocks; equal properties share an array."""
    has_second = draw(st.booleans())
    block = st.tuples(st.integers(0, 12), st.sampled_from([1, 2]), st.integers(0, 25), st.just(has_second))
    return draw(st.lists(block, max_size=6))


def build(seed: int, drawn: list[Any]) -> Model:
    rng = np.random.default_rng(seed)
    blocks = []
    for samples, properties, rows, has_second in drawn:
        one = models.block(rng, samples, (), properties)
        positions = models.gradient(rng, one, rows)
        if has_second:
            models.attach(positions, "cell", models.gradient(rng, positions, rows, (2,), prefix="abc"))
        models.attach(one, "positions", positions)
        blocks.append(one)
    return models.model(blocks)


@given(
    drawn=shapes(),
    seed=st.integers(0, 2**16),
    shard=st.sampled_from([8, 40, 100, 4000]),
    chunk=st.sampled_from([8, 30, 10**6]),
    share=st.sampled_from([0, 200, 10**6]),
    repeat=st.booleans(),
    data=st.data(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_partition_gives_the_same_archive(
    drawn: list[Any], seed: int, shard: int, chunk: int, share: int, repeat: bool, data: st.DataObject
) -> None:
    made = build(seed, drawn)
    pieces = []
    for number, one in enumerate(made.chunks):
        cuts = data.draw(st.lists(st.integers(0, len(one.values)), max_size=4), label="cuts")
        pieces += models.split(one, number, cuts)
    owners = [data.draw(st.integers(0, 4), label="part") for _ in pieces]
    parts = [[piece for piece, owner in zip(pieces, owners, strict=True) if owner == n] for n in range(5)]
    sizes = ChunkSizes(
        shard=shard,
        chunk=chunk,
        table_shard=24,
        table_chunk=12,
        share_below=share,
        share_from=2,
        fine_chunk=200,
        whole_system=400,
    )
    with tempfile.TemporaryDirectory() as folder:
        with pytest.MonkeyPatch.context() as patch:
            counted = count_writes(patch)
            models.save(Path(folder) / "a.zarr", made, parts, repeat, sizes=sizes)
        data_writes = {key: n for key, n in counted.items() if "values" in key}
        assert all(n <= 1 + repeat for n in data_writes.values())
        opened = open_archive(Path(folder) / "a.zarr")
        models.assert_same(opened, made)
        check_fine_chunks(opened, made)


def count_writes(patch: pytest.MonkeyPatch) -> Any:
    counted: Counter[str] = Counter()
    original = SegmentStore.write_shard

    def write_shard(self: Any, array: ArraySpec, number: int, rows: np.ndarray) -> Any:
        counted[array.shard_key(number)] += 1
        return original(self, array, number, rows)

    patch.setattr(SegmentStore, "write_shard", write_shard)
    return counted


def check_fine_chunks(opened: Opened, made: Model) -> None:
    """Chunks read one by one, gradients numbered from their start, are those of the whole."""
    for number, outline in enumerate(opened.outlines):
        whole = made.chunks[number]
        requests = models.split(whole, number, outline.edges[1:-1].tolist())
        for (_, array), *ranges in zip(
            outline.walk(), *(request.ranges for request in requests), strict=True
        ):
            assert [start for start, _ in ranges] == array.edges[:-1].tolist()
        for request, found in zip(requests, opened.reader.read(requests), strict=True):
            starts = {}
            for (path, chunk), (start, stop) in zip(whole.walk(), request.ranges, strict=True):
                starts[path] = start
                np.testing.assert_array_equal(found.at(path).values, chunk.values[start:stop])
                if path:
                    expected = chunk.table[start:stop] - [starts[path[:-1]], 0]
                    np.testing.assert_array_equal(found.at(path).table, expected)


def test_a_chunk_shared_by_many_parts(rng: np.random.Generator, tmp_path: Path) -> None:
    one = models.block(rng, 40)
    made = models.model([one])
    parts = [[request] for request in models.split(one[1], 0, range(1, 40))]
    models.save(tmp_path / "a.zarr", made, parts, sizes=ChunkSizes(shard=240, share_below=0))
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)


def test_neighbours_of_one_part_are_written_at_once(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = models.model([models.block(rng, 10) for _ in range(20)])
    writer_parts = [made.whole()]
    counted = count_writes(monkeypatch)
    writer = models.save(tmp_path / "a.zarr", made, writer_parts, sizes=ChunkSizes(share_from=2))
    assert writer.seams(writer_parts) == []
    assert counted["shared/values/0/c.0.0"] == 1


def test_what_was_not_written_is_listed(rng: np.random.Generator, tmp_path: Path) -> None:
    made = models.typical(rng)
    again = models.writer_of(tmp_path / "b.zarr", made)
    again.start()
    with pytest.raises(
        ArchiveError, match=r"\d shard\(s\) were not written: .*values shard 0.*run the writing"
    ):
        commit(again, [Written()])
    again.abort()
    assert not (tmp_path / "b.zarr").exists()


def test_written_counts_bytes_and_drops_ends(rng: np.random.Generator, tmp_path: Path) -> None:
    one = models.block(rng, 40)
    made = models.model([one])
    writer = models.writer_of(tmp_path / "b.zarr", made, sizes=ChunkSizes(shard=240))
    writer.start()
    (first, *_) = parts = models.split(one[1], 0, [15])
    written = writer.write([first], [type(one[1])(one[1].values[:15])])
    assert (written.nbytes, [end.start for end in written.ends]) == (240, [10])
    assert written.receipt().ends == ()
    (seam,) = writer.seams([[part] for part in parts])
    assert (seam.shard, seam.parts) == (1, (0, 1))
    writer.abort()


def test_tasks_after_an_abort(rng: np.random.Generator, tmp_path: Path) -> None:
    made = models.typical(rng)
    writer = models.writer_of(tmp_path / "b.zarr", made)
    with pytest.raises(
        ArchiveError, match=r"plan.json is missing or not a plan .*; call start\(\) first, or save again"
    ):
        writer.write(made.whole(), made.chunks)
