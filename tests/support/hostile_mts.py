"""Files that lie: a good file of which a member or the directory was changed by somebody who means harm."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Rng = np.random.Generator
LOCAL, CENTRAL, END = "<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"
FULL = 0xFFFFFFFF


@dataclass
class Entry:
    """One member; ``central`` and ``local`` replace fields of its headers, by their place in them."""

    name: bytes
    content: bytes
    deflate: bool = False
    data: bytes | None = None
    declared: int | None = None
    central: dict[int, Any] = field(default_factory=dict)
    local: dict[int, Any] = field(default_factory=dict)
    extra: bytes = b""
    flags: int = 0


def deflated(content: bytes, level: int = 9) -> bytes:
    stream = zlib.compressobj(level, wbits=-15)
    return stream.compress(content) + stream.flush()


def build(entries: list[Entry], end: dict[int, Any] | None = None, before_end: bytes = b"") -> bytes:
    """Pack entries, true or not, into a ZIP file; ``end`` replaces fields of the end record."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        data = (
            entry.data
            if entry.data is not None
            else deflated(entry.content)
            if entry.deflate
            else entry.content
        )
        declared = len(entry.content) if entry.declared is None else entry.declared
        method, crc = 8 if entry.deflate else 0, zlib.crc32(entry.content)
        head = [b"PK\3\4", 20, entry.flags, method, 0, 0, crc, len(data), declared, len(entry.name), 0]
        line = [b"PK\1\2", 20, 20, *head[2:10], len(entry.extra), 0, 0, 0, 0, len(body)]
        for fields, changes in ((head, entry.local), (line, entry.central)):
            for place, value in changes.items():
                fields[place] = value
        body += struct.pack(LOCAL, *head) + entry.name + data
        directory += struct.pack(CENTRAL, *line) + entry.name + entry.extra
    count = min(len(entries), 0xFFFF)
    record = [b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0]
    for place, value in (end or {}).items():
        record[place] = value
    return bytes(body + directory) + before_end + struct.pack(END, *record)


def entries_of(path: Any) -> list[Entry]:
    with zipfile.ZipFile(path) as archive:
        return [Entry(name.encode(), archive.read(name)) for name in archive.namelist()]


def pick(rng: Rng, entries: list[Entry], end: str = ".npy") -> Entry:
    found = [entry for entry in entries if entry.name.endswith(end.encode())]
    return found[int(rng.integers(0, len(found)))]


def choose(rng: Rng, *options: Any) -> Any:
    return options[int(rng.integers(0, len(options)))]


def extreme(rng: Rng, bits: int) -> int:
    full = (1 << bits) - 1
    return choose(
        rng, 0, 1, full, full - 1, full // 2, full // 2 + 1, int(rng.integers(0, full, dtype=np.uint64))
    )


# ---- .npy headers ---------------------------------------------------------------------------------


def npy(
    text: str | bytes, data: bytes, version: tuple[int, int] | None = None, length: int | None = None
) -> bytes:
    raw = text.encode("utf-8") if isinstance(text, str) else text
    version = version or ((1, 0) if len(raw) < 0xFFFF else (2, 0))
    count = len(raw) if length is None else length
    size = struct.pack("<H", count & 0xFFFF) if version == (1, 0) else struct.pack("<I", count & FULL)
    return b"\x93NUMPY" + bytes(version) + size + raw + data


def split(content: bytes) -> tuple[str, bytes]:
    """The header and the data of a member."""
    stop = 10 + int.from_bytes(content[8:10], "little")
    return content[10:stop].decode(), content[stop:]


def digits(rng: Rng) -> str:
    count = choose(rng, 5, 19, 20, 400, 4299, 4301, 9000, 60_000)
    return choose(rng, "9", "1", "0") * count


def headers(rng: Rng, entries: list[Entry]) -> None:
    """Shapes, orders and types that are none."""
    entry = pick(rng, entries)
    text, data = split(entry.content)
    shape = text[text.index("'shape': ") + 9 : text.rindex(")") + 1]
    number = digits(rng)
    wrong = choose(
        rng,
        f"({number},)", f"({number}, {number})", f"({number}, 3, 4)", f"(-{number}, -1)", "(-1,)",
        f"({2**62}, {2**62}, 4)", f"({2**63}, 2)", f"({2**31}, {2**33}, 1)", f"(0, {2**62}, {2**62})",
        "(" + "1, " * int(rng.integers(60, 20_000)) + ")", "()", "(1.5,)", "(True,)", "None",
        "'a'", "[40, 3, 4]",
        "(" * int(rng.integers(10, 30_000)), "-" * 9000 + "1", f"({number}j,)", "(1e999,)", "(0x10,)", "{}",
    )  # fmt: skip
    changed = choose(
        rng,
        text.replace(shape, wrong),
        text.replace("False", choose(rng, "None", "1", "'C'", "()", "true", "False, 'a': 1")),
        text.replace("'shape'", choose(rng, "'shap'", "b'shape'", "5", "'sha\\x70e'", "('shape',)")),
        text * int(rng.integers(2, 300)),
        "{" * int(rng.integers(2, 9000)),
        "'" + "a" * int(rng.integers(1, 60_000)),
        text.replace("{", "{" + "'a': 1, " * int(rng.integers(1, 9000))),
        "\0" * 100,
        "é" * 50,
        " " * int(rng.integers(1, 60_000)),
        "",
    )
    entry.content = npy(changed, data)


def types(rng: Rng, entries: list[Entry]) -> None:
    """Types of elements that are not in the format."""
    entry = pick(rng, entries, "values.npy")
    text, data = split(entry.content)
    wrong = choose(
        rng,
        "'|O'", "'O'", "'|V8'", "'|S8'", "'<U2'", "'<M8[s]'", "'<f16'", "'<c32'", "'float64'", "'<f9'", "'f'",
        "'<f99999999999'", "[('a', '<f8')]", "[]", "'" + "<" * 5000 + "f8'", "('<f8', (2,))", "5",
        "None", "''",
        "'<f8\\n'", "[('a', [('b', '<f8')])]",
    )  # fmt: skip
    entry.content = npy(text.replace("'<f8'", wrong), data)


def fields(rng: Rng, entries: list[Entry]) -> None:
    """Label tables whose fields have odd names and types."""
    entry = pick(rng, entries, choose(rng, "samples.npy", "properties.npy", "keys.npy", "components/0.npy"))
    text, data = split(entry.content)
    stop = text.index("]") + 1
    descr = text[text.index("[") : stop]
    names = choose(rng, ["a b"], [""], ["1a"], ["a", "a"], ["é"], ["a'"], ["a\0b"], ["x" * 60_000], ["σ"] * 3,
                   [f"n{number}" for number in range(int(rng.integers(3, 20_000)))])  # fmt: skip
    kind = choose(rng, "<i4", "<i4", "|O", "<i8", ">i4", "<f4", "i4", "<i4', (2,)", "V4")
    wrong = "[" + ", ".join(f"('{name}', '{kind}')" for name in names) + "]"
    entry.content = npy(
        text.replace(descr, choose(rng, wrong, wrong, "[]", "'<i4'", "[5]", "[()]", "[('a',)]")), data
    )


def lengths(rng: Rng, entries: list[Entry]) -> None:
    """Headers that are longer than the member, of versions that are not there."""
    entry = pick(rng, entries)
    text, data = split(entry.content)
    version = choose(rng, (1, 0), (2, 0), (3, 0), (0, 0), (4, 0), (255, 255))
    entry.content = npy(text, data, version, extreme(rng, 32))
    entry.deflate = bool(rng.integers(0, 2))


def contents(rng: Rng, entries: list[Entry]) -> None:
    """Members that are no arrays, or have more or fewer bytes than they say."""
    entry = pick(rng, entries)
    entry.content = choose(
        rng, b"", b"\x93NUMPY", rng.bytes(int(rng.integers(1, 500))),
        entry.content[: int(rng.integers(0, 200))],
        entry.content + bytes(int(rng.integers(1, 5000))), b"\x80\x04\x95" + bytes(50), entry.content[:-1],
        b"cos\nsystem\n(S'exit 1'\ntR.", bytes(1 << 20),
    )  # fmt: skip


# ---- labels and what belongs together -------------------------------------------------------------


def numbers(rng: Rng, entries: list[Entry]) -> None:
    """Rows of labels that are not unique, or point out of the values."""
    entry = pick(rng, entries, choose(rng, "samples.npy", "keys.npy", "properties.npy"))
    text, data = split(entry.content)
    table = np.frombuffer(data, "<i4").copy()
    many = int(rng.integers(1, 20))
    if b"gradients" in entry.name:
        table[:: text.count("<i4")] = choose(rng, -1, 2**31 - 1, -(2**31), 1000)
    else:
        table[: max(2, text.count("<i4") * many)] = 1
    entry.content = npy(text, table.tobytes())


def info(rng: Rng, entries: list[Entry]) -> None:
    """Texts that are no JSON, or too much of it."""
    entry = pick(rng, entries, "info.json")
    entry.content = choose(
        rng,
        b"[" * int(rng.integers(1, 1_000_000)), b'{"a":' * int(rng.integers(1, 300_000)), b"{" * 100_000,
        b'{"a": ' + b"9" * int(rng.integers(1, 100_000)) + b"}", b'{"a": 1e999999}', b'{"a": NaN}',
        b"\xff\xfe{}",
        b'{"a": "\xff"}', b'["a"]', b"", b"null", b'"a"', b'{"a": {"b": "c"}}', b'{"a": null}', bytes(100),
        b'{"a": "\\ud800"}' * 2, b'\xef\xbb\xbf{"unit": 1}', b"{'a': 'b'}",
    )  # fmt: skip
    entry.deflate = bool(rng.integers(0, 2))


def names(rng: Rng, entries: list[Entry]) -> None:
    """Names that lead elsewhere, are not text, or nest without end."""
    _rename(rng, pick(rng, entries, choose(rng, "values.npy", "samples.npy", ".npy")))


def _rename(rng: Rng, entry: Entry) -> None:
    depth = int(rng.integers(9, 5000))
    entry.name = choose(
        rng,
        b"../" + entry.name, b"/" + entry.name, b"C:/" + entry.name, entry.name.replace(b"/", b"\\"),
        b"blocks/0/gradients/a\0b/values.npy", b"blocks/999999999/values.npy", b"blocks/-1/values.npy",
        b"blocks/0/" + b"gradients/a/" * depth + b"values.npy",
        b"blocks/0/gradients/" + b"a" * 60_000 + b"/values.npy",
        b"blocks/0/gradients/\xff\xfe/values.npy", b"blocks/0/gradients/a/b/samples.npy", entry.name + b"\0",
        b"\0" * 100, b"", b"blocks/0/components/99.npy", b"blocks/0/components/100.npy", b"values.npy",
        b"blocks/0/gradients//values.npy", b"blocks/0/gradients/../samples.npy",
    )  # fmt: skip
    entry.flags = choose(rng, 0, 0x800)


def added(rng: Rng, entries: list[Entry]) -> None:
    """Members beside those of the layout, of names that mean nothing good."""
    fresh = Entry(b"blocks/0/values.npy", choose(rng, b"", b"junk", bytes(1 << 16)))
    _rename(rng, fresh)
    fresh.deflate = bool(rng.integers(0, 2))
    entries.append(fresh)


def doubled(rng: Rng, entries: list[Entry]) -> None:
    """The same name twice, with other bytes."""
    entry = pick(rng, entries)
    place = int(rng.integers(0, len(entries) + 1))
    content = bytearray(entry.content)
    content[-1] ^= 1
    entries.insert(place, Entry(entry.name, bytes(content)))


def many(rng: Rng, entries: list[Entry]) -> None:
    """Far more members than a file has."""
    count = int(rng.integers(100, 3000))
    prefix = choose(rng, b"junk/%d", b"blocks/%d/values.npy", b"blocks/0/gradients/%d/samples.npy", b"%d")
    entries.extend(Entry(prefix % (number + 5), b"") for number in range(count))


# ---- the ZIP file ---------------------------------------------------------------------------------


def local_fields(rng: Rng, entries: list[Entry]) -> None:
    """A header that says something else than the directory."""
    place = int(rng.integers(1, 11))
    pick(rng, entries).local[place] = extreme(rng, 32 if 6 <= place <= 8 else 16)


def central_fields(rng: Rng, entries: list[Entry]) -> None:
    """A directory that lies: sizes, offsets, flags, methods, counts."""
    place = int(rng.integers(1, 17))
    pick(rng, entries).central[place] = extreme(rng, 32 if place in (7, 8, 9, 15, 16) else 16)


def both_fields(rng: Rng, entries: list[Entry]) -> None:
    """The same lie in both places: sizes and methods."""
    entry = pick(rng, entries)
    place = int(rng.integers(2, 9))
    value = extreme(rng, 32 if place >= 6 else 16)
    entry.local[place] = entry.central[place + 1] = value


def zip64(rng: Rng, entries: list[Entry]) -> None:
    """Sizes and offsets of 64 bits that are not there, or far away."""
    entry = pick(rng, entries)
    count = int(rng.integers(0, 4))
    sizes = [extreme(rng, 64) & (2**64 - 1) for _ in range(count)]
    length = choose(rng, 8 * count, extreme(rng, 16))
    entry.extra = struct.pack("<HH", 1, length) + b"".join(struct.pack("<Q", size) for size in sizes)
    for place in (8, 9, 16):
        if rng.random() < 0.6:
            entry.central[place] = FULL


def overlaps(rng: Rng, entries: list[Entry]) -> None:
    """Several members in one place, as in a file that unpacks to petabytes."""
    entry = pick(rng, entries)
    for number in range(int(rng.integers(1, 300))):
        entries.append(Entry(b"blocks/%d/values.npy" % (number + 2), b"", central={16: 0}))
        entries[-1].central |= {8: len(entry.content), 9: len(entry.content), 7: zlib.crc32(entry.content)}


def bombs(rng: Rng, entries: list[Entry]) -> None:
    """Small compressed data that unpack to much, as declared or not."""
    entry = pick(rng, entries, choose(rng, "values.npy", "samples.npy", "keys.npy", "info.json", ".npy"))
    size = int(rng.integers(1 << 20, 1 << 26))
    head = entry.content[:128]
    filling = choose(rng, bytes(size), b"[" * size, b"{'a':" * (size // 5), head * (size // 128), b" " * size)
    entry.deflate, entry.data = True, deflated(choose(rng, b"", head) + filling, 1)
    entry.declared = choose(rng, None, size, size + len(head), FULL, 1000 * len(entry.data), 1 << 30)


def rows(rng: Rng, entries: list[Entry]) -> None:
    """Label tables that unpack to far more rows than can differ."""
    entry = pick(rng, entries, choose(rng, "samples.npy", "properties.npy"))
    text, _ = split(entry.content)
    count = int(rng.integers(1 << 16, 1 << 20))
    columns = text.count("<i4")
    shape = text[text.index("'shape': ") + 9 : text.rindex(")") + 1]
    piece = rng.integers(0, 9, 500).astype("<i4").tobytes()
    data = choose(rng, bytes(4 * columns * count), piece * (4 * columns * count // len(piece)))
    entry.content = npy(text.replace(shape, f"({len(data) // (4 * columns)},)"), data)
    entry.deflate, entry.data = True, deflated(entry.content, 1)


def streams(rng: Rng, entries: list[Entry]) -> None:
    """Compressed data that end early, go on, or are none."""
    entry = pick(rng, entries)
    entry.deflate = True
    whole = deflated(entry.content)
    entry.data = choose(
        rng, whole[: int(rng.integers(0, len(whole)))], whole + rng.bytes(20), rng.bytes(200), b"",
        whole[:-1],
        b"\x03\x00" * 1000, b"\x00\x00\x00\xff\xff" * 20_000, deflated(entry.content + b"more"),
    )  # fmt: skip


CHANGES: list[Callable[[Rng, list[Entry]], None]] = [
    headers, types, fields, lengths, contents, numbers, info, names, added, doubled, many,
    local_fields, central_fields, both_fields, zip64, overlaps, bombs, rows, streams,
]  # fmt: skip


def end_record(rng: Rng, entries: list[Entry]) -> bytes:
    """An end record that lies, with or without one of 64 bits before it."""
    changes = {}
    for _ in range(int(rng.integers(1, 3))):
        place = int(rng.integers(1, 8))
        changes[place] = extreme(rng, 32 if place in (5, 6) else 16)
    before = b""
    if rng.random() < 0.5:
        lies = [extreme(rng, 64) for _ in range(4)]
        before = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *lies)
        at = choose(rng, extreme(rng, 64), len(build(entries)) - struct.calcsize(END))
        before += struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
        changes |= {3: 0xFFFF, 4: 0xFFFF, 5: FULL, 6: FULL}
    return build(entries, changes, before)


KINDS = [change.__name__ for change in CHANGES] + ["end_record"]


def hostile(number: int, path: Any) -> tuple[str, bytes]:
    """The n-th hostile file: its kind, and its bytes."""
    rng = np.random.default_rng([number, 99])
    kind = KINDS[number % len(KINDS)]
    entries = entries_of(path)
    if kind == "end_record":
        return kind, end_record(rng, entries)
    CHANGES[KINDS.index(kind)](rng, entries)
    return kind, build(entries)
