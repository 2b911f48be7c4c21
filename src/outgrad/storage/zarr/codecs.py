"""The bytes of a storage chunk: compressed, followed by a CRC32C; every size is checked before decoding.

Chunks are coded here and not by zarr's array classes: those take about a millisecond an access, run checksums
and copies of all threads in one event loop, and read a missing chunk as zeros. The bytes are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import google_crc32c
import numcodecs  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

from outgrad.storage.store import Bytes

Json = dict[str, Any]

CHECKSUM_BYTES = 4
BLOSC_HEADER_BYTES = 16
BLOSC_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
BLOSC_COMPRESSORS = {1: "lz4", 4: "zstd"}
"""Names by the number in a Blosc header; the others have known vulnerabilities to hostile input."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class CodecError(ValueError):
    """Stored bytes that are not what this codec wrote, or a codec that is not allowed."""


@dataclass(frozen=True, slots=True)
class Compressor:
    """How chunks are compressed: the name and the configuration of a Zarr codec, without the item size."""

    name: str
    level: int
    cname: str = ""
    shuffle: str = "shuffle"

    def to_json(self, itemsize: int) -> Json:
        """The codec as ``zarr.json`` and a commit write it."""
        if self.name == "zstd":
            return {"name": "zstd", "configuration": {"level": self.level, "checksum": False}}
        return {
            "name": "blosc",
            "configuration": {
                "typesize": itemsize,
                "cname": self.cname,
                "clevel": self.level,
                "shuffle": self.shuffle,
                "blocksize": 0,
            },
        }


def chain_to_json(compressor: Compressor | None, itemsize: int) -> list[Json]:
    """The chain of codecs: little-endian bytes, the compressor, CRC32C."""
    to_bytes: Json = {"name": "bytes"}
    if itemsize > 1:
        to_bytes["configuration"] = {"endian": "little"}
    middle = [] if compressor is None else [compressor.to_json(itemsize)]
    return [to_bytes, *middle, {"name": "crc32c"}]


def shard_chain(chunk_shape: Sequence[int], chain: list[Json]) -> list[Json]:
    """The codecs of an array whose shards hold chunks of this shape and chain."""
    index = chain_to_json(None, 8)
    settings = {
        "chunk_shape": list(chunk_shape),
        "codecs": chain,
        "index_codecs": index,
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": settings}]


def chain_from_json(codecs: list[Any]) -> Compressor | None:
    """Read a chain back; codecs that are not allowed are refused.

    Raises
    ------
    CodecError
        If a codec is not allowed, or the chain does not end with ``crc32c``.
    """
    names = [codec.get("name") if isinstance(codec, dict) else None for codec in codecs]
    configurations = [codec.get("configuration") if isinstance(codec, dict) else None for codec in codecs]
    settings = [each if isinstance(each, dict) else {} for each in configurations]
    if names[:1] != ["bytes"] or names[-1:] != ["crc32c"] or len(names) not in (2, 3):
        raise CodecError(f"codecs must be bytes, at most one compressor, crc32c; found {names}")
    if settings[0].get("endian", "little") != "little":
        raise CodecError("codecs must store little-endian bytes")
    return None if len(names) == 2 else _compressor_from_json(names[1], settings[1])


def _compressor_from_json(name: Any, settings: Json) -> Compressor:
    if name == "zstd" and isinstance(settings.get("level"), int):
        return Compressor("zstd", settings["level"])
    cname, shuffle, level = settings.get("cname"), settings.get("shuffle"), settings.get("clevel")
    is_known = cname in BLOSC_COMPRESSORS.values() and shuffle in list(BLOSC_SHUFFLES)
    if name == "blosc" and is_known and isinstance(level, int):
        return Compressor("blosc", level, str(cname), str(shuffle))
    detail = f" with {cname!r}" if name == "blosc" else ""
    raise CodecError(
        f"compressor {name!r}{detail} is not allowed; allowed are zstd, and blosc with lz4 or zstd"
    )


def crc32c(data: Bytes | bytes) -> int:
    """The checksum (Castagnoli polynomial) of some bytes."""
    return int(google_crc32c.value(cast(bytes, data)))


def stored_crc32c(raw: Bytes) -> int:
    """The checksum at the end of a stored chunk."""
    return int.from_bytes(raw[-CHECKSUM_BYTES:].tobytes(), "little")


def encode(rows: npt.NDArray[Any], compressor: Compressor | None) -> tuple[Bytes, int]:
    """Return the stored bytes of a contiguous array, and their checksum."""
    if compressor is None:
        body = rows.reshape(-1).view(np.uint8)
    else:
        if compressor.name == "zstd":
            coder = Zstd(compressor.level)
        else:
            shuffle = BLOSC_SHUFFLES[compressor.shuffle]
            coder = numcodecs.Blosc(cname=compressor.cname, clevel=compressor.level, shuffle=shuffle)
        body = np.frombuffer(coder.encode(rows), dtype=np.uint8)
    checksum = crc32c(body)
    stored = np.empty(body.size + CHECKSUM_BYTES, dtype=np.uint8)
    stored[: body.size] = body
    stored[body.size :] = np.frombuffer(checksum.to_bytes(CHECKSUM_BYTES, "little"), np.uint8)
    return stored, checksum


ABSENT = 2**64 - 1
"""What the index of a shard has for a chunk of which it holds nothing."""


def shard_bytes(chunks: Sequence[Bytes], per_shard: int) -> Bytes:
    """Put stored chunks one after the other, and their index behind them.

    The index has the position and the size of each chunk, and a CRC32C
    (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html). Only the last
    shard of an array holds fewer chunks than fit.
    """
    index = shard_index_bytes(np.array([len(chunk) for chunk in chunks], np.int64), per_shard)
    return np.concatenate([*chunks, index])


def shard_index_bytes(sizes: npt.NDArray[np.int64], per_shard: int) -> Bytes:
    """The index of chunks of these sizes that follow each other, with its checksum."""
    index = np.full((per_shard, 2), ABSENT, np.dtype("<u8"))
    index[: len(sizes), 0] = np.cumsum(sizes) - sizes
    index[: len(sizes), 1] = sizes
    raw = index.reshape(-1).view(np.uint8)
    checksum = np.frombuffer(crc32c(raw).to_bytes(CHECKSUM_BYTES, "little"), np.uint8)
    return np.concatenate([raw, checksum])


def read_shard_index(raw: Bytes, per_shard: int, count: int) -> npt.NDArray[np.int64]:
    """Where each of ``count`` chunks begins and ends in a shard.

    Raises
    ------
    CodecError
        If the index is damaged, or not one that a writer makes: chunks in order, without gaps.
    """
    index = raw[-16 * per_shard - CHECKSUM_BYTES : -CHECKSUM_BYTES]
    if len(index) != 16 * per_shard or crc32c(index) != stored_crc32c(raw):
        raise CodecError("its index does not match its checksum")
    places = index.view("<u8").reshape(per_shard, 2)
    body = len(raw) - len(index) - CHECKSUM_BYTES
    found = places[:count]
    if (places[count:] != ABSENT).any() or (found > body).any():
        raise CodecError("its index is not one of its chunks")
    starts, stops = found[:, 0].astype(np.int64), found.sum(axis=1).astype(np.int64)
    if starts.tolist() != [0, *stops[:-1].tolist()] or stops[-1] != body:
        raise CodecError("its index is not one of its chunks")
    return np.stack([starts, stops], axis=1)


def decode(raw: Bytes, compressor: Compressor | None, out: npt.NDArray[Any]) -> None:
    """Decode stored bytes into the contiguous array ``out``.

    Raises
    ------
    CodecError
        If the checksum, the compressed frame or the decoded size is not right.
    """
    target = out.reshape(-1).view(np.uint8)
    unpack(packed(raw, compressor, target.size), compressor, target)


def most_stored_bytes(nbytes: int) -> int:
    """More than any allowed codec makes of ``nbytes``: a larger file is not read at all."""
    return nbytes + nbytes // 128 + 1024


def packed(raw: Bytes, compressor: Compressor | None, nbytes: int) -> Bytes:
    """Stored bytes without their checksum, once it is clear that they are a frame of ``nbytes``.

    Nothing is decoded, and no memory allocated: neither a shape in a commit nor a frame can ask for memory
    alone, since each has to confirm the other. The ratio of compression does not matter: zeros are stored by
    us at 1 : 250 (lz4) and 1 : 30 000 (zstd).

    Raises
    ------
    CodecError
        If the checksum or the size is not right, or it is not a frame.
    """
    body = raw[:-CHECKSUM_BYTES]
    if raw.size < CHECKSUM_BYTES or crc32c(body) != stored_crc32c(raw):
        raise CodecError(f"its {raw.size} bytes do not match their checksum")
    if compressor is None:
        declared = body.size
    else:
        declared = _zstd_bytes(body) if compressor.name == "zstd" else _blosc_bytes(body)
    if declared != nbytes:
        raise CodecError(f"it decodes to {declared} bytes where {nbytes} belong")
    return body


def unpack(body: Bytes, compressor: Compressor | None, target: Bytes) -> None:
    """Decode what :func:`packed` returned into bytes of the size that it declares.

    Raises
    ------
    CodecError
        If it cannot be decompressed.
    """
    if compressor is None:
        target[:] = body
        return
    coder = Zstd() if compressor.name == "zstd" else numcodecs.Blosc()
    try:
        coder.decode(body, target)
    except (RuntimeError, ValueError) as error:
        raise CodecError(f"it cannot be decompressed: {error}") from error


def _blosc_bytes(body: Bytes) -> int:
    """The decoded size that a Blosc frame declares in its header."""
    if body.size < BLOSC_HEADER_BYTES:
        raise CodecError(f"its {body.size} bytes are not a Blosc frame")
    decoded, compressed = (int.from_bytes(body[i : i + 4].tobytes(), "little") for i in (4, 12))
    if compressed != body.size or int(body[2]) >> 5 not in BLOSC_COMPRESSORS:
        raise CodecError("it is not a Blosc frame of an allowed compressor")
    return decoded


def _zstd_bytes(body: Bytes) -> int:
    """The decoded size that a zstd frame declares (RFC 8878, section 3.1.1.1)."""
    if body.size < 6 or body[:4].tobytes() != ZSTD_MAGIC:
        raise CodecError(f"its {body.size} bytes are not a zstd frame")
    descriptor = int(body[4])
    single_segment = descriptor >> 5 & 1
    size_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    if size_bytes == 0 or start + size_bytes > body.size:
        raise CodecError("it is a zstd frame without its decoded size")
    # Sizes of two bytes are stored less 256, since smaller ones have a byte.
    return int.from_bytes(body[start : start + size_bytes].tobytes(), "little") + 256 * (size_bytes == 2)
