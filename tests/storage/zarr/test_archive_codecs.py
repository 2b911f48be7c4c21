"""Chunks of bytes: equal to Zarr's own, and hostile ones are refused before memory is given."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from outgrad.storage.zarr.codecs import (
    CodecError,
    Compressor,
    chain_from_json,
    chain_to_json,
    crc32c,
    decode,
    encode,
)
from outgrad.storage.zarr.format import COMPRESSORS

ALL = {
    **COMPRESSORS,
    "plain zstd": Compressor("zstd", 3),
    "blosc zstd": Compressor("blosc", 3, "zstd", "bitshuffle"),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["f8", "i1", "c16", "?", "f2"])
def test_round_trip(rng: np.random.Generator, name: str, dtype: str) -> None:
    rows = rng.integers(0, 2, size=(50, 3)).astype(dtype)
    stored, checksum = encode(rows, ALL[name])
    assert checksum == int.from_bytes(stored[-4:].tobytes(), "little") == crc32c(stored[:-4])
    out = np.empty_like(rows)
    decode(stored, ALL[name], out)
    np.testing.assert_array_equal(out, rows)


@pytest.mark.parametrize("name", ALL)
def test_the_bytes_are_those_of_zarr(rng: np.random.Generator, tmp_path: Path, name: str) -> None:
    rows = rng.integers(0, 9, size=(50, 3)).astype("f8")
    (to_bytes, *middle, last) = chain_to_json(ALL[name], 8)
    codecs = {"blosc": BloscCodec, "zstd": ZstdCodec}
    compressors = [codecs[codec["name"]].from_dict(codec) for codec in middle]
    array = zarr.create_array(tmp_path, shape=(50, 3), dtype="f8", compressors=[*compressors, Crc32cCodec()])
    array[:] = rows
    stored, _ = encode(rows, ALL[name])
    assert (tmp_path / "c" / "0" / "0").read_bytes() == stored.tobytes()
    assert [to_bytes, *middle, last] == [codec.to_dict() for codec in array.metadata.codecs]


@pytest.mark.parametrize("name", ALL)
def test_chains_round_trip(name: str) -> None:
    assert chain_from_json(chain_to_json(ALL[name], 8)) == ALL[name]
    assert chain_from_json(chain_to_json(ALL[name], 1)) == ALL[name]


BLOSC = chain_to_json(COMPRESSORS["lz4"], 8)[1]["configuration"]


@pytest.mark.parametrize(
    ("codecs", "text"),
    [
        ([], r"must be bytes, at most one compressor, crc32c; found \[\]"),
        ([{"name": "bytes"}], "crc32c; found"),
        ([{"name": "crc32c"}, {"name": "bytes"}], "crc32c; found"),
        (["bytes", "crc32c"], "crc32c; found"),
        ([{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}], "little-endian"),
        (
            [{"name": "bytes"}, {"name": "gzip"}, {"name": "crc32c"}],
            "compressor 'gzip' is not allowed; allowed are zstd",
        ),
        (
            [
                {"name": "bytes"},
                {"name": "blosc", "configuration": {**BLOSC, "cname": "blosclz"}},
                {"name": "crc32c"},
            ],
            "compressor 'blosc' with 'blosclz' is not allowed",
        ),
        ([{"name": "bytes"}, {"name": "blosc", "configuration": []}, {"name": "crc32c"}], "is not allowed"),
        (
            [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": "a"}}, {"name": "crc32c"}],
            "is not allowed",
        ),
        ([{"name": "bytes"}, {"name": "sharding_indexed"}, {"name": "crc32c"}], "is not allowed"),
    ],
)
def test_other_chains_are_refused(codecs: list[Any], text: str) -> None:
    with pytest.raises(CodecError, match=text):
        chain_from_json(codecs)


def sealed(body: bytes) -> np.ndarray:
    body = np.frombuffer(bytes(body), np.uint8)
    return np.append(body, np.frombuffer(crc32c(body).to_bytes(4, "little"), np.uint8))


@pytest.mark.parametrize("name", ALL)
def test_another_size_is_refused_before_decoding(
    rng: np.random.Generator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outgrad.storage.zarr.codecs.unpack", None)
    stored, _ = encode(np.zeros(1000), ALL[name])
    with pytest.raises(CodecError, match="it decodes to 8000 bytes where 7992 belong"):
        decode(stored, ALL[name], np.empty(999))


@pytest.mark.parametrize("content", [b"", b"abc", b"\0\0\0\1", bytes(40)])
@pytest.mark.parametrize("name", ALL)
def test_what_is_no_chunk(name: str, content: bytes) -> None:
    with pytest.raises(CodecError, match="do not match their checksum"):
        decode(np.frombuffer(content, np.uint8), ALL[name], np.empty(3))


@pytest.mark.parametrize("name", ["lz4", "plain zstd"])
@pytest.mark.parametrize("size", [0, 1, 5, 15, 16, 17, 40])
def test_frames_with_a_right_checksum_and_wrong_content(
    rng: np.random.Generator, name: str, size: int
) -> None:
    for body in (bytes(size), b"\x28\xb5\x2f\xfd" + bytes(size), rng.bytes(size)):
        with pytest.raises(CodecError, match=r"not a Blosc frame|not a zstd frame|decoded size|decodes to"):
            decode(sealed(body), ALL[name], np.empty(1000))


@pytest.mark.parametrize("name", ["lz4", "zstd", "plain zstd"])
def test_damaged_frames_with_a_right_checksum(rng: np.random.Generator, name: str) -> None:
    """Never a crash; what happens to decode is another array of the right size."""
    rows = rng.integers(0, 5, size=2000).astype("f8")
    stored, _ = encode(rows, ALL[name])
    body = stored[:-4]
    for at in rng.integers(0, body.size, size=100):
        damaged = body.copy()
        damaged[at] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(CodecError):
            decode(sealed(damaged.tobytes()), ALL[name], np.empty_like(rows))
    for stop in (1, 20, body.size // 2, body.size - 1):
        with pytest.raises(CodecError):
            decode(sealed(body[:stop].tobytes()), ALL[name], np.empty_like(rows))


def test_a_blosc_frame_of_another_compressor(rng: np.random.Generator) -> None:
    frame = numcodecs.Blosc(cname="blosclz").encode(np.zeros(1000))
    with pytest.raises(CodecError, match="not a Blosc frame of an allowed compressor"):
        decode(sealed(frame), COMPRESSORS["lz4"], np.empty(1000))


def test_a_zstd_frame_that_does_not_say_its_size() -> None:
    frame = bytes(numcodecs.Zstd().encode(np.zeros(10)))
    hidden = frame[:4] + b"\x00" + frame[5:]
    with pytest.raises(CodecError, match="a zstd frame without its decoded size"):
        decode(sealed(hidden), ALL["plain zstd"], np.empty(10))


@pytest.mark.parametrize("count", [1, 30, 31, 32, 33, 8191, 8192, 8200, 2**13 + 33, 2**20])
def test_sizes_in_zstd_frames(count: int) -> None:
    rows = np.zeros(count)
    out = np.ones(count)
    decode(encode(rows, ALL["plain zstd"])[0], ALL["plain zstd"], out)
    assert not out.any()
