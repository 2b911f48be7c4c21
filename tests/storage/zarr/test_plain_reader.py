"""The reader in examples/, which knows Zarr and JSON alone, finds in every archive what Outgrad finds."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.storage.zarr import revision
from outgrad.storage.zarr.format import ChunkSizes
from tests.support import ROOT, old_archives
from tests.support.pieces import piece
from tests.support.scripts import imported_script

SCRIPT = ROOT / "examples" / "plain_reader.py"
plain = imported_script(SCRIPT)


def compare(path: Path, version: int | None = None) -> None:
    """All labels and numbers, as both read them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = plain.read(path, version)
    ours = og.open(path, version=version)
    if isinstance(ours, og.Labels):
        assert found["keys"][0] == ours.names
        np.testing.assert_array_equal(found["keys"][1], ours.values)
        return
    ours = ours.compute()
    blocks = [ours] if isinstance(ours, og.TensorBlock) else ours.blocks()
    if isinstance(ours, og.TensorMap):
        assert found["info"] == ours.info()
        assert og.Labels(*found["keys"]) == ours.keys
    for own, block in zip(found["blocks"], blocks, strict=True):
        compare_blocks(own, block)


def compare_blocks(own: dict[str, Any], block: og.TensorBlock) -> None:
    np.testing.assert_array_equal(own["values"], block.values)
    assert own["values"].dtype == block.values.dtype
    labels = [own["samples"], *own["components"], own["properties"]]
    expected = [block.samples, *block.components, block.properties]
    for (names, rows), other in zip(labels, expected, strict=True):
        assert names == other.names
        np.testing.assert_array_equal(rows, other.values)
    assert list(own["gradients"]) == block.gradients_list()
    for name, gradient in own["gradients"].items():
        compare_blocks(gradient, block.gradient(name))


@pytest.mark.parametrize("path", sorted(old_archives.FOLDER.parent.glob("*/*/*.zarr")), ids=lambda p: p.name)
def test_archives_of_all_versions_of_the_format(path: Path) -> None:
    compare(path)


@pytest.mark.parametrize("compressor", ["none", "lz4", "zstd"])
def test_archives_with_small_chunks(tmp_path: Path, compressor: str) -> None:
    sizes = ChunkSizes(shard=600, chunk=200, table_shard=100, table_chunk=40, share_from=2)
    with og.ArchiveWriter(tmp_path / "a.zarr", sizes=sizes, compressor=compressor) as writer:
        writer.append(piece(0, systems=9, keys=(0, 1, 2)))
    compare(tmp_path / "a.zarr")


def test_archives_that_have_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "REPEATED_BYTES", 10_000)
    path = tmp_path / "a.zarr"
    for seed in range(6):
        options = {"keys": (0, seed), "properties": (seed, 7)} if seed > 3 else {}
        og.append(path, piece(seed, **options), fill_value=np.nan)
    for version in range(1, 7):
        compare(path, version)
    og.compact(path)
    compare(path)


def test_archives_of_other_files(tmp_path: Path) -> None:
    for seed in range(3):
        og.save(tmp_path / f"{seed}.mts", piece(seed))
    og.append(tmp_path / "b.zarr", piece(3))
    og.index([*sorted(tmp_path.glob("*.mts")), tmp_path / "b.zarr"], tmp_path / "all.zarr")
    compare(tmp_path / "all.zarr")


def test_blocks_and_labels(tmp_path: Path) -> None:
    og.save(tmp_path / "block.zarr", piece(0).block(0))
    og.save(tmp_path / "labels.zarr", piece(0).block(0).samples)
    compare(tmp_path / "block.zarr")
    compare(tmp_path / "labels.zarr")


def test_it_is_short_and_knows_zarr_alone() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 150
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported == {"__future__", "json", "math", "sys", "pathlib", "typing", "numpy", "zarr"}
