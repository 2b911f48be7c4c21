"""Arrays of other classes and byte orders: plain arrays of the same numbers, or an error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import outgrad as og
from outgrad import Labels, TensorBlock, TensorMap, ValidationError
from outgrad.testing import assert_identical
from tests.support.lazy import nothing_computed

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass")

S, N = Labels.range("system", 2), Labels.range("n", 2)
VALUES = np.array([[1.0, 2.0], [3.0, 4.0]])
OTHER = ">" if sys.byteorder == "little" else "<"


class Metres(np.ndarray):
    """Numbers with a unit, as astropy, pint and yt make them."""


class Unmasked(np.ma.MaskedArray):
    """A class of one's own with a mask."""


def mapped(path: Path) -> np.memmap[Any, Any]:
    np.save(path, VALUES)
    return np.load(path, mmap_mode="r")


def through_dask(array: np.ndarray[Any, Any], meta: Any = None) -> da.Array:
    """A Dask array whose chunks are of the class of ``array``; its meta says so, or is plain."""
    meta = array[:0] if meta is None else meta
    source = da.from_array(np.zeros(array.shape), chunks=(1, -1))

    def chunk(zeros: Any, block_info: Any = None) -> Any:
        start, stop = block_info[0]["array-location"][0]
        return array[start:stop]

    return source.map_blocks(chunk, dtype=array.dtype, meta=meta)


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")


# ---- where arrays come in ----
def block(values: Any) -> TensorBlock:
    return TensorBlock(values, S, [], N)


def gradient(values: Any) -> TensorBlock:
    made = block(np.zeros((2, 2), native(values.dtype)))
    made.add_gradient("x", TensorBlock(values, Labels("sample", [[0], [1]]), [], N))
    return made.gradient("x")


def lazy_gradient(values: Any) -> TensorBlock:
    made = block(np.zeros((2, 2), native(values.dtype))).chunk(16)
    made.add_gradient("x", TensorBlock(values, Labels("sample", [[0], [1]]), [], N))
    return made.gradient("x").compute()


VALUE_DOORS: dict[str, Callable[[Any], TensorBlock]] = {
    "TensorBlock": block,
    "block_from_array": og.block_from_array,
    "add_gradient": gradient,
    "add_gradient to lazy values": lazy_gradient,
    "Dask": lambda values: block(through_dask(values)).compute(),
    "Dask, plain meta": lambda values: block(through_dask(values, np.empty((0, 0)))).compute(),
    "Dask, any chunks": lambda values: block(through_dask(values).rechunk(1)).compute(),
    "Dask, folded": lambda values: og.block_from_array(
        through_dask(values, np.empty((0, 0)))[:, None], ["a", "b"]
    ).compute(),
    "apply": lambda values: og.apply(block(np.array(VALUES)), lambda x: values[: len(x)]),
    "apply_rows": lambda values: og.apply_rows(block(np.array(VALUES)), lambda x: values[: len(x)]),
}
DOORS = pytest.mark.parametrize("door", VALUE_DOORS)

LABEL_DOORS: dict[str, Callable[[Any], Any]] = {
    "Labels": lambda column: Labels("a", column[:, None]).values[:, 0],
    "Labels of a Dask array": lambda column: Labels("a", through_dask(column[:, None])).values[:, 0],
    "Labels of a list of arrays": lambda column: Labels(["a", "b"], [column]).values[0],
    "LabelsEntry": lambda column: og.LabelsEntry(["a", "b"], column).values,
    "Labels.append": lambda column: S.append("a", column).column("a"),
    "append_dimension": lambda column: og.append_dimension(
        block(VALUES), "samples", "a", column
    ).samples.column("a"),
    "append_dimension of each block": lambda column: og.append_dimension(
        block(VALUES), "properties", "a", [column]
    ).properties.column("a"),
    "insert_dimension": lambda column: og.insert_dimension(
        block(VALUES), "properties", 0, "a", column
    ).properties.column("a"),
    "slice": lambda column: og.slice(block(VALUES), "samples", column).samples.column("system"),
}


# ---- values ----
@DOORS
@pytest.mark.parametrize("kind", ["matrix", "memmap", "recarray", "masked without a mask"])
def test_classes_that_mean_the_same(door: str, kind: str, tmp_path: Path) -> None:
    given_ = {
        "matrix": lambda: np.asmatrix(VALUES),
        "memmap": lambda: mapped(tmp_path / "a.npy"),
        "recarray": lambda: VALUES.view(np.recarray),
        "masked without a mask": lambda: np.ma.masked_array(VALUES),
    }[kind]()
    if kind == "matrix" and door in ("Dask, folded", "apply"):
        pytest.skip("a matrix has two axes")
    if kind.startswith("masked") and door.startswith("Dask") and "meta" not in door and "folded" not in door:
        pytest.skip("refused by its meta")
    values = VALUE_DOORS[door](given_).values
    assert type(values) is np.ndarray
    assert np.array_equal(values.reshape(2, 2), VALUES)
    product = np.asarray((og.block_from_array(values) * og.block_from_array(values)).values)
    assert np.array_equal(product.reshape(2, 2), VALUES**2)


@DOORS
@pytest.mark.parametrize("masked", [np.ma.masked_array, Unmasked])
def test_masked_entries_are_refused(door: str, masked: Any) -> None:
    array = masked(VALUES, mask=[[False, True], [False, False]])
    with pytest.raises(
        ValidationError, match=r"masked array.*; fill or drop the masked entries first, such as with"
    ):
        VALUE_DOORS[door](array)


@DOORS
def test_classes_that_may_mean_more_are_refused(door: str) -> None:
    text = r"cannot be a (\w+\.)*Metres, which may mean more than its numbers, such as a unit; pass the plain"
    with pytest.raises(ValidationError, match=text):
        VALUE_DOORS[door](VALUES.view(Metres))


def test_masked_numbers_are_refused() -> None:
    for call in (og.add, og.multiply, og.pow):
        with pytest.raises(ValidationError, match="a number cannot be a masked array"):
            call(block(VALUES), np.ma.masked)


def test_a_function_that_masks_what_it_cannot_do() -> None:
    with pytest.raises(
        ValidationError, match="apply: f returned an array that cannot be a masked array, found 1"
    ):
        og.apply(block(VALUES - 1), np.ma.log)


def test_arrays_that_need_no_change_are_shared(tmp_path: Path) -> None:
    memmap = mapped(tmp_path / "a.npy")
    assert np.shares_memory(block(memmap).values, memmap)
    assert block(VALUES).values is VALUES


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[s]", "m8[s]", [("x", "f8")]])
def test_what_is_no_number(dtype: Any) -> None:
    for values in (np.zeros((2, 2), dtype), da.zeros((2, 2), chunks=1, dtype=dtype)):
        with pytest.raises(ValidationError, match="values must be numbers or booleans, got dtype"):
            block(values)


class Table:
    """What pandas and others have: it becomes an array when it is asked."""

    dtype = np.dtype(float)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ma.masked_array([[1], [2]], mask=[[0], [1]])


Table.__module__ = "pandas.core.frame"


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], r"got list; convert with numpy.asarray\(…\)"),
        (Table(), r"got a pandas Table; pass its numbers, \.to_numpy\(\)"),
        (3.0, "got float; convert"),
    ],
)
def test_what_is_no_array(given_: Any, text: str) -> None:
    with pytest.raises(TypeError, match=f"TensorBlock: values must be a NumPy or Dask array, {text}"):
        block(given_)


def test_dask_arrays_of_masked_or_other_chunks_are_refused_at_once() -> None:
    array = da.from_array(VALUES, chunks=1)
    other = da.from_array(VALUES, chunks=1)
    other._meta = Table()
    with nothing_computed():
        with pytest.raises(ValidationError, match=r"Dask array of masked arrays; .* dask.array.ma.filled"):
            block(da.ma.masked_greater(array, 3))
        with pytest.raises(
            ValidationError, match=r"whose chunks are pandas\.Table; convert them to NumPy arrays"
        ):
            block(other)
    filled = block(da.ma.filled(da.ma.masked_greater(array, 3), 0))
    assert filled.compute().values.tolist() == [[1, 2], [3, 0]]


# ---- labels ----
@pytest.mark.parametrize("door", LABEL_DOORS)
def test_labels_of_masked_arrays(door: str) -> None:
    column = np.ma.masked_array([1, 0], mask=[False, False])
    assert LABEL_DOORS[door](column).tolist() == [1, 0]
    with pytest.raises(ValidationError, match="cannot be a masked array, found 1 masked of 2 entries"):
        LABEL_DOORS[door](np.ma.masked_array([1, 0], mask=[False, True]))
    if "Dask" not in door:  # which forgets the class where it joins chunks
        with pytest.raises(ValidationError, match="Metres, which may mean more"):
            LABEL_DOORS[door](np.array([1, 0]).view(Metres))


def test_labels_of_what_becomes_an_array() -> None:
    with pytest.raises(ValidationError, match="Labels: values cannot be a masked array"):
        Labels("a", Table())


@pytest.mark.parametrize("door", LABEL_DOORS)
@pytest.mark.parametrize("dtype", ["i2", "i4", "u8"])
def test_labels_of_any_byte_order(door: str, dtype: str) -> None:
    assert LABEL_DOORS[door](np.array([1, 0], OTHER + dtype)).tolist() == [1, 0]
    assert LABEL_DOORS[door](np.array([1, 0], OTHER + dtype)).dtype == np.dtype("i4").newbyteorder("=")


def test_labels_of_a_matrix() -> None:
    assert Labels(["a", "b"], np.asmatrix([[1, 2], [3, 4]])).values.tolist() == [[1, 2], [3, 4]]


# ---- byte orders ----
DTYPES = ["i2", "f8", "c16"]


@DOORS
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_byte_order_gives_the_same_numbers(door: str, dtype: str) -> None:
    native = VALUES.astype(dtype)
    found = VALUE_DOORS[door](native.astype(native.dtype.newbyteorder(OTHER)))
    assert found.values.dtype.isnative
    assert_identical(found, VALUE_DOORS[door](native))


@pytest.mark.parametrize("suffix", [".zarr", ".mts"])
def test_arrays_of_another_byte_order_are_saved(tmp_path: Path, suffix: str) -> None:
    np.save(tmp_path / "big.npy", VALUES.astype(OTHER + "f8"))
    for n, values in enumerate([np.load(tmp_path / "big.npy"), da.from_array(np.load(tmp_path / "big.npy"))]):
        og.save(tmp_path / f"{n}{suffix}", block(values) * block(VALUES))
        assert_identical(og.load(tmp_path / f"{n}{suffix}"), block(VALUES**2))


def test_conversions_to_another_byte_order() -> None:
    for made in (block(VALUES), block(VALUES).chunk(16)):
        converted = made.to(dtype=OTHER + "f4")
        assert converted.dtype == np.dtype("f4")
        assert converted.dtype.isnative
        assert_identical(converted, made.to(dtype="f4"))


def test_another_byte_order_has_the_same_names_of_tasks() -> None:
    big, little = (TensorMap(Labels.single(), [block(v)]) for v in (VALUES.astype(OTHER + "f8"), VALUES))
    assert big.chunk(16).__dask_keys__() == little.chunk(16).__dask_keys__()


@given(
    arrays.arrays(
        st.sampled_from([np.dtype(order + dtype) for order in "<>" for dtype in ("i4", "f4", "f8", "c16")]),
        (2, 2),
        elements=st.integers(-100, 100),
    ),
    st.sampled_from(["", "view", "reversed", "transposed", "read only", "broadcast", "unaligned"]),
)
def test_any_layout(values: np.ndarray[Any, Any], layout: str) -> None:
    given_ = {
        "": lambda: values,
        "view": lambda: np.repeat(values, 2, axis=1)[:, ::2],
        "reversed": lambda: values[::-1, ::-1].copy()[::-1, ::-1],
        "transposed": lambda: values.T.copy().T,
        "read only": lambda: np.frombuffer(values.tobytes(), values.dtype).reshape(2, 2),
        "broadcast": lambda: np.broadcast_to(values[:1], (2, 2)),
        "unaligned": lambda: np.frombuffer(b"." + values.tobytes(), values.dtype, offset=1).reshape(2, 2),
    }[layout]()
    native = np.array(given_, dtype=given_.dtype.newbyteorder("="))
    assert_identical(block(given_) + block(given_), block(native) + block(native))
    assert_identical(block(da.from_array(given_, chunks=1)).compute(), block(native))
