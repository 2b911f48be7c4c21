"""tools/metatensor_tests.py, with small tests in place of metatensor's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.scripts import imported_script

SCRIPT = ROOT / "tools" / "metatensor_tests.py"

TESTS = """
import numpy as np
import pytest

import metatensor
import metatensor as mts
from metatensor import Labels, MetatensorError
from metatensor.operations import add

from . import _help


def test_that_passes():
    assert metatensor.__name__ == "outgrad"
    assert add is mts.add
    assert _help.READ == "1"


def test_that_fails():
    assert metatensor.__name__ == "metatensor"


def test_of_another_version():
    metatensor.Labels.of_another_version()


def test_that_leaves_checks_off():
    mts.unsafe_disable_checks()


def test_with_checks():
    assert mts.checks_enabled()


def test_that_is_skipped():
    pytest.skip("torch")


def test_another_text():
    with pytest.raises(MetatensorError, match="words of metatensor"):
        Labels(["a"], np.array([[0], [0]]))


def test_another_class():
    with pytest.raises(KeyError, match="words of metatensor"):
        Labels(["a"], np.array([[0], [0]]))
"""
HELP = 'from pathlib import Path\n\nREAD = (Path(__file__).parent / "data" / "one.txt").read_text()\n'
PAGE = "# Page\n\n**Names\nare others.** More.\n\n**Texts are others.**\n\n**Classes are others.** More.\n"
RIGHT = {
    "core/labels.py::test_that_fails": "Names are others.",
    "core/labels.py::test_another_*": "Classes are others.",
}


script = imported_script(SCRIPT)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with tests that pass, fail, are skipped, and a file of another package."""
    root = tmp_path_factory.mktemp("source")
    folder = root / "python" / "metatensor_core" / "tests"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "one.txt").write_text("1")
    (folder / "labels.py").write_text(TESTS)
    (folder / "_help.py").write_text(HELP)
    (folder / "inside.py").write_text("import metatensor._c_lib\n\n\ndef test_inside():\n    pass\n")
    return root


@pytest.fixture(scope="module")
def results(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """How these tests end, in a process of their own."""
    options = script.parsed([str(source)])
    copies = script.copied(script.folders_of(options), options, tmp_path_factory.mktemp("copy"))
    found = script.Results()
    script.run("core", copies["core"], found)
    return found


def write(
    folder: Path, statements: dict[str, str], reason: str = "internal", texts: str = "Texts are others."
) -> tuple[Path, Path]:
    """Write a table of these statements, and the page."""
    lines = [f'texts = "{texts}"', "[statements]", *(f'"{key}" = "{why}"' for key, why in statements.items())]
    table, page = folder / "table.toml", folder / "page.md"
    table.write_text("\n".join([*lines, "[reasons]", f'"core/inside.py" = "{reason}"']), encoding="utf-8")
    page.write_text(PAGE, encoding="utf-8")
    return table, page


def test_what_is_explained_is_told_with_its_statement(source: Path, tmp_path: Path) -> None:
    table, page = write(tmp_path, RIGHT)
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(source), "--table", str(table), "--page", str(page)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert "test_that_fails\n    AssertionError: " in done.stdout
    assert "    Names are others.\n" in done.stdout
    assert "No module named 'metatensor._c_lib'" in done.stdout
    assert "expected 'words of metatensor'\n    found    'Labels: rows must be unique" in done.stdout
    assert "    Texts are others.\n" in done.stdout
    assert "9 tests: 4 passed, 4 failed, 1 skipped; 1 other texts of errors in 1 tests\n    1 " in done.stdout
    assert "attribute 'of_another_version'\n    It fails with the installed metatensor, too." in done.stdout
    assert "NOT" not in done.stdout
    assert not (source / "python" / "metatensor_core" / "tests" / "__init__.py").exists()


def test_what_is_not_explained_is_told(results: Any, tmp_path: Path, capsys: Any) -> None:
    left = {key: why for key, why in RIGHT.items() if "another" in key}
    assert script.report(results, *write(tmp_path, left)) == 1
    text = capsys.readouterr().out
    assert text.count("NOT EXPLAINED") == 2
    assert "    1 NOT EXPLAINED" in text


def test_other_texts_need_a_statement_too(results: Any, tmp_path: Path, capsys: Any) -> None:
    assert script.report(results, *write(tmp_path, RIGHT, texts="")) == 1
    assert "found    'Labels: rows must be unique" in capsys.readouterr().out.split("NOT EXPLAINED")[0]


def test_an_entry_of_a_test_that_passes_is_told(results: Any, tmp_path: Path, capsys: Any) -> None:
    more = RIGHT | {"core/labels.py::test_that_passes": "Names are others."}
    assert script.report(results, *write(tmp_path, more)) == 1
    assert "DOES NOT FAIL ANY MORE: core/labels.py::test_that_passes" in capsys.readouterr().out


def test_an_entry_of_a_file_that_was_not_run_is_left(results: Any, tmp_path: Path) -> None:
    more = RIGHT | {"operations/add.py::test_add": "Names are others."}
    assert script.report(results, *write(tmp_path, more)) == 0


def test_wrong_statements_and_reasons_are_told(results: Any, tmp_path: Path, capsys: Any) -> None:
    changed = {key: "Numbers are others." if "fails" in key else why for key, why in RIGHT.items()}
    assert script.report(results, *write(tmp_path, changed, reason="whatever")) == 1
    text = capsys.readouterr().out
    assert "NOT ON THE PAGE: 'Numbers are others.'" in text
    assert "NOT A REASON: 'whatever'; it is one of C API, data, internal, torch" in text


def test_where_no_tests_are_is_an_error(tmp_path: Path, capsys: Any) -> None:
    assert script.main([str(tmp_path)]) == 2
    assert "no tests of metatensor: give a checkout" in capsys.readouterr().err


def test_the_list_of_the_repository_is_about_statements_of_the_page() -> None:
    table = script.read_table(script.TABLE)
    assert not list(script.wrong_entries(table, script.Results(), script.statements_of(script.PAGE)))
