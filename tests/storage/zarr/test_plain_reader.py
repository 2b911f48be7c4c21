"""The reader in examples/, which knows Zarr and JSON alone, finds in every archive what Outgrad finds."""

from __future__ import annotations

import ast
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outgrad as og
from outgrad.storage.zarr import revision
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.testing.asserts import assert_identical
from tests.support import ROOT, old_archives
from tests.support.forging import read_commit, write_commit
from tests.support.pieces import joined, piece
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
    compare_tensors(found, ours.compute())


def compare_tensors(found: dict[str, Any], ours: og.TensorMap | og.TensorBlock) -> None:
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


@pytest.mark.parametrize("properties", [(0, 1), ()])
def test_archives_of_archives_in_other_folders(tmp_path: Path, properties: tuple[int, ...]) -> None:
    """Paths are relative to the archive whose commit has them, and not to the one that a segment is in."""
    pieces = [piece(seed, properties=properties) for seed in range(3)]
    folder = tmp_path / "before"
    (folder / "below").mkdir(parents=True)
    for number in (0, 1):
        og.save(folder / "below" / f"{number}.mts", pieces[number])
    og.index(sorted(folder.glob("below/*.mts")), folder / "below" / "a.zarr")
    og.append(folder / "b.zarr", pieces[2])
    og.index([folder / "below" / "a.zarr", folder / "b.zarr"], folder / "all.zarr")
    folder.rename(tmp_path / "after")
    compare_tensors(plain.read(tmp_path / "after" / "all.zarr"), joined(pieces))
    assert_identical(og.load(tmp_path / "after" / "all.zarr"), joined(pieces))
    (tmp_path / "linked").mkdir()
    link = tmp_path / "linked" / "all.zarr"
    link.symlink_to(tmp_path / "after" / "all.zarr")
    assert_identical(og.load(link), joined(pieces))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "touched": (lambda path: os.utime(path, (1, 1)), "0.mts is not what was indexed"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"1"), "0.mts is not what was indexed"),
    "flipped": (lambda path: flip_last_number(path), "0.mts is not what was indexed"),
    "elsewhere": (
        lambda path: (path.rename(path.parents[1] / "0"), path.symlink_to("../0")),
        "is not in .*home",
    ),
}


def flip_last_number(path: Path) -> None:
    """A bit of the values, without another time."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[content.index(np.asarray(piece(0).block(0).values).tobytes())] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("name", CHANGES)
def test_files_that_are_not_what_was_indexed(tmp_path: Path, name: str) -> None:
    (tmp_path / "home").mkdir()
    og.save(tmp_path / "home" / "0.mts", piece(0))
    og.index([tmp_path / "home" / "0.mts"], tmp_path / "home" / "all.zarr")
    compare(tmp_path / "home" / "all.zarr")
    change, text = CHANGES[name]
    change(tmp_path / "home" / "0.mts")
    with pytest.raises(ValueError, match=text):
        plain.read(tmp_path / "home" / "all.zarr")


def test_files_and_archives_in_other_folders_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    og.save(tmp_path / "0.mts", piece(0))
    og.append(tmp_path / "1.zarr", piece(1))
    for name in ("0.mts", "1.zarr"):
        og.index([tmp_path / name], tmp_path / "home" / f"{name}.zarr", root=tmp_path)
        with pytest.raises(ValueError, match=r"is not in .*home, and is not read"):
            plain.read(tmp_path / "home" / f"{name}.zarr")


def test_labels_of_several_segments(tmp_path: Path) -> None:
    """No function of Outgrad makes such an archive; the format allows it."""
    labels = og.Labels(["system", "atom"], [[0, 0], [0, 1], [1, 0]])
    og.save(tmp_path / "a.zarr", labels)
    og.save(tmp_path / "b.zarr", og.Labels(["system", "atom"], [[5, 0], [0, 1], [2, 2]]))
    other = read_commit(tmp_path / "b.zarr")["segments"][0]
    shutil.copytree(
        tmp_path / "b.zarr" / "segments" / other["id"], tmp_path / "a.zarr" / "segments" / other["id"]
    )
    commit = read_commit(tmp_path / "a.zarr")
    commit["segments"].append(other)
    write_commit(tmp_path / "a.zarr", json.dumps(commit).encode())
    names, rows = plain.read(tmp_path / "a.zarr")["keys"]
    assert names == ["system", "atom"]
    assert rows.tolist() == [[0, 0], [0, 1], [1, 0], [5, 0], [2, 2]]
    assert og.load(tmp_path / "a.zarr") == og.Labels(names, rows)


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
    assert imported == {"__future__", "json", "sys", "zlib", "pathlib", "typing", "numpy", "zarr"}
