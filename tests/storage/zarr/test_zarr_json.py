"""What tools of Zarr and systems add to an archive is no damage; a zarr.json that says something else is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

import outgrad as og
from outgrad.storage.zarr import documents

ARRAY_DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float64", "complex64", "complex128"]


def make(path: Path, dtype: str = "float64", compressor: str = "lz4") -> Path:
    block = og.TensorBlock(
        np.ones((2, 1, 3)).astype(dtype),
        og.Labels.range("system", 2),
        [og.Labels.range("m", 1)],
        og.Labels.range("n", 3),
    )
    og.save(path, block, overwrite=True, compressor=compressor)
    return path


def values_document(path: Path) -> Path:
    return next(path.glob("segments/*/blocks/0/values/zarr.json"))


def edit(file: Path, change: Callable[..., Any]) -> None:
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document))


@pytest.mark.filterwarnings("ignore:Object at commits is not recognized", "ignore:Consolidated metadata")
def test_consolidated_metadata(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zarr")
    zarr.consolidate_metadata(path)
    assert og.verify(path) == []
    zarr.consolidate_metadata(next(path.glob("segments/*/blocks")))
    assert og.verify(path) == []
    make(path)  # another segment: what was consolidated is of an older version
    assert og.verify(path) == []


@pytest.mark.filterwarnings("ignore:Object at commits is not recognized", "ignore:Consolidated metadata")
@pytest.mark.parametrize(
    ("place", "value"), [("shape", [99, 3]), ("data_type", "float32"), ("codecs", []), ("fill_value", 7)]
)
def test_consolidated_metadata_that_lie(tmp_path: Path, place: str, value: Any) -> None:
    path = make(tmp_path / "a.zarr")
    zarr.consolidate_metadata(path)
    name = str(values_document(path).parent.relative_to(path))
    edit(path / "zarr.json", lambda d: d["consolidated_metadata"]["metadata"][name].update({place: value}))
    (problem,) = og.verify(path)
    assert problem == (
        f"zarr.json is corrupted: it does not say what the commit says: consolidated_metadata of {name}"
    )


@pytest.mark.parametrize("dtype", ARRAY_DTYPES)
@pytest.mark.parametrize("compressor", ["lz4", "zstd", "none"])
def test_attributes_that_users_add(tmp_path: Path, dtype: str, compressor: str) -> None:
    path = make(tmp_path / "a.zarr", dtype, compressor)
    for file in path.rglob("zarr.json"):
        zarr.open(file.parent, mode="r+").attrs["remark"] = {"by": "me", "numbers": [1, 2.5, None]}
    assert og.verify(path) == []
    assert og.load(path).values.dtype == dtype


HARMLESS = {
    "keys in another order": lambda d: [d.update({name: d.pop(name)}) for name in sorted(d)],
    "storage transformers left out": lambda d: d.pop("storage_transformers"),
    "a zero without a point": lambda d: d.update(fill_value=0),
    "empty configurations": lambda d: d["codecs"][-1].update(configuration={}, must_understand=True),
    "a field to pass over": lambda d: d.update(remark={"must_understand": False, "by": "me"}),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_other_ways_to_say_the_same(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "a.zarr")
    edit(values_document(path), HARMLESS[name])
    assert og.verify(path) == []
    assert zarr.open_array(values_document(path).parent, mode="r")[:].sum() == 6, "Zarr takes it too"


WRONG = {
    "zarr_format": lambda d: d.update(zarr_format=3.0),
    "node_type": lambda d: d.update(node_type="group"),
    "shape": lambda d: d.update(shape=[2, 1, 4]),
    "data_type": lambda d: d.update(data_type="int64"),
    "chunk_grid": lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[1, 1, 3]),
    "chunk_key_encoding": lambda d: d["chunk_key_encoding"]["configuration"].update(separator="/"),
    "fill_value": lambda d: d.update(fill_value=1.0),
    "codecs": lambda d: d["codecs"].pop(),
    "attributes": lambda d: d.update(attributes=[]),
    "storage_transformers": lambda d: d.update(storage_transformers=[{"name": "rot13"}]),
    "dimension_names": lambda d: d.update(dimension_names=["one"]),
    "remark": lambda d: d.update(remark=1),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_readers_of_zarr_would_get_wrong(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "a.zarr")
    file = values_document(path)
    edit(file, WRONG[name])
    expected = f"{file.relative_to(path)} is corrupted: it does not say what the commit says: {name}"
    assert og.verify(path) == [expected]


def test_names_of_columns_have_to_stay(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zarr")
    file = next(path.glob("segments/*/keys/zarr.json"))
    edit(file, lambda d: d["attributes"].update(names=["other"]))
    (problem,) = og.verify(path)
    assert problem.endswith("it does not say what the commit says: attributes")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"5", b"\xff\xfe", b'{"a": 1, "a": 1}', b'{"a": NaN}', b"[" * 10**5, b"9" * 10**4],
)
def test_what_is_no_document(tmp_path: Path, raw: bytes) -> None:
    path = make(tmp_path / "a.zarr")
    for file in sorted(path.rglob("zarr.json")):
        whole = file.read_bytes()
        file.write_bytes(raw)
        (problem,) = og.verify(path)
        assert problem.startswith(f"{file.relative_to(path)} is corrupted: it ")
        file.write_bytes(whole)
    assert og.verify(path) == []


def test_what_systems_leave(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zarr")
    expected = og.load(path)
    for folder in [path, *(each for each in path.rglob("*") if each.is_dir())]:
        for name in (".DS_Store", ".nfs000000000000000100000001", "._values", "Thumbs.db"):
            (folder / name).write_bytes(b"\0\1")
        (folder / "__MACOSX").mkdir()
    shutil.copytree(next(path.glob("segments/*/")), path / "segments" / "a copy")
    assert og.verify(path) == []
    np.testing.assert_array_equal(og.load(path).values, expected.values)


def systems(first: int, stop: int) -> og.TensorMap:
    """A map with a row for each system, whose gradient has one too."""
    numbers = np.arange(first, stop, dtype=np.int32)[:, None]
    properties = og.Labels.range("n", 2)
    block = og.TensorBlock(numbers * [1.0, 2.0], og.Labels(["system"], numbers), [], properties)
    rows = og.Labels(["sample", "atom"], np.hstack([numbers - first, numbers]))
    slopes = og.TensorBlock(np.ones((len(rows), 3, 2)), rows, [og.Labels.range("xyz", 3)], properties)
    block.add_gradient("positions", slopes)
    return og.TensorMap(og.Labels("type", [[8]]), [block])


def test_xarray_opens_every_group_without_a_warning(tmp_path: Path) -> None:
    og.save(tmp_path / "one.mts", systems(0, 5))
    og.index([tmp_path / "one.mts"], tmp_path / "a.zarr")
    og.append(tmp_path / "a.zarr", systems(5, 200_000))  # samples in several chunks
    root = xarray.open_zarr(tmp_path / "a.zarr", consolidated=False)
    assert root.attrs["outgrad"]["version"] == 2
    segments = sorted(
        (tmp_path / "a.zarr" / "segments").glob("*/"), key=lambda each: len(list(each.rglob("*")))
    )
    assert len(segments) == 2
    opened = [xarray.open_groups(segment, engine="zarr") for segment in segments]
    assert {name for each in opened for name in each} >= {"/", "/files", "/blocks/0/gradients/positions"}
    assert any("ranges" in each["/"].sizes for each in opened)
    block = xarray.open_zarr(next(s for s in segments if not (s / "files").exists()), group="blocks/0")
    np.testing.assert_array_equal(block["values"][-1], [199_999, 399_998])


def test_xarray_opens_a_segment_as_a_tree(tmp_path: Path) -> None:
    """Also where gradients have gradients, and where equal labels of several axes are stored once."""
    same = og.Labels(["n"], np.arange(3)[:, None])
    block = og.TensorBlock(np.ones((3, 3, 3)), same, [same], same)
    rows = og.Labels(["sample"], np.arange(3)[:, None])
    for name in ("a/b", "c"):
        below = og.TensorBlock(np.full((3, 3, 3), 2.0), rows, [same], same)
        of_below = og.Labels(["sample", "n"], [[0, 0], [2, 1]])
        below.add_gradient("c", og.TensorBlock(np.full((2, 3, 3), 3.0), of_below, [same], same))
        block.add_gradient(name, below)
    og.save(tmp_path / "a.zarr", og.TensorMap(same, [block, block.copy(), block.copy()]))
    assert og.verify(tmp_path / "a.zarr") == []
    tree = xarray.open_datatree(next((tmp_path / "a.zarr" / "segments").glob("*/")), engine="zarr")
    assert tree["keys"].dims == ("keys", "keys_axis_names")
    assert tree["blocks/0/values"].dims == ("samples", "n", "properties")
    assert tree["blocks/2/gradients/c/values"].dims == ("c.samples", "n", "properties")
    nested = tree["blocks/1/gradients/c/gradients/c/values"]
    assert nested.dims == ("c.c.samples", "n", "properties")
    assert nested.sum() == 54
    assert tree["blocks/0/gradients/a%2Fb/values"].dims == ("a_b.samples", "n", "properties")
    offsets = tree["blocks/0/gradients/a%2Fb/gradients/c/offsets"]
    assert offsets.dims == ("a_b.samples_of_the_parent",)


def test_any_group_is_opened_by_the_path_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are errors here: xarray looks for consolidated metadata in the root."""
    path = tmp_path / "a.zarr"
    og.save(path, systems(0, 5))
    og.append(path, systems(5, 9))
    segments = sorted(each.name for each in path.glob("segments/*/"))
    assert len(segments) == 2
    for name in segments:
        block = xarray.open_zarr(path, group=f"segments/{name}/blocks/0")
        np.testing.assert_array_equal(block["values"], block["samples"].values * [[1.0, 2.0]])
        xarray.open_zarr(path, group=f"segments/{name}/blocks/0/gradients/positions")
    assert "consolidated_metadata" in json.loads((path / "zarr.json").read_text())
    assert og.verify(path) == []

    og.compact(path)  # older versions have segments that this one has not, and Zarr still sees them
    assert "consolidated_metadata" not in json.loads((path / "zarr.json").read_text())
    assert zarr.open_group(path, mode="r")[f"segments/{segments[0]}/blocks/0/values"].shape[1] == 2
    og.clean(path, keep=1)
    (compacted,) = path.glob("segments/*/")
    xarray.open_zarr(path, group=f"segments/{compacted.name}/blocks/0")
    assert og.verify(path) == []

    monkeypatch.setattr(documents, "CONSOLIDATED_ARRAYS", 3)
    og.append(path, systems(9, 10))
    assert "consolidated_metadata" not in json.loads((path / "zarr.json").read_text())
    with pytest.warns(RuntimeWarning, match="consolidated metadata"):
        xarray.open_zarr(path, group=f"segments/{compacted.name}/blocks/0")


def test_metadata_of_another_group_of_the_segment(tmp_path: Path) -> None:
    """A group that has none of its own, with those of another one: Zarr would find what is not there."""
    path = tmp_path / "a.zarr"
    og.save(path, systems(0, 5))
    (segment,) = path.glob("segments/*/")
    whole = (segment / "blocks" / "0" / "gradients" / "zarr.json").read_bytes()
    shutil.copy(segment / "blocks" / "0" / "zarr.json", segment / "blocks" / "0" / "gradients" / "zarr.json")
    (problem,) = og.verify(path)
    assert "consolidated_metadata of" in problem
    shutil.copytree(path, tmp_path / "b.zarr")
    og.repair(path, tmp_path / "b.zarr")
    assert og.verify(path) == []
    assert (segment / "blocks" / "0" / "gradients" / "zarr.json").read_bytes() == whole
