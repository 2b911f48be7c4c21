"""docs/commit.schema.json: all commits and lists that are written are valid, and what is not is not read."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import outgrad as og
from outgrad.errors import ArchiveError, UnsortedGradientWarning
from outgrad.storage.zarr import commits, layout, revision
from outgrad.storage.zarr.format import ChunkSizes, commit_version
from outgrad.storage.zarr.parse import ParseError, commit_from_json, segments_from_json
from tests.support import ROOT, old_archives
from tests.support.forging import DELETED, changed
from tests.support.pieces import piece

PAGE = ROOT / "docs" / "format.md"
SCHEMA = json.loads((ROOT / "docs" / "commit.schema.json").read_text())
COMMIT = Draft202012Validator(SCHEMA)
LIST = Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": "#/$defs/list"})
SMALL = ChunkSizes(
    shard=600, chunk=200, table_shard=100, table_chunk=40, share_from=2, fine_chunk=500, span=2000
)


def documents(archive: Path) -> Iterator[tuple[Draft202012Validator, Any]]:
    """Every commit and list of an archive, with what validates it."""
    for path in sorted((archive / "commits").glob("*.json")):
        if path.name != "zarr.json":
            schema = LIST if commit_version(path.name) is None else COMMIT
            yield schema, json.loads(path.read_text())["commit"]


def mistakes(schema: Draft202012Validator, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(document)]


# ---- archives ----
def written(path: Path, *pieces: og.TensorMap, **options: Any) -> None:
    for each in pieces:
        with og.ArchiveWriter(path, append=True, **options) as writer:
            writer.append(each)


def filled(path: Path, fill: complex, dtype: str = "float64") -> None:
    og.append(path, piece(0, dtype=dtype))
    og.append(path, piece(1, dtype=dtype, properties=(0, 7), keys=(0, 5)), fill_value=fill)


def indexed(path: Path) -> None:
    """Files, an archive, and an archive that refers to files."""
    for seed in range(3):
        og.save(path.parent / f"{seed}.mts", piece(seed))
    og.append(path.parent / "archive.zarr", piece(3))
    og.index([path.parent / "0.mts"], path.parent / "index.zarr")
    names = ("1.mts", "2.mts", "archive.zarr", "index.zarr")
    og.append(path, piece(4))
    og.index([path.parent / name for name in names], path, append=True)


def compacted(path: Path) -> None:
    written(path, *(piece(seed) for seed in range(4)))
    og.compact(path)
    og.restore(path, 2)


def listed(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revision, "REPEATED_BYTES", 10_000)
        written(path, *(piece(seed) for seed in range(6)))


def many_keys(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "KEYS_INLINE", 1)
        og.save(path, piece(0))


def not_sorted(path: Path) -> None:
    with pytest.warns(UnsortedGradientWarning):
        og.save(path, piece(0, order="any"))


def of_version_1(path: Path) -> None:
    """Of a commit of version 1, and one of version 2 with its segment and a new one."""
    shutil.copytree(old_archives.FOLDER / "lz4" / "map-float64.zarr", path)
    og.append(path, og.load(path), shift={"system": 100})


WAYS: dict[str, Callable[[Path], None]] = {
    "map": lambda path: og.save(path, piece(0), provenance={"any": [None, {"thing": 1.5}]}),
    "info": lambda path: og.save(path, with_info(piece(0))),
    "block": lambda path: og.save(path, piece(0).block(0)),
    "labels": lambda path: og.save(path, piece(0).block(0).samples),
    "no blocks": lambda path: og.save(path, og.TensorMap(og.Labels.empty("key"), [])),
    "no rows": lambda path: og.save(path, piece(0, systems=0, properties=())),
    "many small blocks": lambda path: og.save(path, piece(0, keys=range(130))),
    "not sorted": not_sorted,
    "small chunks": lambda path: written(path, piece(0, systems=9), piece(1), sizes=SMALL),
    "zstd": lambda path: og.save(path, piece(0, dtype="float32"), compressor="zstd"),
    "none": lambda path: og.save(path, piece(0, dtype="int8"), compressor="none"),
    "nan": lambda path: filled(path, np.nan),
    "infinity": lambda path: filled(path, -np.inf),
    "number": lambda path: filled(path, 3, "int32"),
    "complex": lambda path: filled(path, complex(0.5, np.inf), "complex128"),
    "compacted and restored": compacted,
    "listed": listed,
    "keys that are not in the commit": many_keys,
    "indexed": indexed,
    "begun in version 1": of_version_1,
}


def with_info(tensor: og.TensorMap) -> og.TensorMap:
    tensor.set_info("units", "eV")
    return tensor


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An archive of each of the ways."""
    folder = tmp_path_factory.mktemp("archives")
    made = {}
    for number, (name, make) in enumerate(WAYS.items()):
        (folder / str(number)).mkdir()
        made[name] = folder / str(number) / "a.zarr"
        make(made[name])
    return made


@pytest.mark.parametrize("name", WAYS)
def test_all_that_is_written_is_valid(archives: dict[str, Path], name: str) -> None:
    found = list(documents(archives[name]))
    assert found != []
    assert [mistakes(*each) for each in found] == [[] for _ in found]


@pytest.mark.parametrize("path", sorted(old_archives.FOLDER.glob("*/*.zarr")), ids=lambda path: path.name)
def test_version_1_is_valid(path: Path) -> None:
    ((schema, commit),) = documents(path)
    assert commit["format_version"] == 1
    assert mistakes(schema, commit) == []


def commit_on_the_page() -> dict[str, Any]:
    (text,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return json.loads(text)


def test_the_commit_on_the_page_is_valid() -> None:
    assert mistakes(COMMIT, commit_on_the_page()) == []


def test_the_archives_have_what_they_are_made_for(archives: dict[str, Path]) -> None:
    found = {name: list(documents(path)) for name, path in archives.items()}
    newest = {name: [each for schema, each in all_ if schema is COMMIT][-1] for name, all_ in found.items()}
    assert any(schema is LIST for schema, _ in found["listed"])
    assert newest["listed"]["lists"] != []
    paths = [array["path"] for array in newest["many small blocks"]["segments"][0]["arrays"]]
    assert {"shared/values/0", "shared/offsets/0", "shared/labels/0"} <= set(paths)
    assert any(len(table) == 7 for table in newest["small chunks"]["segments"][0]["tables"])
    assert newest["keys that are not in the commit"]["segments"][0]["keys"]["values"] is None
    actions = [each["action"] for _, each in found["compacted and restored"]]
    assert actions == [*["save"], *["append"] * 3, "compact", "restore"]
    kinds = [("files" in each, "archive" in each) for each in newest["indexed"]["segments"]]
    assert set(kinds) == {(False, False), (True, False), (False, True), (True, True)}
    assert [name for name in WAYS if newest[name]["kind"] != "map"] == ["block", "labels"]
    fills = [newest[name]["fill"] for name in ("nan", "infinity", "number", "complex")]
    assert fills == ["NaN", "-Infinity", 3, [0.5, "Infinity"]]
    old, new = newest["begun in version 1"]["segments"]
    assert "checksums" in old
    assert "chunks" in new


def test_the_schema_has_all_fields_that_are_written_and_no_others(archives: dict[str, Path]) -> None:
    written = set()
    for path in archives.values():
        for _, document in documents(path):
            written |= names_of_fields(document)
    assert written == names_of_properties(SCHEMA)


def names_of_fields(document: Any) -> set[str]:
    """Names of what is not null; what is in info and provenance is the user's."""
    if isinstance(document, list):
        return set().union(*map(names_of_fields, document))
    if not isinstance(document, dict):
        return set()
    own = {name for name, value in document.items() if value is not None}
    return own.union(*(names_of_fields(document[name]) for name in own - {"info", "provenance"}))


def names_of_properties(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(names_of_properties, schema))
    if not isinstance(schema, dict):
        return set()
    properties = schema.get("properties", {})
    # A property may have the name of a keyword.
    below = [*properties.values(), *(part for name, part in schema.items() if name != "properties")]
    return set(properties).union(*map(names_of_properties, below))


# ---- what is not valid ----
SEGMENT = ("segments", 0)
INDEXED = ("segments", 1)
ARRAY = (*SEGMENT, "arrays", 0)
TABLE = (*SEGMENT, "tables", 1)
BLOCK = (*SEGMENT, "blocks", 0)
GRADIENT = (*BLOCK, "gradients", 0, 1)
BYTES = {"name": "bytes"}
CRC32C = {"name": "crc32c"}


@pytest.fixture(scope="module")
def valid(archives: dict[str, Path]) -> dict[str, Any]:
    """A commit of a segment of small chunks, and of one whose values are in other files."""
    (_, first), *_ = documents(archives["small chunks"])
    *_, (_, second) = documents(archives["indexed"])
    files = next(segment for segment in second["segments"] if "files" in segment)
    segment = {**first["segments"][0], "archive": "../b.zarr"}
    listed = {"id": "0" * 32, "sha256": "0" * 64, "segments": 3}
    return {
        **first,
        "info": {"units": "eV"},
        "fill": "Infinity",
        "lists": [listed],
        "segments": [segment, files],
    }


def test_the_one_that_is_changed_is_valid(valid: dict[str, Any]) -> None:
    assert mistakes(COMMIT, valid) == []
    assert len(commit_from_json(valid).segments) == 2


MISSING = [
    *((name,) for name in ("format_version", "version", "kind", "writer", "created", "software")),
    *((name,) for name in ("info", "provenance", "segments")),
    *(("added", name) for name in ("samples", "bytes")),
    *(("lists", 0, name) for name in ("id", "sha256", "segments")),
    *((*SEGMENT, name) for name in ("id", "keys", "arrays", "tables", "blocks", "codecs", "names", "chunks")),
    (*SEGMENT, "keys", "table"),
    *((*ARRAY, name) for name in ("path", "dtype", "shape", "chunk_rows", "codecs")),
    (*SEGMENT, "chunks", "crc32c"),
    (*SEGMENT, "chunks", "path"),
    *((*BLOCK, name) for name in ("values", "samples", "properties")),
    *((*GRADIENT, name) for name in ("values", "samples")),
    (*INDEXED, "files"),
    *((*INDEXED, "files", name) for name in ("root", "paths", "files", "pieces")),
    (*SEGMENT, "codecs", 0, 0, "name"),
]
WRONG: list[tuple[tuple[Any, ...], Any]] = [
    (("format_version",), -1),
    (("version",), -1),
    (("version",), 10**10),
    (("version",), "1"),
    (("version",), True),
    (("version",), 1.5),
    (("kind",), "cube"),
    (("writer",), None),
    (("created",), 0),
    (("software",), []),
    (("info",), None),
    (("info",), {"units": 1}),
    (("provenance",), []),
    (("action",), "other"),
    (("action",), None),
    (("who",), 0),
    (("added",), 5),
    (("added", "bytes"), -1),
    (("since",), -1),
    (("fill",), "nan"),
    (("fill",), [0]),
    (("fill",), [0, 1, 2]),
    (("fill",), [0, None]),
    (("fill",), {}),
    (("lists",), None),
    (("lists", 0, "id"), "0" * 31),
    (("lists", 0, "sha256"), "G" * 64),
    (("lists", 0, "segments"), 0),
    (("lists", 0, "segments"), 2**31),
    (("segments",), []),
    (("segments",), {}),
    (SEGMENT, []),
    ((*SEGMENT, "id"), "../../etc"),
    ((*SEGMENT, "keys", "table"), -1),
    ((*SEGMENT, "keys", "values"), [[2**31]]),
    ((*SEGMENT, "keys", "values"), [0]),
    ((*SEGMENT, "archive"), 5),
    ((*SEGMENT, "chunks"), None),
    ((*SEGMENT, "chunks", "dtype"), "int32"),
    ((*SEGMENT, "chunks", "shape"), [1, 2, 3]),
    ((*SEGMENT, "chunks", "chunks_per_shard"), 2),
    ((*SEGMENT, "chunks", "crc32c", 0), -1),
    ((*ARRAY, "path"), ""),
    ((*ARRAY, "path"), "/etc/passwd"),
    ((*ARRAY, "path"), "../keys"),
    ((*ARRAY, "path"), "a/./b"),
    ((*ARRAY, "path"), "a//b"),
    ((*ARRAY, "path"), "a b"),
    ((*ARRAY, "path"), "a/zarr.json"),
    ((*ARRAY, "dtype"), "object"),
    ((*ARRAY, "dtype"), "<f8"),
    ((*ARRAY, "shape"), []),
    ((*ARRAY, "shape"), [1] * 33),
    ((*ARRAY, "shape", 0), -1),
    ((*ARRAY, "shape", 0), 2**62),
    ((*ARRAY, "chunk_rows"), 0),
    ((*ARRAY, "codecs"), -1),
    ((*ARRAY, "chunks_per_shard"), 0),
    ((*ARRAY, "chunks_per_shard"), 2**16 + 1),
    ((*ARRAY, "pieces"), [0]),
    ((*ARRAY, "pieces"), [0, -1]),
    ((*SEGMENT, "codecs", 0), []),
    ((*SEGMENT, "codecs", 0), [CRC32C, BYTES]),
    ((*SEGMENT, "codecs", 0), [BYTES]),
    ((*SEGMENT, "codecs", 0), [BYTES, {"name": "gzip", "configuration": {"level": 1}}, CRC32C]),
    ((*SEGMENT, "codecs", 0), [BYTES, {"name": "zstd", "configuration": {}}, CRC32C]),
    ((*SEGMENT, "codecs", 0), [BYTES, {"name": "blosc", "configuration": {"cname": "blosclz"}}, CRC32C]),
    ((*SEGMENT, "codecs", 0), [{"name": "bytes", "configuration": {"endian": "big"}}, CRC32C]),
    ((*SEGMENT, "codecs", 0), [BYTES, CRC32C, CRC32C]),
    ((*SEGMENT, "names", 0), ["a", "a"]),
    ((*SEGMENT, "names", 0), ["not a name"]),
    ((*SEGMENT, "names", 0), [1]),
    (TABLE, [0, 0, 1, 0]),
    (TABLE, {}),
    ((*TABLE, 0), -1),
    ((*TABLE, 1), None),
    ((*TABLE, 2), "2"),
    ((*TABLE, 3), -1),
    ((*TABLE, 4), "x"),
    ((*TABLE, 5), [[0, 1, 2], [0, 1, 2]]),
    ((*TABLE, 5), [[0, 2**31], [0, 1]]),
    ((*TABLE, 6), [0]),
    (BLOCK, []),
    ((*BLOCK, "values"), [0]),
    ((*BLOCK, "values"), [0, 0, 0]),
    ((*BLOCK, "values"), [0, -1]),
    ((*BLOCK, "samples"), None),
    ((*BLOCK, "components"), [-1]),
    ((*BLOCK, "properties"), -1),
    ((*BLOCK, "edges"), []),
    ((*BLOCK, "edges"), [0]),
    ((*BLOCK, "edges", 0), -1),
    ((*BLOCK, "gradients"), {}),
    ((*BLOCK, "gradients", 0), ["positions"]),
    ((*BLOCK, "gradients", 0, 0), 5),
    ((*BLOCK, "gradients", 0, 1), None),
    ((*GRADIENT, "offsets"), [0]),
    ((*GRADIENT, "offsets"), [0, -1]),
    ((*INDEXED, "files"), None),
    ((*INDEXED, "files", "root"), None),
    ((*INDEXED, "files", "paths"), -1),
]


@pytest.mark.parametrize(
    ("place", "value"),
    [*((place, DELETED) for place in MISSING), *WRONG],
    ids=lambda each: "absent" if each is DELETED else str(each)[:80],
)
def test_what_is_not_valid_is_not_read(valid: dict[str, Any], place: tuple[Any, ...], value: Any) -> None:
    data = changed(valid, place, value)
    assert mistakes(COMMIT, data) != []
    with pytest.raises(ParseError):
        commit_from_json(data)
    if place[0] == "segments" and place != ("segments",):
        listed = {"segments": data["segments"]}
        assert mistakes(LIST, listed) != []
        with pytest.raises(ParseError):
            segments_from_json(listed, "map")


def test_tables_have_no_more_than_seven_parts(valid: dict[str, Any]) -> None:
    table = valid["segments"][0]["tables"][1]
    data = changed(valid, TABLE, [*table[:7], *[None] * (8 - len(table))])
    assert mistakes(COMMIT, data) != []
    with pytest.raises(ParseError):
        commit_from_json(data)


@pytest.mark.parametrize(("name", "value"), [("format", "zarr"), ("format_version", 3)])
def test_other_formats_and_versions(valid: dict[str, Any], name: str, value: Any) -> None:
    data = {**valid, name: value}
    assert mistakes(COMMIT, data) != []
    with pytest.raises(ArchiveError):
        commits.parse_commit(commits._wrap(data), valid["version"], "a commit")


def test_lists_that_are_none(valid: dict[str, Any]) -> None:
    assert mistakes(LIST, {"segments": valid["segments"]}) == []
    for listed in ({}, [], {"segments": []}, {"segments": None}):
        assert mistakes(LIST, listed) != []
        with pytest.raises(ParseError):
            segments_from_json(listed, "map")


def test_fields_of_later_writers_are_ignored_and_null_is_absent(valid: dict[str, Any]) -> None:
    data = copy.deepcopy(valid)
    segment, files = data["segments"]
    block = segment["blocks"][0]
    gradient = block["gradients"][0][1]
    nodes = (data, data["added"], data["lists"][0], segment, segment["keys"], segment["arrays"][0])
    for node in (*nodes, segment["chunks"], block, gradient, files["files"], segment["codecs"][0][0]):
        node["later"] = {"anything": [None, 2**70, {}]}
    block["offsets"] = gradient["properties"] = "what the other one has"
    assert mistakes(COMMIT, data) == []
    assert commit_from_json(data) == commit_from_json(valid)
    data["added"] = data["fill"] = segment["keys"]["values"] = segment["archive"] = segment["files"] = None
    gradient["offsets"] = segment["checksums"] = segment["arrays"][0]["pieces"] = None
    assert mistakes(COMMIT, data) == []
    assert commit_from_json(data).fill is None


def places(data: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield here
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, child in children:
        yield from places(child, (*here, step))


HEADER = ("format", "format_version", "version")
"""What a reader has looked at before."""
ANY = [None, True, 0, 1, -1, 2**31, 2**62, 0.5, "", "x", "..", [], {}, [0], [0, 1], [[0]], {"a": 1}, DELETED]


def test_what_is_read_is_valid() -> None:
    """Every change of one place in the commit on the page: the schema refuses nothing that is read."""
    page = {**commit_on_the_page(), "fill": 0, "lists": [{"id": "0" * 32, "sha256": "0" * 64, "segments": 3}]}
    is_read = 0
    for place in places(page):
        for value in ANY if place and place[0] not in HEADER else ():
            if place[-1] == "clevel" and value is True:
                continue  # for Python it is a number
            document = changed(page, place, value)
            try:
                commit_from_json(document)
            except ParseError:
                continue
            is_read += 1
            assert mistakes(COMMIT, document) == [], (place, value)
    assert is_read > 100
