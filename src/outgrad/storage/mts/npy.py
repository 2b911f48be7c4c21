"""The header of an ``.npy`` member: parsed under strict rules, and written so that metatensor accepts it.

A member is an array of numbers, or a label table: a 1-D structured array with one int32 field a dimension.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, TypeVar

import numpy as np

from outgrad.errors import FileFormatError
from outgrad.storage.mts.file import MemberPlace, file_error

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 20
"""Longest header that is read or written; metatensor has no limit, NumPy by default reads up to 10,000."""
MAX_AXES = 64
"""NumPy's own limit."""
MAX_LENGTH = 1 << 62
PREFIX_BYTES = 12
ALIGNMENT = 64
"""The format's own: data start at a multiple of it in a file of one array."""

ELEMENT_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16")
"""Element types that metatensor's own reader knows."""
ELEMENT = re.compile(r"([<>|]?)({})".format("|".join(ELEMENT_TYPES)))
FIELD = re.compile(r"[<>]i4")


def element_type(dtype: np.dtype[Any]) -> str:
    """Name an element type without its byte order, as :data:`ELEMENT_TYPES` do."""
    return f"{dtype.kind}{dtype.itemsize}"


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """Type, shape and order of an array, and how many bytes come before its data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    nbytes: int

    @property
    def data_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class TableHeader:
    """Dimension names and number of rows of a label table, and how many bytes come before its data."""

    names: tuple[str, ...]
    rows: int
    dtype: np.dtype[Any]
    nbytes: int

    @property
    def row_bytes(self) -> int:
        return 4 * len(self.names)

    @property
    def data_bytes(self) -> int:
        return self.rows * self.row_bytes


AnyHeader = TypeVar("AnyHeader", ArrayHeader, TableHeader)
KEPT_HEADERS, KEPT_HEADER_BYTES = 1024, 4096
"""Headers that are kept, parsed; longer ones, of labels with many dimensions, are not."""


def header_bytes(prefix: bytes, where: MemberPlace) -> int:
    """Return how many bytes come before the data, from the first bytes of the member.

    Raises
    ------
    FileFormatError
        If this is not ``.npy`` data, if its version is unknown, or if the header is too long.
    """
    if len(prefix) < PREFIX_BYTES or not prefix.startswith(MAGIC):
        raise file_error(where, "it does not begin as .npy data do")
    version = prefix[6:8]
    if version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise file_error(where, f"it has version {version[0]}.{version[1]} of the .npy format, not 1 to 3")
    start = _text_offset(prefix)
    text_bytes = int.from_bytes(prefix[8:start], "little")
    if text_bytes > MAX_HEADER_BYTES:
        raise file_error(where, f"its .npy header is {text_bytes} bytes long, more than {MAX_HEADER_BYTES}")
    return start + text_bytes


def _text_offset(prefix: bytes) -> int:
    """Return where the text of a header starts: version 1 counts its bytes in 16 bits, others in 32."""
    return 10 if prefix[6] == 1 else 12


def array_header(start: bytes, member_bytes: int, where: MemberPlace) -> ArrayHeader:
    """Parse the header of an array of numbers.

    Parameters
    ----------
    start : bytes
        The first :func:`header_bytes` bytes of the member, or more.
    member_bytes : int
        Size of the member, which header and data must fill exactly.
    where : MemberPlace
        The member, for messages.

    Raises
    ------
    FileFormatError
        If the header breaks a rule.
    """
    return _sized(_array_header(_header(start, where), where), member_bytes, where)


def table_header(start: bytes, member_bytes: int, where: MemberPlace) -> TableHeader:
    """Parse the header of a label table; parameters as for :func:`array_header`."""
    return _sized(_table_header(_header(start, where), where), member_bytes, where)


def _header(start: bytes, where: MemberPlace) -> bytes:
    nbytes = header_bytes(start, where)
    if len(start) < nbytes:
        raise file_error(where, f"it ends inside its .npy header of {nbytes} bytes")
    return start[:nbytes]


def _remembered(
    parse: Callable[[bytes, MemberPlace], AnyHeader],
) -> Callable[[bytes, MemberPlace], AnyHeader]:
    """Parse equal headers once, unless they are long: blocks and files have the same few."""
    kept: dict[bytes, AnyHeader] = {}

    def parse_or_remember(header: bytes, where: MemberPlace) -> AnyHeader:
        parsed = kept.get(header)
        if parsed is None:
            parsed = parse(header, where)
            if len(header) <= KEPT_HEADER_BYTES:
                if len(kept) >= KEPT_HEADERS:
                    kept.clear()
                kept[header] = parsed
        return parsed

    return parse_or_remember


@_remembered
def _array_header(header: bytes, where: MemberPlace) -> ArrayHeader:
    descr, fortran_order, shape = _fields(header, where)
    if not isinstance(descr, str):
        raise file_error(where, f"values must be plain numbers, found the structured type {descr!r:.80}")
    if descr.lstrip("<>|=").startswith("O"):
        raise file_error(where, "it holds pickled Python objects, which are never loaded from a file")
    if not ELEMENT.fullmatch(descr):
        types = ", ".join(ELEMENT_TYPES)
        raise file_error(where, f"values of type {descr!r:.80} are not supported, only {types}")
    return ArrayHeader(np.dtype(descr), shape, fortran_order, len(header))


@_remembered
def _table_header(header: bytes, where: MemberPlace) -> TableHeader:
    descr, _, shape = _fields(header, where)
    if not isinstance(descr, list):
        raise file_error(where, f"labels must be a structured array, found type {descr!r:.80}")
    for field in descr:
        if (
            not isinstance(field, tuple)
            or len(field) != 2
            or not all(isinstance(part, str) for part in field)
        ):
            raise file_error(where, f"a field of labels must be a name and a type, found {field!r:.80}")
        if not FIELD.fullmatch(field[1]):
            raise file_error(where, f"a field of labels must be a 32-bit integer, found {field!r:.80}")
    names, types = tuple(name for name, _ in descr), {kind for _, kind in descr} or {"<i4"}
    if len(types) > 1:
        raise file_error(where, f"the fields of labels must have one byte order, found {sorted(types)}")
    if len(shape) != 1:
        raise file_error(where, f"labels must be a 1-D structured array, its shape is {shape}")
    if not names and shape[0]:
        raise file_error(where, f"it declares {shape[0]} labels without dimensions")
    return TableHeader(names, shape[0], np.dtype(types.pop()), len(header))


def _fields(header: bytes, where: MemberPlace) -> tuple[Any, bool, tuple[int, ...]]:
    """Parse the text of a header: the type as it is written, whether in column-major order, the shape."""
    text = header[_text_offset(header) :].decode("latin-1").strip(" \n")
    # Neither writer needs an escape, and an escape makes Python's parser warn.
    if not text.isascii() or not text.isprintable() or "\\" in text:
        raise file_error(where, "its .npy header has characters that no metatensor file has")
    try:
        fields = _literal(text)
    except ValueError:
        raise file_error(where, f"its .npy header is not a dictionary of literals: {text[:80]!r}") from None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise file_error(
            where, f"its .npy header must have descr, fortran_order and shape, found {text[:80]!r}"
        )
    fortran_order, shape = fields["fortran_order"], fields["shape"]
    if not isinstance(fortran_order, bool):
        raise file_error(where, f"fortran_order of its .npy header is {fortran_order!r:.80}, not a bool")
    if not isinstance(shape, tuple) or not all(
        type(length) is int and 0 <= length <= MAX_LENGTH for length in shape
    ):
        raise file_error(where, f"shape of its .npy header is {shape!r:.80}, not a tuple of lengths")
    if len(shape) > MAX_AXES:
        raise file_error(where, f"an array must have at most {MAX_AXES} axes, found {len(shape)}")
    return fields["descr"], fortran_order, shape


TOKEN = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|(-?\d{1,20}(?:\.\d*)?|\w+)|([][(){},:]))""")
CLOSING = {"(": ")", "[": "]", "{": "}"}
MAX_NESTING = 6
"""A dictionary with a list of tuples has 3; ``_value`` is recursive, and a file must not decide how deep."""


class _Scalar(NamedTuple):
    value: str | int | float | bool


def _literal(text: str) -> Any:
    """Evaluate a literal of dictionaries, lists, tuples, strings, numbers and booleans.

    Time and memory grow with the length of the text and no faster, which Python's parser does not promise.

    >>> _literal("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }")
    {'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)}
    """
    tokens = _tokens(text)
    value = _value(next(tokens, ""), tokens)
    if next(tokens, None) is not None:
        raise ValueError("more than one value")
    return value


def _tokens(text: str) -> Iterator[str | _Scalar]:
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError("no literal")
        position = match.end()
        single, double, plain, mark = match.groups()
        if mark is not None:
            yield mark
        elif plain is None:
            yield _Scalar(double if single is None else single)
        elif plain in ("True", "False"):
            yield _Scalar(plain == "True")
        else:
            yield _Scalar(float(plain) if "." in plain else int(plain))


def _value(first: str | _Scalar, tokens: Iterator[str | _Scalar], nesting: int = 0) -> Any:
    if isinstance(first, _Scalar):
        return first.value
    if first not in CLOSING or nesting > MAX_NESTING:
        raise ValueError("no literal")
    items: list[Any] = []
    commas = 0
    for token in tokens:
        if token == CLOSING[first]:
            if first != "(":
                return dict(items) if first == "{" else items
            # As in Python, a comma makes the tuple: (3) is a number.
            return items[0] if len(items) == 1 and not commas else tuple(items)
        if len(items) != commas:
            if token != ",":
                raise ValueError("no comma between items")
            commas += 1
            continue
        item = _value(token, tokens, nesting + 1)
        if first == "{":
            if next(tokens, "") != ":" or not isinstance(item, str):
                raise ValueError("no key and value")
            item = (item, _value(next(tokens, ""), tokens, nesting + 1))
        items.append(item)
    raise ValueError("not closed")


def _sized(header: AnyHeader, member_bytes: int, where: MemberPlace) -> AnyHeader:
    """Require that header and data fill the member."""
    if header.nbytes + header.data_bytes != member_bytes:
        raise file_error(
            where,
            f"its .npy header declares {header.data_bytes} bytes of data, "
            f"but {member_bytes - header.nbytes} bytes follow it",
        )
    return header


def encode_array_header(dtype: np.dtype[Any], shape: Sequence[int]) -> bytes:
    """Return the header of an array in C order, little-endian.

    One-byte types get ``<`` too: metatensor's reader refuses NumPy's ``|``.

    >>> encode_array_header(np.dtype(bool), (2, 3))[10:].strip()
    b"{'descr': '<b1', 'fortran_order': False, 'shape': (2, 3), }"
    """
    return _encode(f"'<{element_type(dtype)}'", shape)


def encode_table_header(names: Sequence[str], rows: int) -> bytes:
    """Return the header of a label table.

    >>> encode_table_header(["system"], 4)[10:].strip()
    b"{'descr': [('system', '<i4')], 'fortran_order': False, 'shape': (4,), }"
    """
    return _encode(repr([(name, "<i4") for name in names]), (rows,))


def _encode(descr: str, shape: Sequence[int]) -> bytes:
    lengths = tuple(int(length) for length in shape)
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {lengths}, }}".encode("ascii")
    # Version 1 counts the bytes of the header in 16 bits, version 2 in 32.
    version, length, start = (b"\x01\x00", "<H", 10) if len(text) < 0xFF00 else (b"\x02\x00", "<I", 12)
    body = text + b" " * (-(start + len(text) + 1) % ALIGNMENT) + b"\n"
    if len(body) > MAX_HEADER_BYTES:
        raise FileFormatError(
            f"save: the names of labels take {len(body)} bytes, more than the {MAX_HEADER_BYTES} that are "
            "read; shorten the names, or save to a .zarr path"
        )
    return MAGIC + version + struct.pack(length, len(body)) + body
