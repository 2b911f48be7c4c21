"""What was written is what is read, whatever its types, shapes and names; with plain Zarr too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.errors import ValidationError
from outgrad.labels.labels import Labels
from outgrad.storage.zarr.format import ARRAY_DTYPES, COMPRESSORS, ChunkOptions, ChunkSizes
from outgrad.storage.zarr.layout import Contents, lay_out
from tests.support import models
from tests.support.archives import open_archive, verify_archive

SMALL = ChunkSizes(shard=256, table_shard=128, share_below=0, fine_chunk=1024)
SHARED = ChunkSizes(shard=256, table_shard=128, share_from=2, fine_chunk=1024)


@pytest.mark.parametrize("dtype", sorted(ARRAY_DTYPES))
def test_every_dtype(rng: np.random.Generator, tmp_path: Path, dtype: str) -> None:
    one = models.block(rng, 30, (2,), 3, dtype=dtype)
    models.attach(one, "positions", models.gradient(rng, one, 50))
    made = models.model([one])
    models.save(tmp_path / "a.zarr", made, sizes=SMALL)
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)


@pytest.mark.parametrize("compressor", sorted(COMPRESSORS))
@pytest.mark.parametrize("sizes", [SMALL, SHARED, ChunkSizes()], ids=["own", "shared", "default"])
def test_every_compressor_and_layout(
    rng: np.random.Generator, tmp_path: Path, compressor: str, sizes: ChunkSizes
) -> None:
    made = models.typical(rng, blocks=4)
    models.save(tmp_path / "a.zarr", made, sizes=sizes, compressor=compressor)
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)
    assert verify_archive(tmp_path / "a.zarr") == []


def test_unknown_compressor(rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compressor 'gzip' is unknown; use one of none, lz4, zstd"):
        models.save(tmp_path / "a.zarr", models.typical(rng), compressor="gzip")
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("sizes", [SMALL, SHARED], ids=["own", "shared"])
def test_empty_blocks_and_gradients(rng: np.random.Generator, tmp_path: Path, sizes: ChunkSizes) -> None:
    blocks = [
        models.block(rng, samples, (), properties) for samples, properties in [(0, 3), (4, 0), (0, 0), (2, 3)]
    ]
    for one in blocks:
        models.attach(one, "none", models.gradient(rng, one, 0))
        some = models.gradient(rng, one, 3)
        models.attach(some, "below", models.gradient(rng, some, 2, (3, 3), prefix="abc"))
        models.attach(one, "some", some)
    made = models.model(blocks)
    models.save(tmp_path / "a.zarr", made, sizes=sizes)
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)
    assert verify_archive(tmp_path / "a.zarr") == []


def test_no_blocks(tmp_path: Path) -> None:
    made = models.model([])
    models.save(tmp_path / "a.zarr", made, info={"units": "eV"})
    opened = open_archive(tmp_path / "a.zarr")
    models.assert_same(opened, made)
    assert opened.info == {"units": "eV"}
    assert opened.reader.read([]) == []


def test_unsorted_gradients_have_no_offsets_and_stay_one_chunk(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    one = models.block(rng, 100)
    models.attach(one, "positions", models.gradient(rng, one, 300, is_sorted=False))
    made = models.model([one])
    models.save(tmp_path / "a.zarr", made, sizes=SMALL)
    opened = open_archive(tmp_path / "a.zarr")
    models.assert_same(opened, made)
    assert opened.outlines[0].chunk_count == 1
    paths = {path.name for path in (tmp_path / "a.zarr").rglob("offsets")}
    assert paths == set()


NAMES = [
    "positions",
    "",
    ".",
    "..",
    "a/b",
    "zarr.json",
    "__x",
    "Ünïcode ∂",
    "%41",
    "A",
    "\udc80",
    "values",
    "c",
    "%",
]


def test_any_text_is_a_gradient_parameter(rng: np.random.Generator, tmp_path: Path) -> None:
    one = models.block(rng, 10)
    for name in NAMES:
        models.attach(one, name, models.gradient(rng, one, 12))
    made = models.model([one])
    models.save(tmp_path / "a.zarr", made, sizes=SMALL)
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)
    segment = next((tmp_path / "a.zarr" / "segments").glob("*/"))
    folders = [path for path in (segment / "blocks" / "0" / "gradients").iterdir() if path.is_dir()]
    assert len(folders) == len(NAMES)
    group = zarr.open_group(segment / "blocks" / "0" / "gradients", mode="r")
    np.testing.assert_array_equal(group["a%2Fb/values"][:], one[1].gradients["a/b"].values)
    np.testing.assert_array_equal(group["%7Aarr.json/values"][:], one[1].gradients["zarr.json"].values)


@pytest.mark.parametrize("sizes", [SMALL, SHARED, ChunkSizes()], ids=["own", "shared", "default"])
def test_plain_zarr_reads_every_array(rng: np.random.Generator, tmp_path: Path, sizes: ChunkSizes) -> None:
    made = models.typical(rng, blocks=4)
    models.save(tmp_path / "a.zarr", made, sizes=sizes)
    commit = json.loads((tmp_path / "a.zarr" / "commits" / "0000000001.json").read_text())["commit"]
    segment = commit["segments"][0]
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")[f"segments/{segment['id']}"]
    arrays = [group[array["path"]] for array in segment["arrays"]]
    for array, spec in zip(arrays, segment["arrays"], strict=True):
        assert (array.shape, array.dtype.name, array.fill_value) == (tuple(spec["shape"]), spec["dtype"], 0)

    def table(number: int) -> Labels:
        array, first, rows, names, *_ = segment["tables"][number]
        return Labels(segment["names"][names], arrays[array][first : first + rows])

    def compare(block: dict[str, int | list[Any]], metadata: BlockMetadata, chunk: Chunk) -> None:
        rows = len(metadata.samples)
        array, first = block["values"]
        np.testing.assert_array_equal(arrays[array][first : first + rows], chunk.values)
        assert table(block["samples"]) == metadata.samples
        assert tuple(table(number) for number in block.get("components", [])) == metadata.components
        for name, gradient in block.get("gradients", []):
            own = chunk.gradients[name]
            compare(gradient, metadata.gradients[name], own)
            array, first = gradient["offsets"]
            expected = np.searchsorted(own.table[:, 0], np.arange(rows + 1))
            np.testing.assert_array_equal(arrays[array][first : first + rows + 1], expected)

    assert table(segment["keys"]["table"]) == made.keys
    for block, metadata, chunk in zip(segment["blocks"], made.metadata, made.chunks, strict=True):
        compare(block, metadata, chunk)
        assert table(block["properties"]) == metadata.properties
    np.testing.assert_array_equal(group["keys"][:], made.keys.values)
    assert group["keys"].attrs["names"] == made.keys.names


def test_big_arrays_have_the_paths_of_mts(rng: np.random.Generator, tmp_path: Path) -> None:
    one = models.block(rng, 40, (2,))
    positions = models.gradient(rng, one, 100)
    models.attach(positions, "cell", models.gradient(rng, positions, 150, (3, 3), prefix="abc"))
    models.attach(one, "positions", positions)
    models.save(tmp_path / "a.zarr", models.model([one]), sizes=SMALL)
    segment = next((tmp_path / "a.zarr" / "segments").glob("*/"))
    found = {str(path.parent.relative_to(segment)) for path in segment.rglob("c.*")}
    below = "blocks/0/gradients/positions"
    assert found == {
        "keys",
        "chunks",
        "ranges",
        "blocks/0/values",
        "blocks/0/samples",
        "blocks/0/components/0",
        "blocks/0/properties",
        *(f"{below}/{name}" for name in ("values", "samples", "components/0", "offsets")),
        *(
            f"{below}/gradients/cell/{name}"
            for name in ("values", "samples", "components/0", "components/1", "offsets")
        ),
    }


def test_equal_tables_are_stored_once(rng: np.random.Generator, tmp_path: Path) -> None:
    blocks = [models.block(rng, 10) for _ in range(5)]
    made = models.model(blocks)
    models.save(tmp_path / "a.zarr", made, sizes=SMALL)
    commit = json.loads((tmp_path / "a.zarr" / "commits" / "0000000001.json").read_text())["commit"]
    assert len(commit["segments"][0]["tables"]) == 3
    opened = open_archive(tmp_path / "a.zarr")
    assert opened.metadata[0].samples is opened.metadata[4].samples


def test_small_blocks_share_arrays(rng: np.random.Generator, tmp_path: Path) -> None:
    blocks = []
    for _ in range(300):
        one = models.block(rng, 5)
        models.attach(one, "positions", models.gradient(rng, one, 9))
        blocks.append(one)
    made = models.model(blocks)
    models.save(tmp_path / "a.zarr", made)
    models.assert_same(open_archive(tmp_path / "a.zarr"), made)
    assert sum(path.is_file() for path in (tmp_path / "a.zarr").rglob("*")) < 40


def test_a_block_and_labels(rng: np.random.Generator, tmp_path: Path) -> None:
    one = models.block(rng, 10)
    made = models.Model(Labels.single(), [one[0]], [one[1]])
    models.save(tmp_path / "block.zarr", made, kind="block")
    opened = open_archive(tmp_path / "block.zarr")
    assert opened.kind == "block"
    models.assert_same(opened, made)
    labels = Labels(["a", "b"], rng.permutation(5000).reshape(-1, 2))
    models.save(tmp_path / "labels.zarr", models.Model(labels, [], []), kind="labels", sizes=SMALL)
    opened = open_archive(tmp_path / "labels.zarr")
    assert (opened.kind, opened.metadata, opened.keys.is_loaded) == ("labels", (), False)
    assert opened.keys == labels
    np.testing.assert_array_equal(opened.keys.values, labels.values)
    np.testing.assert_array_equal(opened.keys.read(7, 1999), labels.values[7:1999])


@pytest.mark.parametrize(
    "labels", [Labels.empty(["a", "b"]), Labels.empty([])], ids=["no rows", "no columns"]
)
def test_empty_labels(tmp_path: Path, labels: Labels) -> None:
    models.save(tmp_path / "labels.zarr", models.Model(labels, [], []), kind="labels")
    opened = open_archive(tmp_path / "labels.zarr").keys
    assert opened == labels
    assert opened.values.shape == labels.shape


def test_description(rng: np.random.Generator, tmp_path: Path) -> None:
    info = {"units": "eV", "empty": "", "∂": "\udc80 and \0"}
    provenance = {"job": {"steps": [1, 2.5, None]}}
    models.save(tmp_path / "a.zarr", models.typical(rng), info=info, provenance=provenance)
    opened = open_archive(tmp_path / "a.zarr")
    assert (opened.info, opened.commit.provenance, opened.commit.version) == (info, provenance, 1)
    assert opened.commit.software.startswith("outgrad ")
    assert opened.commit.created.endswith("Z")


def test_bad_descriptions(rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(
        ValidationError, match=r"info must hold pairs of text, found \{'a': 1\}; convert with str"
    ):
        models.save(tmp_path / "a.zarr", models.typical(rng), info={"a": 1})
    with pytest.raises(ValidationError, match=r"provenance must be plain JSON data: .*set"):
        models.save(tmp_path / "a.zarr", models.typical(rng), provenance={"a": {1}})


@pytest.mark.parametrize("dtype", [object, "datetime64[s]", np.longdouble])
def test_dtypes_that_cannot_be_stored(
    rng: np.random.Generator, tmp_path: Path, dtype: str | type[Any]
) -> None:
    metadata, chunk = models.block(rng, 3)
    outline = models.outline_of(chunk)
    outline = type(outline)(outline.edges, outline.trailing, np.dtype(dtype))
    with pytest.raises(
        ValidationError, match=r"blocks/0/values has dtype .*, which an archive cannot hold; convert"
    ):
        lay_out(Contents(Labels.range("n", 1), [metadata], [outline]), ChunkOptions())


def test_big_endian_values_are_stored_little_endian(rng: np.random.Generator, tmp_path: Path) -> None:
    metadata, chunk = models.block(rng, 10)
    swapped = type(chunk)(chunk.values.astype(">f8"))
    made = models.model([(metadata, swapped)])
    models.save(tmp_path / "a.zarr", made, sizes=SMALL)
    opened = open_archive(tmp_path / "a.zarr")
    models.assert_same(opened, models.model([(metadata, chunk)]))


def test_sourced_labels_are_copied_in_slices(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outgrad.storage.zarr.edges.TABLE_SLICE_ROWS", 7)
    made = models.typical(rng)
    models.save(tmp_path / "a.zarr", made, sizes=SMALL)
    opened = open_archive(tmp_path / "a.zarr")
    again = models.Model(opened.keys, list(opened.metadata), made.chunks)
    models.save(tmp_path / "b.zarr", again, sizes=SHARED)
    assert not any(each.samples.is_loaded for block in opened.metadata for _, each in block.walk())
    models.assert_same(open_archive(tmp_path / "b.zarr"), made)


def test_out_of_range_gradient_samples(rng: np.random.Generator, tmp_path: Path) -> None:
    metadata, chunk = models.block(rng, 3)
    one = (metadata, chunk)
    models.attach(one, "positions", models.gradient(rng, one, 5))
    bad = Labels(["sample", "atom"], [[0, 0], [3, 0]])
    chunk.gradients["positions"] = type(chunk)(np.zeros((2, 3, 3)), {}, bad.values)
    own = metadata.gradients["positions"]
    metadata.gradients["positions"] = BlockMetadata(bad, own.components, own.properties)
    with pytest.raises(
        ValidationError, match=r"must be rows of their parent, in \[0, 3\), found 3; check column"
    ):
        models.save(tmp_path / "a.zarr", models.model([one]))
