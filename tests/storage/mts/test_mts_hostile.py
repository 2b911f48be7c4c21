"""Files that lie: each is refused with a message of its own, before memory is taken, and nothing is run."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outgrad.errors import FileFormatError
from outgrad.storage.mts.reader import open_mts
from tests.support.mts_files import Files
from tests.support.scanning import scanned_alike

LOCAL, CENTRAL, END = "<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"
NAMES = ["mark", "version", "flags", "method", "time", "date", "crc", "compressed", "nbytes", "name", "extra"]


@dataclass
class Entry:
    """One member of a hand-made ZIP file; ``central`` and ``local`` replace single fields of its headers."""

    name: bytes
    content: bytes
    fields: dict[str, int] = field(default_factory=dict)
    central: dict[str, int] = field(default_factory=dict)
    local: dict[str, object] = field(default_factory=dict)
    deflate: bool = False
    local_name: bytes | None = None
    extra: bytes = b""


def deflated(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


def build(entries: list[Entry], **end: object) -> bytes:
    """A ZIP file of these entries; ``end`` replaces fields of the end record."""
    body, directory = b"", b""
    for entry in entries:
        data = deflated(entry.content) if entry.deflate else entry.content
        fields = {"flags": 0, "method": 8 if entry.deflate else 0, "crc": zlib.crc32(entry.content)}
        fields |= {"compressed": len(data), "nbytes": len(entry.content), "offset": len(body)} | entry.fields
        c, h = fields | entry.central, fields | entry.local
        directory += struct.pack(
            CENTRAL, b"PK\1\2", 20, 20, c["flags"], c["method"], 0, 0, c["crc"], c["compressed"], c["nbytes"],
            len(entry.name), len(entry.extra), 0, c.get("disk", 0), 0, 0, c["offset"],
        )  # fmt: skip
        directory += entry.name + entry.extra
        name = entry.name if entry.local_name is None else entry.local_name
        body += struct.pack(
            LOCAL, h.get("mark", b"PK\3\4"), 20, h["flags"], h["method"], 0, 0, h["crc"], h["compressed"],
            h["nbytes"], len(name), 0,
        )  # fmt: skip
        body += name + data
    e = {"disk": 0, "here": len(entries), "count": len(entries), "size": len(directory), "offset": len(body)}
    e |= {"comment": 0, "before": b""} | end
    record = struct.pack(
        END, b"PK\5\6", e["disk"], 0, e["here"], e["count"], e["size"], e["offset"], e["comment"]
    )
    return body + directory + e["before"] + record


def entries(members: dict[str, bytes]) -> list[Entry]:
    return [Entry(name.encode(), content) for name, content in members.items()]


def changed(position: int, **changes: object) -> Callable[[dict[str, bytes]], bytes]:
    """A file whose entry at ``position`` is changed."""

    def make(members: dict[str, bytes]) -> bytes:
        made = entries(members)
        made[position] = replace(made[position], **changes)
        return build(made)

    return make


def ended(**end: object) -> Callable[[dict[str, bytes]], bytes]:
    return lambda members: build(entries(members), **end)


def added(name: bytes, content: bytes = b"", **changes: object) -> Callable[[dict[str, bytes]], bytes]:
    return lambda members: build([*entries(members), Entry(name, content, **changes)])


def edited(edit: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], bytes]:
    return lambda members: edit(build(entries(members)))


def overlapping(members: dict[str, bytes]) -> bytes:
    """The first member claims the second one as part of its data."""
    made = entries(members)
    longer = len(made[0].content) + 200
    content = build(made)[: 30 + len(made[0].name) + longer][30 + len(made[0].name) :]
    made[0] = replace(made[0], fields={"compressed": longer, "nbytes": longer, "crc": zlib.crc32(content)})
    return build(made)


def shared(members: dict[str, bytes]) -> bytes:
    """All members lie at the same place, as in a small file that inflates without end."""
    made = entries(members)
    return build(
        [*made, replace(made[1], name=b"blocks/7/values.npy", central={"offset": len(made[0].content) + 38})]
    )


def nested_by_quotes(members: dict[str, bytes]) -> bytes:
    """A member whose data contain the header and data of the next."""
    inner = Entry(b"keys.npy", members["keys.npy"])
    core = build([inner])
    body = core[: core.index(b"PK\1\2")]
    outer = Entry(b"blocks/0/values.npy", body)
    directory_of = build([outer, inner])
    head = 30 + len(outer.name)
    made = build([outer, replace(inner, central={"offset": head})])
    assert len(directory_of) == len(made)
    return made


def zip64(entries_count: int = 0, at: int = 0, offset_by: int = 0) -> Callable[[dict[str, bytes]], bytes]:
    def make(members: dict[str, bytes]) -> bytes:
        made = entries(members)
        plain = build(made)
        size, start = struct.unpack("<LL", plain[-10:-2])
        count = len(made) + entries_count
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start + offset_by)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + size + at, 1)
        return build(
            made, before=record + locator, here=0xFFFF, count=0xFFFF, size=0xFFFFFFFF, offset=0xFFFFFFFF
        )

    return make


ZIP_FILES: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "nothing": (lambda members: b"", "it is not a ZIP file"),
    "text": (lambda members: b"label,value\n" * 20, "it is not a ZIP file"),
    "first half": (
        edited(lambda raw: raw[: len(raw) // 2]),
        "its ZIP directory is missing: it was truncated",
    ),
    "last byte cut": (edited(lambda raw: raw[:-1]), "its ZIP directory is missing"),
    "something before": (edited(lambda raw: b"PK\3\4" + raw), "directory is not where the end record says"),
    "fewer entries": (ended(here=3, count=3), "its ZIP directory goes on after its 3 members"),
    "more entries": (ended(here=40, count=40), "its ZIP directory ends before its 40 members"),
    "too many entries": (ended(here=60_000, count=60_000), "claims 60000 members, more than fit into it"),
    "directory elsewhere": (ended(offset=5), "directory is not where the end record says"),
    "directory of 4 GiB": (ended(size=0xFFFFFFF0), "directory is not where the end record says"),
    "several parts": (ended(disk=1), "one part of a ZIP file in several parts"),
    "entry of another part": (changed(1, central={"disk": 3}), "lies in another part of a ZIP file"),
    "damaged directory": (
        edited(lambda raw: raw.replace(b"PK\1\2", b"PK\1\3")),
        "its ZIP directory is corrupted",
    ),
    "zip64 count": (zip64(entries_count=10**15), "claims 1000000000000.* members, more than fit"),
    "zip64 locator": (zip64(at=7), "zip64 end record is not where the locator says"),
    "zip64 offset": (zip64(offset_by=1), "directory is not where the end record says"),
    "no zip64 record": (
        changed(1, central={"nbytes": 0xFFFFFFFF}),
        "its zip64 record is missing or corrupted",
    ),
    "damaged zip64 record": (
        changed(1, central={"nbytes": 0xFFFFFFFF}, extra=b"\1\0\4\0abcd"),
        "its zip64 record is missing or corrupted",
    ),
    "zip64 size": (
        changed(1, central={"nbytes": 0xFFFFFFFF}, extra=struct.pack("<HHQ", 1, 8, 1 << 62)),
        "its header disagrees with the ZIP directory",
    ),
    "twice": (
        lambda members: build(entries(members) + entries(members)[:1]),
        "the directory has this name twice",
    ),
    "absolute": (added(b"/etc/passwd"), "the name of the member is an absolute path"),
    "drive": (added(b"C:/windows"), "the name of the member is an absolute path"),
    "backslash": (added(b"blocks\\9\\values.npy"), "the name of the member has a backslash"),
    "dots": (added(b"../../keys.npy"), "leads out of its folder by '..'"),
    "NUL in a name": (added(b"blocks/0/gradients/a\0b/values.npy"), "the name of the member has a zero byte"),
    "slash in a name": (added(b"blocks/0/gradients/a/b/values.npy"), "the name of a gradient has a slash"),
    "deep": (added(b"blocks/0/" + b"gradients/a/" * 65 + b"values.npy"), "nests gradients deeper than 64"),
    "very long name": (added(b"/" + b"a" * 60_000), "'/a{199}…' in .*is an absolute path"),
    "no UTF-8": (
        added(b"blocks/0/gradients/\xff/values.npy", fields={"flags": 0x800}),
        "the name of the member has a zero byte, or is not UTF-8",
    ),
    "encrypted": (changed(1, fields={"flags": 1}), "it is encrypted; decrypt the file first"),
    "bzip2": (changed(1, fields={"method": 12}), "compressed by method 12, not stored or deflated"),
    "stored sizes differ": (
        changed(1, fields={"nbytes": 99_999}),
        "is stored in .* bytes but declares 99999",
    ),
    "labels expand": (
        lambda members: changed(0, content=labels("[('l', '<i4')]", "(1048576,)", 4 << 20), deflate=True)(
            members
        ),
        "declares 1048576 labels, more than can differ in its .* compressed bytes",
    ),
    "claims to expand": (
        changed(1, fields={"nbytes": 1 << 31}, deflate=True),
        "declares 2147483648 bytes, more than 1032 times .*, which is impossible",
    ),
    "overlap": (overlapping, "'keys.npy' .* it overlaps what starts at byte"),
    "one place for two": (shared, "its header disagrees with the ZIP directory|no header of a member"),
    "one inside another": (nested_by_quotes, "'blocks/0/values.npy' .* it overlaps what starts at byte"),
    "beyond the end": (changed(1, central={"offset": 1 << 30}), "lie outside of its|no header of a member"),
    "no local header": (changed(1, local={"mark": b"PK\1\2"}), "there is no header of a member at byte"),
    "other local name": (changed(1, local_name=b"blocks/1/values.npy"), "disagrees with the ZIP directory"),
    "other local size": (changed(1, local={"nbytes": 5}), "its header disagrees with the ZIP directory"),
    "other local checksum": (changed(1, local={"crc": 5}), "its header disagrees with the ZIP directory"),
    "other local flags": (changed(1, local={"flags": 1}), "its header disagrees with the ZIP directory"),
    "other local method": (changed(1, local={"method": 8}), "its header disagrees with the ZIP directory"),
    "wrong checksum": (changed(0, fields={"crc": 5}), "its checksum is .*, the ZIP directory says 00000005"),
}


@pytest.mark.parametrize("case", ZIP_FILES)
def test_hostile_zip_files(files: Files, case: str) -> None:
    make, message = ZIP_FILES[case]
    path = files.folder / "in.mts"
    path.write_bytes(make(files.members(files.map_arrays())))
    with pytest.raises(FileFormatError, match=message) as refused:
        open_mts(path)
    assert str(path) in str(refused.value)
    assert scanned_alike(path) == str(refused.value)


def test_the_hand_made_zip_file_is_good_otherwise(files: Files, same: Callable[..., Any]) -> None:
    path = files.folder / "in.mts"
    path.write_bytes(build(entries(files.members(files.map_arrays()))))
    same(open_mts(path), files.map_arrays())
    path.write_bytes(zip64()(files.members(files.map_arrays())))
    same(open_mts(path), files.map_arrays())
    path.write_bytes(changed(1, deflate=True)(files.members(files.map_arrays())))
    same(open_mts(path), files.map_arrays())


# ---- .npy headers ---------------------------------------------------------------------------------


def header(
    text: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0), length: int | None = None
) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    length = len(raw) if length is None else length
    size = struct.pack("<H" if version == (1, 0) else "<I", length)
    return b"\x93NUMPY" + bytes(version) + size + raw + data


def array(
    descr: str = "'<f8'", shape: str = "(13, 3, 4)", order: str = "False", nbytes: int = 13 * 12 * 8
) -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", bytes(nbytes))


class Trap:
    """Pickled, it would run a command."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('the pickle was loaded')",)


VALUES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it does not begin as .npy data do"),
    "pickle": (pickle.dumps(Trap()), "it does not begin as .npy data do"),
    "version": (header("{}", version=(9, 0)), "it has version 9.0 of the .npy format"),
    "header of 4 GiB": (header("{}", version=(2, 0), length=0xFFFFFFFF), "header is 4294967295 bytes long"),
    "header of 2 MB": (header("{}", version=(2, 0), length=2_000_000), "is 2000000 bytes long, more than"),
    "cut in the header": (header("{'descr': ", length=500), "it ends inside its .npy header of 510 bytes"),
    "not literal": (array("__import__('os').mkdir('pwned')"), "header is not a dictionary of literals"),
    "not a dictionary": (header("[1, 2, 3]"), "header must have descr, fortran"),
    "no shape": (header("{'descr': '<f8', 'fortran_order': False}"), "header must have descr, fortran"),
    "more keys": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (), 'x': 1}"), "must have descr"),
    "nested": (header("(" * 5000 + ")" * 4999), "header is not a dictionary of literals"),
    "unary": (header("-" * 9000 + "1"), "header is not a dictionary of literals"),
    "huge number": (array(shape=f"({'9' * 5000}, 3, 4)"), "header is not a dictionary of literals"),
    "huge product": (array(shape=f"({'9' * 4000}, {'9' * 4000}, 4)"), "is not a dictionary of literals"),
    "many zeros": (array(shape=f"({'0' * 4000}13, 3, 4)"), "header is not a dictionary of literals"),
    "20 digits": (array(shape=f"({'9' * 20}, 3, 4)"), "not a tuple of lengths"),
    "control characters": (header(b"{'descr': '\\x3cf8'}"), "characters that no metatensor file has"),
    "separator": (header("{'descr': '<f8'}\x1c"), "characters that no metatensor file has"),
    "no ASCII": (header("{'descr': '<f8é'}"), "characters that no metatensor file has"),
    "list as shape": (array(shape="[13, 3, 4]"), r"shape of its .npy header is \[13, 3, 4\], not a tuple"),
    "negative": (array(shape="(-13, -3, 4)"), "not a tuple of lengths"),
    "fraction": (array(shape="(13.0, 3, 4)"), "not a tuple of lengths"),
    "bool": (array(shape="(True, 3, 4)"), "not a tuple of lengths"),
    "order": (array(order="'C'"), "fortran_order of its .npy header is 'C', not a bool"),
    "objects": (array("'|O'"), "it holds pickled Python objects, which are never loaded"),
    "void": (array("'|V8'"), "values of type '|V8' are not supported"),
    "bytes": (array("'|S8'"), "values of type '|S8' are not supported"),
    "text": (array("'<U2'"), "values of type '<U2' are not supported"),
    "dates": (array("'<M8[s]'"), "values of type .* are not supported"),
    "long double": (array("'<f16'"), "values of type '<f16' are not supported"),
    "named type": (array("'float64'"), "values of type 'float64' are not supported"),
    "structured": (array("[('a', '<f8')]"), "values must be plain numbers, found the structured type"),
    "too short": (array(nbytes=100), "declares 1248 bytes of data, but 100 bytes follow"),
    "too long": (array(nbytes=2000), "declares 1248 bytes of data, but 2000 bytes follow"),
    "shape too large": (array(shape="(13, 3, 4000)"), "declares 1248000 bytes of data, but 1248"),
    "overflow": (array(shape=f"({2**62}, {2**62}, 8)"), "bytes of data, but 1248 bytes follow"),
    "wraps to the right size": (array(shape=f"({2**61 + 156}, 1, 1)"), "of data, but 1248 bytes follow"),
    "no rows but 2^62 columns": (array(shape=f"(0, 3, {2**62})", nbytes=0), "values have shape .* labels"),
    "one axis": (array(shape="(156,)"), "values must have 2 to 64 axes, found 1"),
    "no axis": (array(shape="()", nbytes=8), "values must have 2 to 64 axes, found 0"),
    "many axes": (array(shape=str((156,) + (1,) * 99)), "an array must have at most 64 axes, found 100"),
    "other shape": (array(shape="(12, 13, 1)"), "values have shape .* but their labels describe"),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_hostile_values(
    files: Files, case: str, method: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = VALUES[case]
    members = files.members(files.map_arrays()) | {"blocks/0/values.npy": content}
    with pytest.raises(
        FileFormatError, match=f"'blocks/0/values.npy' in .*in.mts.*{message.replace('|', '[|]')}"
    ):
        open_mts(files.zip(members, method))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mts"]
    scanned_alike(tmp_path / "in.mts")


def labels(descr: str, shape: str = "(4,)", nbytes: int = 16) -> bytes:
    return array(descr, shape, nbytes=nbytes)


LABELS: dict[str, tuple[bytes, str]] = {
    "plain": (labels("'<i4'"), "labels must be a structured array, found type '<i4'"),
    "floats": (labels("[('l', '<f4')]"), "field of labels must be a 32-bit integer, found .*'<f4'"),
    "long": (labels("[('l', '<i8')]", nbytes=32), "field of labels must be a 32-bit integer"),
    "objects": (labels("[('l', '|O')]", nbytes=32), "field of labels must be a 32-bit integer"),
    "columns in a field": (labels("[('l', '<i4', (2,))]", nbytes=32), "must be a name and a type"),
    "field without a name": (labels("[5]"), "a field of labels must be a name and a type, found 5"),
    "two byte orders": (labels("[('l', '<i4'), ('n', '>i4')]", nbytes=32), "must have one byte order"),
    "two axes": (
        labels("[('l', '<i4')]", "(2, 2)"),
        r"must be a 1-D structured array, its shape is \(2, 2\)",
    ),
    "no dimensions": (labels("[]", "(4,)", 0), "declares 4 labels without dimensions"),
    "2^62 without dimensions": (labels("[]", f"({2**62},)", 0), "labels without dimensions"),
    "rows that are not there": (labels("[('l', '<i4')]", f"({2**40},)"), "but 16 bytes follow"),
    "repeated rows": (labels("[('l', '<i4')]"), "Labels: rows must be unique, found .l=0. in rows 0 and 1"),
    "repeated names": (labels("[('l', '<i4'), ('l', '<i4')]", "(2,)"), "Labels: names must differ"),
    "invalid names": (labels("[('a b', '<i4')]", "(1,)", 4), "Labels: the name 'a b' is not valid"),
    "cut": (header("{'descr': ", length=500), "it ends inside its .npy header"),
}


@pytest.mark.parametrize("case", LABELS)
def test_hostile_labels(files: Files, case: str) -> None:
    content, message = LABELS[case]
    members = files.members(files.map_arrays()) | {"blocks/0/properties.npy": content}
    with pytest.raises(FileFormatError, match=f"'blocks/0/properties.npy' in .*in.mts.*{message}"):
        open_mts(files.zip(members))
    scanned_alike(files.folder / "in.mts")
    bare = files.folder / "labels.npy"
    bare.write_bytes(content)
    with pytest.raises(FileFormatError, match=f"labels.npy'.*{message}"):
        open_mts(bare)


# ---- members that do not fit together -------------------------------------------------------------

GRADIENT = "blocks/0/gradients/positions"


def structure(files: Files, **changes: object) -> dict[str, bytes]:
    """The members of a map with some arrays exchanged, or left out by None."""
    arrays = files.map_arrays()
    return files.members({name: array for name, array in (arrays | changes).items() if array is not None})


STRUCTURES: dict[str, tuple[Callable[..., dict[str, object]], str]] = {
    "no keys": (lambda f, a: {"keys": None}, "it has neither 'keys.npy', as a map has, nor 'values.npy'"),
    "more keys": (lambda f, a: {"keys": f.table("k", [0, 1, 2, 3])}, "there are 4 keys, but 3 blocks"),
    "no samples": (lambda f, a: {"blocks/0/samples": None}, "the member 'blocks/0/samples.npy' is missing"),
    "no properties": (
        lambda f, a: {"blocks/0/properties": None},
        "member 'blocks/0/properties.npy' is missing",
    ),
    "no component": (lambda f, a: {"blocks/0/components/0": None}, "'blocks/0/components/0.npy' is missing"),
    "no values": (
        lambda f, a: {name: None for name in a if name.startswith("blocks/1/") and name.endswith("values")},
        "the member 'blocks/1/values.npy' is missing|there are 3 keys, but 2 blocks",
    ),
    "no gradient values": (lambda f, a: {f"{GRADIENT}/values": None}, f"'{GRADIENT}/values.npy' is missing"),
    "no gradient samples": (
        lambda f, a: {f"{GRADIENT}/samples": None},
        f"'{GRADIENT}/samples.npy' is missing",
    ),
    "a gap": (
        lambda f, a: (
            {name.replace("blocks/2/", "blocks/3/"): x for name, x in a.items() if "blocks/2/" in name}
            | {name: None for name in a if "blocks/2/" in name}
        ),
        "the member 'blocks/2/values.npy' is missing",
    ),
    "samples": (
        lambda f, a: {"blocks/0/samples": f.table("system atom", [[0, 0]])},
        r"values have shape \(13, 3, 4\), but their labels describe \(1, 3, 4\)",
    ),
    "component of two dimensions": (
        lambda f, a: {"blocks/0/components/0": f.table("a b", [[0, 0], [0, 1], [1, 0]])},
        r"'blocks/0/components/0.npy'.* a component must have one dimension, found \['a', 'b'\]",
    ),
    "first dimension": (
        lambda f, a: {f"{GRADIENT}/samples": f.table("atom sample", a[f"{GRADIENT}/samples"].tolist())},
        r"gradient's samples must begin with 'sample', found \['atom', 'sample'\]",
    ),
    "sample too large": (
        lambda f, a: {f"{GRADIENT}/samples": shifted(a[f"{GRADIENT}/samples"], 5)},
        "'sample' is .* to .*, but the values have 13 rows",
    ),
    "sample negative": (
        lambda f, a: {f"{GRADIENT}/samples": shifted(a[f"{GRADIENT}/samples"], -5)},
        "'sample' is -.* to .*, but the values have 13 rows",
    ),
    "gradient components": (
        lambda f, a: {f"{GRADIENT}/components/1": f.table("o3_mu", [1, 0, -1])},
        "the last components of the gradient are not those of the values",
    ),
    "gradient without components": (
        lambda f, a: {
            f"{GRADIENT}/values": np.zeros((len(a[f"{GRADIENT}/samples"]), 4)),
            f"{GRADIENT}/components/0": None,
            f"{GRADIENT}/components/1": None,
        },
        "the last components of the gradient are not those of the values",
    ),
    "gradient type": (
        lambda f, a: {f"{GRADIENT}/values": a[f"{GRADIENT}/values"].astype("f4")},
        "the gradient has type float.., the values have float..",
    ),
    "gradient properties": (
        lambda f, a: {f"{GRADIENT}/values": a[f"{GRADIENT}/values"][..., :2]},
        "positions/values.npy.* values have shape .* but their labels describe",
    ),
}


def shifted(samples: np.ndarray, by: int) -> np.ndarray:
    copy = samples.copy()
    copy["sample"] += by
    return copy


@pytest.mark.parametrize("case", STRUCTURES)
def test_members_that_do_not_fit(files: Files, case: str) -> None:
    changes, message = STRUCTURES[case]
    members = structure(files, **changes(files, files.map_arrays()))
    path = files.zip(members)
    with pytest.raises(FileFormatError, match=message) as refused:
        open_mts(path)
    assert str(path) in str(refused.value)
    assert scanned_alike(path) == str(refused.value)


INFOS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"unit = eV", "it is not JSON"),
    "no text": (b'{"a": "\xff"}', "it is not JSON"),
    "deep": (b"[" * 100_000, "it is not JSON"),
    "digits": (b'{"a": ' + b"9" * 9_000 + b"}", "it is not JSON"),
    "a list": (b'["a"]', "it must be one object whose values are strings"),
    "numbers": (b'{"a": 1}', "it must be one object whose values are strings"),
    "nested": (b'{"a": {"b": "c"}}', "it must be one object whose values are strings"),
}


@pytest.mark.parametrize("case", INFOS)
def test_hostile_info(files: Files, case: str) -> None:
    content, message = INFOS[case]
    members = files.members(files.map_arrays()) | {"info.json": content}
    with pytest.raises(FileFormatError, match=f"'info.json' in .*in.mts'.*{message}"):
        open_mts(files.zip(members))
    scanned_alike(files.folder / "in.mts")


# ---- compressed data ------------------------------------------------------------------------------


def stream(content: bytes, declared: int, tail: bytes = b"", cut: int = 0) -> dict[str, object]:
    """An entry of compressed data that are not what the directory says."""
    data = deflated(content)
    data = data[: len(data) - cut] + tail
    return {
        "content": data,
        "fields": {"method": 8, "nbytes": declared, "crc": zlib.crc32(content[:declared])},
    }


def test_compressed_data_that_are_not_as_declared(files: Files) -> None:
    members = files.members(files.map_arrays())
    position, content = list(members).index("blocks/0/values.npy"), members["blocks/0/values.npy"]
    size = len(content)
    cases = {
        "its compressed data hold more than the": stream(content + b"more", size),
        "its compressed data end after": stream(content[:-8], size),
        "other bytes follow its compressed data": stream(content, size, tail=b"tail"),
        "its compressed data have no end|end after": stream(content, size, cut=3),
        "its compressed data are corrupted": {
            "content": b"\xff" * 300,
            "fields": {"method": 8, "nbytes": size},
        },
    }
    for message, changes in cases.items():
        path = files.folder / "in.mts"
        path.write_bytes(changed(position, **changes)(members))
        with pytest.raises(FileFormatError, match=f"'blocks/0/values.npy' in .*{message}"):
            files.arrays(open_mts(path))


BOMBS = """
import resource, sys
from outgrad.storage.mts.reader import open_mts, verify_mts
from outgrad.errors import FileFormatError

baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for path in sys.argv[1:]:
    try:
        open_mts(path)
        print("opened")
    except FileFormatError as error:
        print(error)
    assert verify_mts(path)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline)
"""


def test_bombs_take_little_memory(files: Files) -> None:
    """In a process of 2 GiB: files of at most some 100 kB that unpack to GiB, honestly declared or not."""
    rows = "{'descr': [('l', '<i4')], 'fortran_order': False, 'shape': (25000000,), }"
    noise = b"".join(bytes([number % 251]) * 400 for number in range(250_000))
    values = "{'descr': '<f8', 'fortran_order': False, 'shape': (134217728, 1, 2)}"
    declared = {"nbytes": (1 << 31) + len(header(values))}
    members = files.members(files.map_arrays())
    position = list(members).index("blocks/0/samples.npy")
    bombs = [
        (
            changed(position, content=header(rows, bytes(100_000_000)), deflate=True),
            "the label tables up to this one take",
        ),
        (changed(position, content=header(rows, noise), deflate=True), "more than can differ in its"),
        (changed(1, content=header(values), deflate=True, fields=declared), "more than 1032 times"),
        (changed(1, content=header("{}", version=(2, 0), length=0xFFFFFFFF)), "is 4294967295 bytes long"),
        (changed(0, content=header("{}", version=(2, 0), length=0xFFFFFFFF)), "is 4294967295 bytes long"),
    ]
    paths = [files.folder / f"{number}.mts" for number in range(len(bombs))]
    for path, (make, _) in zip(paths, bombs, strict=True):
        path.write_bytes(make(members))
    command = [sys.executable, "-c", BOMBS, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    *found, grown_kib = result.stdout.splitlines()
    for (_, message), line in zip(bombs, found, strict=True):
        assert message in line
    assert int(grown_kib) < 50_000
