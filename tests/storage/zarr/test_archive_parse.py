"""Commits that are wrong in one place: the error names it, and no other exception ever comes out."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrad.errors import DamagedArchiveError
from outgrad.storage.zarr import commits
from outgrad.storage.zarr.commit_json import commit_to_json
from outgrad.storage.zarr.format import ChunkSizes
from outgrad.storage.zarr.parse import MAXIMUM_DEPTH, ParseError, commit_from_json, read_json
from tests.support import models
from tests.support.archives import open_archive
from tests.support.forging import DELETED, changed


@pytest.fixture(scope="module")
def valid(tmp_path_factory: Any) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("valid") / "a.zarr"
    models.save(
        path, models.typical(rng, 2), sizes=ChunkSizes(shard=800, share_below=0), info={"units": "eV"}
    )
    return json.loads((path / "commits" / "0000000001.json").read_text())["commit"]


def test_the_commit_survives_a_round_trip(valid: dict[str, Any]) -> None:
    assert json.loads(json.dumps(commit_to_json(commit_from_json(valid)))) == valid


SEGMENT = ("segments", 0)
GRADIENT = (*SEGMENT, "blocks", 0, "gradients", 0, 1)


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (("kind",), "cube", "kind should be one of map, block, labels, found 'cube'"),
        (("version",), True, "version should be int, found True"),
        (("info",), {"a": 1}, "info.a should be text, found 1"),
        (("info",), None, "info should be object, found None"),
        (("provenance",), [], "provenance should be object, found []"),
        (("segments",), [], "segments should be array of length >= 1, found []"),
        (
            (*SEGMENT, "id"),
            "../../etc",
            r"segments[0].id should be str matching regex '^[0-9a-f]{32}\\Z', found '../../etc'",
        ),
        ((*SEGMENT, "codecs", 0), [], "segments[0].codecs[0]: codecs must be bytes"),
        ((*SEGMENT, "names", 0), ["a", "a"], "segments[0].names[0]: Labels: names must differ"),
        ((*SEGMENT, "arrays", 0, "path"), "../keys", "arrays[0].path should be a path inside the segment"),
        (
            (*SEGMENT, "arrays", 0, "path"),
            "/etc/passwd",
            "arrays[0].path should be str matching regex '^[A-Za",
        ),
        (
            (*SEGMENT, "arrays", 0, "path"),
            "a/zarr.json",
            "arrays[0].path should be a path inside the segment",
        ),
        ((*SEGMENT, "arrays", 0, "dtype"), "object", "arrays[0].dtype should be the name of a number type"),
        (
            (*SEGMENT, "arrays", 0, "shape"),
            [2**61],
            "arrays[0] should be an array with rows, of a size that can exist",
        ),
        ((*SEGMENT, "arrays", 0, "shape"), [], "arrays[0] should be an array with rows"),
        (
            (*SEGMENT, "arrays", 0, "shape"),
            [-1, 2],
            "arrays[0].shape[0] should be int >= 0, found -1",
        ),
        ((*SEGMENT, "arrays", 0, "chunk_rows"), 0, "arrays[0] should be an array with rows"),
        ((*SEGMENT, "arrays", 0, "codecs"), 99, "arrays[0].codecs should be an integer in [0, "),
        ((*SEGMENT, "tables", 1), [0, 0], "tables[1] should be array of at least length 5, found [0, 0]"),
        ((*SEGMENT, "tables", 1, 1), 10**6, "rows inside one of"),
        ((*SEGMENT, "tables", 1, 2), -1, "tables[1][2] should be int >= 0, found -1"),
        ((*SEGMENT, "tables", 1, 3), 2, "tables[1] should be a table of"),
        ((*SEGMENT, "tables", 1, 4), "x", "tables[1][4] should be str matching regex"),
        ((*SEGMENT, "keys", "table"), 10**3, "keys.table should be an integer in [0, "),
        ((*SEGMENT, "keys", "values"), [[0, 0]], "keys.values should be a list of 2"),
        ((*SEGMENT, "blocks", 0), 5, "segments[0].blocks[0] should be object, found 5"),
        (
            (*SEGMENT, "blocks", 0, "samples"),
            DELETED,
            "segments[0].blocks[0]: object missing required field `samples`",
        ),
        ((*SEGMENT, "blocks", 0, "values"), [0, 1], "blocks[0].values should be 20 rows inside one of"),
        (
            (*SEGMENT, "blocks", 0, "components"),
            [],
            "blocks[0].values should be the first row in an array of rows of shape",
        ),
        ((*SEGMENT, "blocks", 0, "components"), [10**3], "components should be numbers of some of"),
        ((*SEGMENT, "blocks", 0, "edges"), [], "should be a block with edges from 0 to its number of rows"),
        ((*SEGMENT, "blocks", 0, "edges"), [0, 7, 3, 20], "should be a block with edges from 0 to"),
        ((*GRADIENT, "edges"), [0, 30, 60], "gradients[0][1] should be a block with edges"),
        ((*GRADIENT, "offsets"), [1, 0], "offsets should be the first row in an array of int64"),
        (
            (*GRADIENT, "gradients"),
            [["a", {}], ["a", {}]],
            "gradients[0][1].gradients[0][1]: object missing required field `values`",
        ),
        ((*SEGMENT, "chunks"), DELETED, "segments[0] has no list of its chunks"),
        ((*SEGMENT, "chunks", "dtype"), "int32", "chunks should be an array without shards of uint32 and of"),
        ((*SEGMENT, "chunks", "shape"), [3], "chunks should be an array without shards of uint32 and of"),
        ((*SEGMENT, "chunks", "crc32c"), [], "chunks.crc32c should be a list of 1, found []"),
        ((*SEGMENT, "tables", 1, 5), [[0, 1]], "tables[1][5] should be a list of 2 pairs, found [[0, 1]]"),
        (
            ("action",),
            "other",
            "action should be one of save, append, compact, restore, index, found 'other'",
        ),
    ],
)
def test_each_mistake_is_named(valid: dict[str, Any], place: tuple[Any, ...], value: Any, text: str) -> None:
    with pytest.raises(ParseError, match=re.escape(text)):
        commit_from_json(changed(valid, place, value))


def test_gradients_of_one_name(valid: dict[str, Any]) -> None:
    gradients = valid["segments"][0]["blocks"][0]["gradients"]
    with pytest.raises(ParseError, match="should be a gradient of another name"):
        commit_from_json(changed(valid, (*SEGMENT, "blocks", 0, "gradients"), gradients * 2))


def test_fields_of_later_writers_are_ignored_and_null_is_absent(valid: Any) -> None:
    data = copy.deepcopy(valid)
    block = data["segments"][0]["blocks"][0]
    gradient = block["gradients"][0][1]
    for node in (data, data["segments"][0], data["segments"][0]["arrays"][0], block, gradient):
        node["later"] = {"anything": [None, 2**70, {}]}
    block["offsets"] = gradient["properties"] = "what the other one has"
    assert commit_from_json(data) == commit_from_json(valid)
    data["segments"][0]["keys"]["values"] = gradient["edges"] = gradient["offsets"] = None
    commit = commit_from_json(data)
    assert commit.segments[0].key_values is None
    assert commit.segments[0].blocks[0].gradients["positions"].offsets is None


def test_texts_that_are_not_unicode(valid: Any) -> None:
    """Parameters and info may be any text of Python; names of fields are those of the format."""
    odd = "\ud800"
    data = changed(valid, ("info",), {odd: odd})
    data["segments"][0]["blocks"][0]["gradients"][0][0] = odd
    for block in data["segments"][0]["blocks"]:
        block["gradients"][0][0] = odd
    commit = commit_from_json(data)
    assert commit.info == {odd: odd}
    assert list(commit.segments[0].blocks[0].gradients) == [odd]
    with pytest.raises(ParseError, match=r"the name .* of a field is not valid Unicode"):
        commit_from_json({**valid, odd: 1})


def test_gradients_that_nest_deeper_than_python_can_follow(valid: Any) -> None:
    block = valid["segments"][0]["blocks"][0]
    nested = block
    for _ in range(10**5):
        nested = {**block, "gradients": [["a", nested]]}
    with pytest.raises(ParseError, match=f"gradients nest deeper than {MAXIMUM_DEPTH}"):
        commit_from_json({**valid, "segments": [{**valid["segments"][0], "blocks": [nested]}]})


def test_gradients_that_nest_too_deep(valid: dict[str, Any]) -> None:
    data = copy.deepcopy(valid)
    block = data["segments"][0]["blocks"][0]
    block.pop("gradients")
    deep = json.dumps({**block, "gradients": []})
    for _ in range(MAXIMUM_DEPTH + 1):
        deep = json.dumps({**block, "gradients": [["a", json.loads(deep)]]})
    data["segments"][0]["blocks"] = [json.loads(deep)]
    with pytest.raises(ParseError, match=f"gradients nest deeper than {MAXIMUM_DEPTH}"):
        commit_from_json(data)


def test_json_of_any_depth(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.zarr"
    models.save(path, models.typical(rng))
    commit = path / "commits" / "0000000001.json"
    commit.write_bytes(commits._wrap(5).replace(b":5}", b":" + b"[" * 10**5 + b"}"))
    with pytest.raises(DamagedArchiveError, match="SHA-256"):
        open_archive(path)


def places(data: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield here
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, child in children:
        yield from places(child, (*here, step))


ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, -1, 2**31, 2**63, 0.5, "", "x", "..", [], {}, [0], [0, 1], [[0]], {"a": 1}]),
)


@given(st.data(), ANY)
@settings(max_examples=300, deadline=None)
def test_any_one_change_parses_or_is_refused(valid: dict[str, Any], data: st.DataObject, value: Any) -> None:
    place = data.draw(st.sampled_from([place for place in places(valid) if place]))
    with contextlib.suppress(ParseError):
        commit = commit_from_json(changed(valid, place, value))
        assert commit.segments[0].manifest is not None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"a":1,"b":2,"a":1}', "the name 'a' occurs twice"),
        (b"[NaN]", "NaN is not a number of JSON"),
        (b"[-Infinity]", "-Infinity is not a number of JSON"),
        (b"9" * 5000, "Exceeds the limit"),
        (b"\xff", "can't decode byte 0xff"),
    ],
)
def test_json_that_readers_would_take_differently(raw: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        read_json(raw)
    assert read_json(b'{"a":[1,2.5,null]}') == {"a": [1, 2.5, None]}
