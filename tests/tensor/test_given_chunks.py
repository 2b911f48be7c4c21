"""Dask arrays whose chunks are not what the array says: an error that names block and chunk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError

S, N = Labels(["system", "atom"], [[0, 0], [0, 1], [3, 0], [3, 1]]), Labels.range("n", 3)
VALUES = np.arange(1.0, 13.0).reshape(4, 3)

LIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "rows are missing": (lambda x: x[:-1], r"has shape \(1, 3\) and dtype float64, but its Dask array says"),
    "no rows": (lambda x: x[:0], r"has shape \(0, 3\)"),
    "more rows": (lambda x: np.concatenate([x, x]), r"has shape \(4, 3\)"),
    "one row for all": (lambda x: x[:1], r"has shape \(1, 3\)"),
    "columns are missing": (lambda x: x[:, :1], r"has shape \(2, 1\)"),
    "more columns": (lambda x: np.concatenate([x, x], axis=1), r"has shape \(2, 6\)"),
    "transposed": (lambda x: x.T, r"has shape \(3, 2\)"),
    "an axis more": (lambda x: x[None], r"has shape \(1, 2, 3\)"),
    "an axis less": (lambda x: x[0], r"has shape \(3,\)"),
    "no axis": (
        lambda x: x.sum(keepdims=False)[()] + np.zeros(()),
        r"must be a NumPy array, got float64|\(\)",
    ),
    "narrower": (lambda x: x.astype("f4"), r"dtype float32, but its Dask array says \(2, 3\) and float64;"),
    "integers": (lambda x: x.astype("i8"), "dtype int64, but its Dask array says"),
    "complex": (lambda x: x + 1j, "dtype complex128, but its Dask array says"),
    "objects": (lambda x: x.astype(object), "dtype object, but its Dask array says"),
    "a list": (lambda x: x.tolist(), "must be a NumPy array, got list"),
    "nothing": (lambda x: None, "must be a NumPy array, got NoneType"),
    "masked": (lambda x: np.ma.masked_greater(x, 3), "cannot be a masked array, found"),
}
LIE = pytest.mark.parametrize("lie", LIES)


def lying(lie: str, columns: int = 3, values: Any = VALUES) -> da.Array:
    """An array whose second chunk is made by ``lie``."""
    change, _ = LIES[lie]

    def chunk(x: Any, block_info: Any = None) -> Any:
        first = block_info[0]["array-location"][0][0]
        return change(x) if first else x

    source = da.from_array(values, chunks=(len(values) // 2, *values.shape[1:-1], columns))
    return source.map_blocks(chunk, dtype=float, meta=np.empty((0,) * values.ndim))


def in_block(array: Any) -> TensorBlock:
    return TensorBlock(array, S, [], N)


def in_map(array: Any) -> TensorMap:
    keys = Labels(["center_type"], [[1], [8]])
    return TensorMap(keys, [in_block(da.from_array(VALUES, chunks=2)), in_block(array)])


def as_gradient(array: Any) -> TensorBlock:
    made = in_block(da.from_array(VALUES, chunks=(2, 3)))
    rows = Labels(["sample", "atom"], [[0, 0], [1, 1], [2, 0], [3, 1]])
    made.add_gradient("positions", TensorBlock(array, rows, [], N))
    return made


PLACES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "block": (
        in_block,
        r"chunk 1 of the values of the block of 4 samples \['system', 'atom'\], the first \(system=0, atom=0",
    ),
    "map": (in_map, r"chunk 1 of the values of block 1 \(center_type=8\)"),
    "gradient": (as_gradient, r"chunk 1 of the values of the block of 4 samples \['sample', 'atom'\]"),
}

USES: dict[str, Callable[[Any, Path], Any]] = {
    "compute": lambda made, path: made.compute(),
    "persist": lambda made, path: dask.compute(made.persist()),
    "values": lambda made, path: dask.compute([block.values for block in blocks_of(made)]),
    "rows": lambda made, path: dask.compute([block.values[2:3] for block in blocks_of(made)]),
    "zarr": lambda made, path: og.save(path / "a.zarr", made),
    "mts": lambda made, path: og.save(path / "a.mts", made),
    "add": lambda made, path: (made + made).compute(),
    "sum": lambda made, path: og.sum_over_samples(made, "atom").compute(),
    "slice": lambda made, path: og.slice(made, "samples", [2]).compute(),
    "chunk": lambda made, path: made.chunk(24).compute(),
}


def blocks_of(made: Any) -> list[TensorBlock]:
    blocks = [made] if isinstance(made, TensorBlock) else list(made)
    return [*blocks, *(gradient for block in blocks for _, gradient in block.gradients())]


@LIE
@pytest.mark.parametrize("place", PLACES)
def test_an_error_names_block_and_chunk(lie: str, place: str, tmp_path: Path) -> None:
    make, where = PLACES[place]
    with pytest.raises(ValidationError, match=f"{where}.*(?:{LIES[lie][1]})"):
        make(lying(lie)).compute()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("lie", ["rows are missing", "one row for all"])
def test_whatever_is_done_with_it(lie: str, place: str, use: str, tmp_path: Path) -> None:
    if (place, use) == ("gradient", "slice"):
        pytest.skip("Dask's own slices of one array")
    make, where = PLACES[place]
    with pytest.raises(ValidationError, match=f"{where}.*(?:{LIES[lie][1]})"):
        USES[use](make(lying(lie)), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie != "columns are missing"])
def test_chunks_of_columns_are_looked_at_before_they_are_joined(lie: str) -> None:
    # Any of the three may be first; (1, 0) is called 1.
    where = r"chunk (1|\(1, \d\)) of the values of the block of 4 samples"
    with pytest.raises(ValidationError, match=where):
        in_block(lying(lie, columns=1)).compute()


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie != "one row for all"])
def test_chunks_are_looked_at_before_they_are_folded(lie: str) -> None:
    """A chunk that is transposed could be folded too."""
    array = lying(lie, values=VALUES.reshape(2, 2, 3))
    text = r"chunk 1 of the values of block_from_array, of an array of shape \(2, 2, 3\)"
    with pytest.raises(ValidationError, match=text):
        og.block_from_array(array, ["a", "b"]).compute()


def test_chunks_that_are_what_the_array_says() -> None:
    honest = da.from_array(VALUES, chunks=(2, 1)).map_blocks(lambda x: x * 2)
    assert np.array_equal(in_block(honest).compute().values, 2 * VALUES)
    assert np.array_equal(in_map(honest).compute().block(1).values, 2 * VALUES)


def test_the_meta_is_wrong_and_the_chunks_are_right() -> None:
    """Dask's own reductions and functions believe the meta, so a wrong one is an error of its own."""
    array = da.from_array(VALUES, chunks=(2, 3)).map_blocks(
        lambda x: x, dtype="f4", meta=np.empty((0, 0), "f4")
    )
    with pytest.raises(ValidationError, match=r"dtype float64, but its Dask array says \(2, 3\) and float32"):
        in_block(array).compute()


def test_equal_names_of_other_chunks_are_other_tasks() -> None:
    """A name of Dask's tells neither chunks nor dtype."""
    array = da.from_array(VALUES, chunks=2)
    other = da.Array(array.dask, array.name, array.chunks, meta=np.empty((0, 0), "f4"))
    assert not set(in_block(array).__dask_keys__()) & set(in_block(other).__dask_keys__())


@pytest.mark.parametrize("axis", [0, 1])
def test_unknown_sizes_of_any_axis(axis: int) -> None:
    array = da.from_array(VALUES, chunks=2)
    unknown = da.compress(np.ones(array.shape[axis], bool), array, axis=axis)
    unknown._chunks = tuple(
        tuple(np.nan for _ in own) if at == axis else own for at, own in enumerate(array.chunks)
    )
    with pytest.raises(ValidationError, match=r"unknown chunk sizes, shape \(.*nan.*compute_chunk_sizes\(\)"):
        in_block(unknown)
    with pytest.raises(ValidationError, match=r"unknown chunk sizes, shape \(.*nan.*compute_chunk_sizes\(\)"):
        og.block_from_array(unknown)


def test_errors_do_not_depend_on_asserts() -> None:
    """The tests of this file and of foreign arrays once more, without asserts of theirs or ours."""
    if not __debug__:
        pytest.skip("this is the run without asserts")
    files = [str(Path(__file__)), str(Path(__file__).with_name("test_foreign_arrays.py"))]
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestConfigWarning"]
    ran = subprocess.run(
        [sys.executable, "-O", "-m", "pytest", *options, *files, "-k", "not gives_the_same_numbers"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout
