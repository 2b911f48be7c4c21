"""Archives of every format version that was released are still read, and hold what they held."""

from __future__ import annotations

from pathlib import Path

import pytest

import outgrad as og
from outgrad.testing.asserts import assert_identical
from tests.support import old_archives

FOLDER = Path(__file__).parent / "archives"
CONTENTS = {Path("1") / path: data for path, data in old_archives.archives().items()}
ARCHIVES = sorted(FOLDER.glob("*/*/*.zarr"))


def test_every_content_is_there() -> None:
    found = {path.relative_to(FOLDER) for path in ARCHIVES}
    assert found == set(CONTENTS)


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: "-".join(path.parts[-3:]))
def test_an_old_archive_reads_equal(path: Path) -> None:
    expected = CONTENTS[path.relative_to(FOLDER)]
    if isinstance(expected, og.Labels):
        assert og.load(path) == expected
    else:
        assert_identical(og.load(path), expected)
        assert og.equal(og.open(path), expected)


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: "-".join(path.parts[-3:]))
def test_an_old_archive_is_whole(path: Path) -> None:
    assert og.verify(path) == []
