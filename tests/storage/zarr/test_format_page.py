"""What docs/format.md says is so: its example runs, its JSON is a commit, its digest is ours."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from outgrad.labels.labels import Labels
from outgrad.storage.zarr.parse import commit_from_json
from tests.support import ROOT, models
from tests.support.archives import open_archive
from tests.support.models import Model

PAGE = ROOT / "docs" / "format.md"


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("blocks", [1, 4])
def test_the_example_runs(
    rng: np.random.Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    blocks: int,
) -> None:
    models.save(tmp_path / "soap.zarr", models.typical(rng, blocks))
    monkeypatch.chdir(tmp_path)
    (code,) = fenced("python")
    found: dict[str, object] = {}
    exec(code, found)  # the page's own lines
    assert capsys.readouterr().out == "['system', 'atom'] (20, 2) (20, 2, 4)\n"
    opened = open_archive("soap.zarr")
    np.testing.assert_array_equal(found["samples"], opened.metadata[0].samples.values)
    np.testing.assert_array_equal(
        found["values"], opened.reader.read(models.requests_of(opened.outlines))[0].values
    )


def test_the_commit_on_the_page_is_one() -> None:
    (text,) = fenced("json")
    commit = commit_from_json(json.loads(text))
    assert commit.segments[0].blocks[0].gradients["positions"].edges == (0, 4)


def test_the_layout_of_the_commit_on_the_page_is_ours(tmp_path: Path) -> None:
    """The same map gives the same JSON, but for ids, times, digests and checksums."""
    from_page = json.loads(fenced("json")[0])
    made = page_map()
    models.save(tmp_path / "a.zarr", made, info={"units": "eV"}, compressor="lz4")
    ours = json.loads((tmp_path / "a.zarr" / "commits" / "0000000001.json").read_text())["commit"]
    for commit in (from_page, ours):
        for name in ("writer", "created", "software", "who"):
            commit.pop(name)
        segment = commit["segments"][0]
        segment.pop("id")
        segment["chunks"].pop("crc32c")
        for table in segment["tables"]:
            table.pop(4)
    assert ours == from_page


def page_map() -> Model:
    from_rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    properties = Labels.range("n", 3)
    metadata, chunk = models.block(np.random.default_rng(0), 2, (), 3)
    samples = Labels(["system", "atom"], [[0, 0], [0, 1]])
    gradient = type(metadata)(Labels(["sample", "atom"], from_rows), (Labels.range("xyz", 3),), properties)
    below = type(chunk)(np.ones((4, 3, 3)), {}, from_rows.astype(np.int32))
    made = models.model([(metadata, chunk)])
    return models.Model(
        Labels(["center_type"], [[6]]),
        [type(metadata)(samples, (), properties, {"positions": gradient})],
        [type(chunk)(made.chunks[0].values, {"positions": below})],
    )


def test_the_digest_is_the_one_described() -> None:
    labels = Labels(["system", "atom"], [[0, 1], [2, -3]])
    content = (
        b"system\0atom\0" + np.array([2, 2], "<i8").tobytes() + np.array([[0, 1], [2, -3]], "<i4").tobytes()
    )
    assert labels.digest == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_the_frame_is_the_one_described(rng: np.random.Generator, tmp_path: Path) -> None:
    models.save(tmp_path / "a.zarr", models.typical(rng))
    content = (tmp_path / "a.zarr" / "commits" / "0000000001.json").read_bytes()
    assert content.count(b"\n") == 1
    body = content[content.index(b'"commit":') + len(b'"commit":') : content.rindex(b"}")]
    assert json.loads(content)["sha256"] == hashlib.sha256(body).hexdigest()


def test_the_sizes_on_the_page() -> None:
    text = PAGE.read_text()
    for claim in (
        "about 4 MiB of values or 1 MiB of labels",
        "about 256 and 64 KiB",
        "about 16 MiB of the block",
        "smaller than 1 MiB share one Zarr array if there are a hundred",
        "about 8 MiB apart",
        "larger than 64 MiB",
    ):
        assert claim in re.sub(r"\s+", " ", text)
