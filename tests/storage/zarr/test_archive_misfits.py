"""Data that are not what their plan says are never written, whatever made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask.array
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, ValidationError
from outgrad.data.chunk import Chunk
from outgrad.data.outline import Outline, Piece
from outgrad.data.requests import Request
from outgrad.engine.content import Lazy
from outgrad.errors import ArchiveError, FileFormatError
from outgrad.graph.lazy_blocks import made_blocks
from outgrad.storage.mts.reader import open_mts
from outgrad.testing import Parameter, random_block

SUFFIXES = pytest.mark.parametrize("suffix", [".zarr", ".mts"])


def made(chunk: Chunk, rows: int, planned: int | None = None) -> TensorBlock:
    """A lazy block whose task gives ``chunk``, whatever its labels and outlines say."""
    outline = Outline(np.array([0, planned or rows]), (2,), np.dtype(float))
    lazy = made_blocks("made", lambda: [chunk], [()], (outline,), ((Piece(0, 0),),))
    whole = og.block_from_array(np.zeros((rows, 2)))
    return TensorBlock._of(Lazy((whole._metadata,), lazy))


@SUFFIXES
@pytest.mark.parametrize(
    "values", [np.zeros((2, 2)), np.zeros((3, 1)), np.zeros((3, 2), "f4"), np.zeros((3, 2), "i8")]
)
def test_chunks_that_were_not_planned(tmp_path: Path, suffix: str, values: np.ndarray) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(ArchiveError, match=r"of block 0|\(block 0\)") as caught:
        og.save(path, made(Chunk(values), 3))
    assert "planned" in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert not path.exists()


@SUFFIXES
def test_labels_that_do_not_describe_the_values(tmp_path: Path, suffix: str) -> None:
    block = made(Chunk(np.zeros((4, 2))), 3, planned=4)
    with pytest.raises(
        ValidationError, match=r"labels of block 0 describe the shapes .*\(3, 2\).* values have .*\(4, 2\)"
    ):
        og.save(tmp_path / f"a{suffix}", block)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_a_file_does_not_have(tmp_path: Path) -> None:
    og.save(tmp_path / "a.mts", og.block_from_array(np.zeros((3, 2))))
    reader = open_mts(tmp_path / "a.mts").reader
    with pytest.raises(FileFormatError, match=r"rows \[0, 4\) are asked for, but it has 3; .*open it again"):
        reader.read([Request(0, ((0, 4),))])
    with pytest.raises(FileFormatError, match="fewer gradients than are asked for"):
        reader.read([Request(0, ((0, 3), (0, 1)))])


def test_gradient_rows_that_only_seem_sorted(rng: np.random.Generator) -> None:
    sorted_ = random_block(
        rng,
        Labels.range("s", 6),
        [],
        Labels.range("n", 2),
        {"x": Parameter(gradients={"x": Parameter()})},
        sparsity=0.9,
    ).chunk(1)
    (metadata,) = sorted_._blocks().metadata
    rows = metadata.gradients["x"].samples
    turned = replace(metadata.gradients["x"], samples=Labels(rows.names, rows.values[::-1]))
    forged = TensorBlock._of(
        Lazy((replace(metadata, gradients={"x": turned}),), sorted_._blocks().to_compute)
    )
    with pytest.raises(ValidationError, match=r"gradient 'x' are not sorted by 'sample', but its chunks"):
        forged * forged


def test_compressed_rows_that_no_reader_takes(tmp_path: Path) -> None:
    components = [Labels.range(name, 1024) for name in "xy"]
    values = dask.array.zeros((1, 1024, 1024, 257), chunks=-1)
    block = TensorBlock(values, Labels.single(), components, Labels.range("n", 257))
    with pytest.raises(ValidationError, match=r"rows of 2155872256 bytes, .* at most 2147483647 bytes"):
        og.save(tmp_path / "a.zarr", block)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("levels", [16, 17])
def test_gradients_nested_too_deep(tmp_path: Path, levels: int) -> None:
    n, path = Labels.range("n", 1), tmp_path / "a.zarr"
    block = TensorBlock(np.ones((1, 1)), Labels.range("sample", 1), [], n)
    for _ in range(levels):
        above = TensorBlock(np.ones((1, 1)), Labels.range("sample", 1), [], n)
        above.add_gradient("gradients", block)
        block = above
    if levels == 16:
        og.save(path, block)
        assert og.equal_block(og.load_block(path), block)
        return
    with pytest.raises(ValidationError, match=r"is nested deeper than the 16 levels of gradients that an"):
        og.save(path, block)
    assert list(tmp_path.iterdir()) == []
