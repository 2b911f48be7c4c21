"""What a reader has to follow stays within bounds; ``python tools/house.py --list`` says where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.scripts import imported_script


@pytest.fixture(scope="module")
def house() -> Any:
    return imported_script(ROOT / "tools" / "house.py")


@pytest.fixture(scope="module")
def source(house: Any) -> Any:
    return house.Source(ROOT / "src" / "outgrad")


def test_a_name_stands_in_one_file(source: Any) -> None:
    assert source.homonyms() == []


def test_the_longest_chain_of_imports(source: Any) -> None:
    assert len(source.deepest_chain()) <= 16, source.deepest_chain()


def test_what_nests_is_walked_by_trees(source: Any) -> None:
    assert len(source.recursions()) <= 10, source.recursions()


def test_kinds_of_blocks_are_not_asked_for(source: Any) -> None:
    assert len(source.branches()) <= 8, source.branches()


def test_one_file_knows_private_names_of_dask(house: Any, source: Any) -> None:
    assert source.importers(house.TASKS) == ["graph/dask_names.py"]


def test_private_functions_have_callers(source: Any) -> None:
    private = source.private_functions()
    once = [place for place, uses in private.items() if uses == 1]
    assert len(once) <= 0.4 * len(private), once


def test_files_on_the_way_of_a_multiply(house: Any) -> None:
    files = house.files_of_a_lazy_multiply(ROOT)
    assert len(files) <= 15, files


def test_the_measures_find_what_they_look_for(house: Any, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name in ("a", "b"):
        (package / f"{name}.py").write_text(
            "def same(tree, lazy):\n"
            "    if lazy is None:\n"
            "        return _once(tree)\n"
            "    return {name: same(below, lazy) for name, below in tree.gradients.items()}\n"
            "def _once(tree):\n"
            "    return tree\n"
        )
    found = house.Source(package)
    assert [line.split(":")[0] for line in found.homonyms()] == ["_once", "same"]
    assert len(found.recursions()) == len(found.branches()) == 2
    assert set(found.private_functions().values()) == {1}
