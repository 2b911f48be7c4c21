"""Archives of every format version that was released are still read, and hold what they held."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import outgrad as og
from outgrad.testing.asserts import assert_identical

DATA = Path(__file__).parents[1] / "data"


def _archives() -> dict[Path, Any]:
    spec = importlib.util.spec_from_file_location("make_archives", DATA / "make_archives.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {Path("1") / path: data for path, data in module.archives().items()}


CONTENTS = _archives()
ARCHIVES = sorted((DATA / "archives").glob("*/*/*.zarr"))


def test_every_content_is_there() -> None:
    found = {path.relative_to(DATA / "archives") for path in ARCHIVES}
    assert found == set(CONTENTS)


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: "-".join(path.parts[-3:]))
def test_an_old_archive_reads_equal(path: Path) -> None:
    expected = CONTENTS[path.relative_to(DATA / "archives")]
    if isinstance(expected, og.Labels):
        assert og.load(path) == expected
    else:
        assert_identical(og.load(path), expected)
        assert og.equal(og.open(path), expected)


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: "-".join(path.parts[-3:]))
def test_an_old_archive_is_whole(path: Path) -> None:
    assert og.verify(path) == []
