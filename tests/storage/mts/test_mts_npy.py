"""Headers of ``.npy`` members: what NumPy reads is what we wrote, and the other way round."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrad.storage.mts import npy as headers
from outgrad.storage.mts.file import MemberPlace
from outgrad.storage.mts.npy import (
    ALIGNMENT,
    ELEMENT_TYPES,
    ArrayHeader,
    array_header,
    encode_array_header,
    encode_table_header,
    table_header,
)

HERE = MemberPlace("file", "member")
SHAPES = st.lists(st.integers(0, 5), min_size=2, max_size=5).map(tuple)
NAMES = st.lists(
    st.from_regex(r"[A-Za-z_]\w{0,9}", fullmatch=True).filter(str.isascii), min_size=1, unique=True
)


@given(st.sampled_from(ELEMENT_TYPES), SHAPES)
def test_numpy_reads_our_headers(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, dtype)
    content = encode_array_header(array.dtype, shape) + array.tobytes()
    found = np.lib.format.read_array(io.BytesIO(content))
    assert (found.dtype, found.shape) == (array.dtype, shape)
    assert (len(content) - array.nbytes) % ALIGNMENT == 0


@given(st.sampled_from(["<", ">"]), st.sampled_from(ELEMENT_TYPES), SHAPES, st.sampled_from("CF"))
def test_we_read_numpys_headers(order: str, dtype: str, shape: tuple[int, ...], layout: str) -> None:
    array = np.zeros(shape, np.dtype(dtype).newbyteorder(order), order=layout)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    header = array_header(stream.getvalue(), len(stream.getvalue()), HERE)
    assert (header.dtype, header.shape) == (array.dtype, shape)
    assert header.fortran_order == (array.flags.f_contiguous and not array.flags.c_contiguous)
    assert header.nbytes == len(stream.getvalue()) - array.nbytes


@settings(max_examples=30)
@given(NAMES, st.integers(0, 5))
def test_tables_both_ways(names: list[str], rows: int) -> None:
    array = np.zeros(rows, [(name, "<i4") for name in names])
    content = encode_table_header(names, rows) + array.tobytes()
    assert np.lib.format.read_array(io.BytesIO(content)).dtype == array.dtype
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    for raw in (content, stream.getvalue()):
        header = table_header(raw, len(raw), HERE)
        assert (header.names, header.rows, header.data_bytes) == (tuple(names), rows, array.nbytes)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(version: tuple[int, ...]) -> None:
    array, stream = np.zeros((2, 3)), io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    assert array_header(stream.getvalue(), len(stream.getvalue()), HERE).shape == (2, 3)


def test_few_headers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "KEPT_HEADERS", 2)
    monkeypatch.setattr(headers, "KEPT_HEADER_BYTES", 5)
    parsed: list[bytes] = []

    def parse(header: bytes, where: MemberPlace) -> ArrayHeader:
        parsed.append(header)
        return ArrayHeader(np.dtype("f8"), (), False, len(header))

    remembered = headers._remembered(parse)
    for header in (
        b"one",
        b"one",
        b"two",
        b"one",
        b"three",
        b"three",
        b"one",
        b"long header",
        b"long header",
    ):
        assert remembered(header, MemberPlace("", "")).nbytes == len(header)
    assert parsed == [b"one", b"two", b"three", b"one", b"long header", b"long header"]
