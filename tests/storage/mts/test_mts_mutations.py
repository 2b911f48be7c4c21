"""Valid files with some bytes changed: an error, or what NumPy and metatensor make of them too."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outgrad.errors import FileFormatError
from outgrad.storage.mts.reader import OpenedMts, open_mts, verify_mts
from tests.support.mts_files import Files

SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
METHOD = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
INTERESTING = st.sampled_from(
    [b"\x00", b"\xff", b"-", b"9", b"(", b"'", b",", b"\x7f\xff\xff\xff", b"PK\3\4"]
)
CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), INTERESTING | st.binary(max_size=3)), min_size=1, max_size=3
)


def mutated(content: bytes, changes: list[tuple[Any, ...]]) -> bytes:
    """Put the given bytes at relative positions."""
    raw = bytearray(content)
    for place, piece in changes:
        at = int(place * len(raw))
        raw[at : at + len(piece)] = piece
    return bytes(raw)


def read(files: Files, path: Path) -> tuple[OpenedMts | dict[Any, Any], ...] | None:
    """All arrays, or None if the file is refused."""
    try:
        opened = open_mts(path)
        return opened, files.arrays(opened)
    except FileFormatError:
        return None


@SETTINGS
@given(METHOD, CHANGES)
@pytest.mark.filterwarnings("ignore:the rows of gradient")
def test_bytes_of_the_file(files: Files, method: int, changes: list[tuple[Any, ...]]) -> None:
    """Whole arrays are compared with their checksum, so what is read is what was written."""
    original = files.map(method=method).read_bytes()
    path = files.folder / "mutated.mts"
    path.write_bytes(mutated(original, changes))
    found = read(files, path)
    problems = verify_mts(path)
    if found is None:
        assert problems
        return
    assert not problems
    for name, array in files.map_arrays().items():
        if name.endswith("values"):
            np.testing.assert_array_equal(found[1][name], array)


@SETTINGS
@given(METHOD, st.data())
@pytest.mark.filterwarnings("ignore:the rows of gradient")
def test_bytes_of_a_member_with_the_right_checksum(files: Files, method: int, data: st.DataObject) -> None:
    members = files.members(files.map_arrays())
    name = data.draw(st.sampled_from(sorted(members)))
    members[name] = mutated(members[name], data.draw(CHANGES))
    path = files.zip(members, method)
    found = read(files, path)
    if found is None:
        return
    for other, array in found[1].items():
        expected = np.load(io.BytesIO(members[f"{other}.npy"]), allow_pickle=False)
        if expected.dtype.names:
            expected = expected.view("<i4").reshape(array.shape)
        assert array.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(array, expected)
    metatensor = pytest.importorskip("metatensor")
    theirs = metatensor.load(str(path), use_numpy=True)
    for number, block in enumerate(theirs.blocks()):
        np.testing.assert_array_equal(block.values, found[1][f"blocks/{number}/values"])


HEADER = st.fixed_dictionaries(
    {
        "descr": st.sampled_from(["<f8", ">f8", "|b1", "<f4", "O", "V8", "<U4", 5, None])
        | st.lists(st.tuples(st.sampled_from(["sample", "atom", "n", ""]), st.sampled_from(["<i4", "<f4"]))),
        "fortran_order": st.sampled_from([True, False, 1, "no"]),
        "shape": st.lists(st.sampled_from([0, 1, 2, 3, 4, 12, 13, 2**31, 2**62, -1, 1.5]), max_size=5).map(
            tuple
        ),
    }
)


@SETTINGS
@given(HEADER, st.data())
@pytest.mark.filterwarnings("ignore:the rows of gradient")
def test_fields_of_a_header(files: Files, header: dict[Any, Any], data: st.DataObject) -> None:
    members = files.members(files.map_arrays())
    name = data.draw(st.sampled_from(sorted(members)))
    text = repr(header).encode() + b"\n"
    body = members[name][128:]
    members[name] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body
    found = read(files, files.zip(members))
    if found is not None:
        assert zlib.crc32(members[name])
        assert np.load(io.BytesIO(members[name]), allow_pickle=False).shape == header["shape"]
